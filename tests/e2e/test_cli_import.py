"""Importing: every way in, what is said at the end, and that stopping it anywhere loses and doubles nothing."""

import contextlib
import gzip
import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.e2e.conftest import PATIENCE_S, Place
from threatcloud.services.imports import CHUNK_ROWS

ROWS = 3 * CHUNK_ROWS
#: What can be stored when half of them have been sent.
HALVES = (CHUNK_ROWS, 2 * CHUNK_ROWS)


def addresses(first: int, rows: int) -> bytes:
    return b"".join(b"45.%d.%d.%d\n" % (n >> 16, n >> 8 & 255, n & 255) for n in range(first, first + rows))


def start_half(place: Place, first: int) -> "subprocess.Popen[bytes]":
    """An import of ROWS addresses that has stored a chunk, and waits for the last of them on its standard input."""
    known = place.rows()
    process = place.start("import", "-", "--source", "feed:list")
    assert process.stdin is not None
    process.stdin.write(addresses(first, ROWS - CHUNK_ROWS // 2))
    process.stdin.flush()
    place.wait_for_rows(known + CHUNK_ROWS)
    return process


def test_a_mixed_file_is_sorted_out_and_the_summary_accounts_for_every_line(served: Place) -> None:
    place = served
    name = place.write(
        "list.txt",
        "# a comment\n46.1.1.1\n46.1.1.1\nhxxp://bad[.]example-site[.]com/x\n8.8.8.8\n10.0.0.5\n203.0.0.0\n"
        "not an indicator\n999.1.1.1\n\x1b[31m46.1.1.2\n",
    )
    done = place.json("import", name, "--source", "feed:list")
    assert (done["lines"], done["values"], done["new"], done["repeated"]) == (10, 6, 5, 1)
    assert sum(done["whitelisted"].values()) == 3
    assert sum(done["rejected"].values()) == 3

    rejects = (place.folder / "list.txt.rejected.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in rejects] == ["8", "9", "10"]
    assert "\x1b" not in "".join(rejects)
    assert "control character" in rejects[2]
    assert done["rejectsFile"] == "list.txt.rejected.txt"

    again = place.call("import", name, "--source", "feed:other", "--rejects", "elsewhere.tsv")
    assert re.search(rb"\nnew +0 .*\nupdated +5 .*\nconfirmed +0 .*\nrepeated +1 ", again.stdout)
    assert b"elsewhere.tsv" in again.stdout
    assert (place.folder / "elsewhere.tsv").read_text().splitlines() == rejects


def test_packed_files_and_standard_input_are_read_as_they_come(served: Place) -> None:
    place = served
    content = addresses(20_000, 50)
    cut = place.write("cut.gz", gzip.compress(content)[:-12])
    done = place.call("import", cut, "--source", "feed:list", "--json", code=1)
    assert b"cut.gz ends too early" in done.stderr
    taken = json.loads(done.stdout)["new"]
    assert 0 < taken < 50
    assert not (place.folder / "cut.gz.rejected.txt").exists()

    done = place.run("import", "-", "--source", "feed:list", "--json", stdin=zstandard.compress(content))
    counts = json.loads(done.stdout)
    assert (counts["new"], counts["confirmed"]) == (50 - taken, taken)


def test_what_a_line_says_beyond_its_value_is_checked_as_the_api_does(served: Place) -> None:
    place = served
    good: dict[str, object] = {
        "value": "45.2.2.2",
        "category": "c2",
        "severity": "critical",
        "confidence": 0.9,
        "timestamp": "2026-01-02T03:04:05Z",
        "tags": ["bot"],
        "metadata": {"port": 8080, "mitreId": "t1110"},
    }
    bad: list[dict[str, object]] = [
        {"category": "nonsense"},
        {"severity": 3},
        {"confidence": 7},
        {"timestamp": "yesterday"},
        {"expiresAt": "2001-01-01T00:00:00Z"},
        {"metadata": {"port": 70_000}},
        {"type": "planet"},
    ]
    lines = [good, *({"value": "45.2.2.3", **fields} for fields in bad)]
    name = place.write("list.jsonl", "\n".join(map(json.dumps, lines)))
    done = place.json("import", name, "--source", "feed:list")
    assert (done["new"], done["values"]) == (1, 1)
    rejects = [line.split("\t") for line in (place.folder / "list.jsonl.rejected.txt").read_text().splitlines()]
    assert [(int(cells[0]), cells[1]) for cells in rejects] == [
        (at, next(iter(fields))) for at, fields in enumerate(bad, 2)
    ]

    found = place.json("ioc", "get", "45.2.2.2")
    assert (found["category"], found["severity"], found["tags"]) == ("c2", "critical", ["bot"])
    assert (found["confidence"], found["firstSeen"]) == (0.9, "2026-01-02T03:04:05.000Z")
    assert (found["metadata"]["ports"], found["metadata"]["mitreIds"]) == ([8080], ["T1110"])


def test_columns_types_and_defaults_are_the_operators_choice(served: Place) -> None:
    place = served
    name = place.write("table.csv", "when,who,what\n2026-01-01,45.3.3.3,scan\n2026-01-02,45.3.3.4,scan\n")
    options = ("--column", "value=who", "--severity", "low", "--confidence", "0.2", "--category", "scanner")
    assert place.json("import", name, "--source", "feed:list", *options)["new"] == 2
    found = place.json("ioc", "get", "45.3.3.3")
    assert (found["severity"], found["confidence"], found["category"]) == ("low", 0.2, "scanner")

    done = place.call("import", name, "--source", "feed:list", "--column", "value=nothing", code=1)
    assert b"no column 'nothing'" in done.stderr
    for wrong in (("--type", "planet"), ("--severity", "huge"), ("--format", "xml"), ("--confidence", "2")):
        place.call("import", name, "--source", "feed:list", *wrong, code=2)
    place.call("import", name, "--source", "no spaces allowed", code=2)
    assert b"cannot open absent.txt" in place.call("import", "absent.txt", "--source", "feed:list", code=1).stderr


def test_killed_and_run_again_it_is_as_one_clean_import(make_place: Callable[[str], Place]) -> None:
    clean, broken = make_place("clean"), make_place("broken")
    for place in (clean, broken):
        place.write("list.txt", addresses(1, ROWS))
    clean.run("import", "list.txt", "--source", "feed:list")

    process = start_half(broken, 1)
    process.kill()
    process.wait(PATIENCE_S)
    assert broken.rows() in HALVES
    broken.run("import", "list.txt", "--source", "feed:list")

    assert stored(broken) == stored(clean)
    assert broken.rows() == ROWS
    broken.call("audit", "verify")


def test_interrupted_beside_a_server_it_says_what_is_stored_and_can_go_on(served: Place) -> None:
    process = start_half(served, 100_000)
    said, noted = interrupted(process, signal.SIGINT)
    stored = int(re.search(rb"new +([0-9,]+)", said)[1].replace(b",", b""))  # type: ignore[index]
    assert stored in HALVES
    assert b"safe" in noted

    served.write("list.txt", addresses(100_000, ROWS))
    done = served.json("import", "list.txt", "--source", "feed:list")
    assert (done["new"], done["confirmed"]) == (ROWS - stored, stored)
    entries = [item["details"] for item in served.json("audit", "list", "--action", "create", "--limit", "4")]
    assert [entry["phase"] for entry in entries] == ["end", "begin", "end", "begin"]
    assert [entry["interrupted"] for entry in entries[::2]] == [False, True]


def test_interrupted_without_a_server_the_database_is_left_in_order(place: Place) -> None:
    interrupted(start_half(place, 1), signal.SIGINT)
    assert not place.database.with_name(place.database.name + "-wal").exists()
    assert place.rows() in HALVES
    place.call("audit", "verify")


def test_a_server_killed_in_the_middle_ends_the_import_with_a_word_and_loses_nothing(place: Place) -> None:
    server = place.serve()
    rows = 150_000
    place.write("list.txt", addresses(1, rows))
    process = place.start("import", "list.txt", "--source", "feed:list")
    place.wait_for_rows(CHUNK_ROWS)
    server.send(signal.SIGSTOP)
    time.sleep(4)  # the reader goes on, until nobody takes what it reads
    server.stop(signal.SIGKILL)
    _, noted = process.communicate(timeout=PATIENCE_S)
    assert process.returncode not in (0, 130)
    assert b"running the import again is safe" in noted
    assert b"Traceback" not in noted

    kept = place.rows()
    assert CHUNK_ROWS <= kept < rows
    done = json.loads(place.run("import", "list.txt", "--source", "feed:list", "--json").stdout)
    assert (done["new"], done["confirmed"]) == (rows - kept, kept)


def stored(place: Place) -> list[list[tuple[object, ...]]]:
    """Everything in the database that does not tell when it was stored."""
    queries = (
        "SELECT value, type, status, reputation, severity, sightings, country, listed FROM indicator ORDER BY value",
        "SELECT count(*), sum(first_listed_at <= last_confirmed_at) FROM listing",
        "SELECT sum(indicators), sum(sightings) FROM rollup_hour",
        "SELECT * FROM rollup_total ORDER BY type, category, status",
    )
    with contextlib.closing(sqlite3.connect(place.database)) as db:
        return [db.execute(query).fetchall() for query in queries]


def interrupted(process: "subprocess.Popen[bytes]", number: int) -> tuple[bytes, bytes]:
    """What an import prints that is interrupted by a signal."""
    process.send_signal(number)
    said, noted = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, noted
    assert b"interrupted" in noted
    assert b"Traceback" not in noted
    return said, noted


def test_to_a_server_elsewhere_values_go_as_reports(served: Place, make_place: Callable[[str], Place]) -> None:
    place = served
    before = place.json("stats")
    key = place.call("key", "create", "feeder", "--scope", "write").stdout.decode().strip()
    elsewhere = make_place("elsewhere")
    name = elsewhere.write("list.txt", addresses(30_000, 150) + b"nothing at all\n")
    target = ("--url", place.url)

    for _ in range(2):
        done = elsewhere.json("import", name, "--source", "feed:list", *target, environ={"TC_API_KEY": key})
        assert (done["values"], done["new"], sum(done["rejected"].values())) == (150, 150, 1)
    stats = place.json("stats")
    assert [stats[name] - before[name] for name in ("totalIocs", "totalSightings")] == [150, 150]
    assert not elsewhere.database.exists()


@pytest.mark.real_data
def test_the_beginning_of_a_real_list_is_imported_whole(served: Place) -> None:
    place = served
    path = Path(__file__).parents[2].parent / "shared" / "data" / "feed_ips.txt.gz"
    if not path.exists():
        pytest.skip("the public threat data is not beside the checkout")
    with gzip.open(path) as file:
        lines = [file.readline() for _ in range(5_001)]
    done = place.json("import", place.write("ips.tsv", b"".join(lines)), "--source", "feed:ips", "--severity", "high")
    assert (done["new"], done["rejected"]) == (5_000, {})


def test_a_file_of_which_nothing_can_be_taken_holds_up_no_other(served: Place) -> None:
    place = served
    bad, good = place.write("bad.txt", "not an indicator\n"), place.write("good.txt", "46.77.1.1\n46.77.1.2\n")
    known = place.rows()
    done = place.call("import", bad, good, "--source", "feed:several", "--format", "plain", code=1)
    assert place.rows() == known + 2
    assert b"nothing could be imported of bad.txt; the other files are stored" in done.stderr
