"""The formats together, and over real files."""

import gzip
from pathlib import Path

import pytest

from threatcloud.formats.readers import (
    NO_COLUMNS,
    READERS,
    Head,
    Passed,
    Reject,
    Row,
    detected,
    open_source,
    reader,
)

DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["192.0.2.1", "192.0.2.2"], "plain"),
        ([], "plain"),
        (["#value\tsources", "a.example\tx"], "delimited"),
        (['{"value":"a.example"}'], "jsonl"),
        (['"a.example","x"', '"b.example","y"'], "delimited"),
    ],
)
def test_what_a_text_looks_like(lines: list[str], name: str) -> None:
    assert detected(Head("\n".join(lines).encode(), is_whole=True)).name == name


def test_formats_are_found_by_name() -> None:
    assert [reader(known.name) for known in READERS] == list(READERS)
    with pytest.raises(ValueError, match=r"no format 'xml': choose from stix, misp, .*plain"):
        reader("xml")


def read_file(path: Path) -> tuple[str, list[Row], list[Reject]]:
    with open_source(path) as source:
        found = detected(source.head())
        results = list(found.read(source, NO_COLUMNS))
    rows = [result for result in results if isinstance(result, Row)]
    return found.name, rows, [result for result in results if isinstance(result, Reject)]


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the public threat data is not there: {name}")
    return path


@pytest.mark.real_data
@pytest.mark.parametrize("kind", ["cidrs", "domains", "hashes", "ips", "urls"])
def test_every_line_of_a_large_feed_is_a_row_a_reject_or_a_comment(kind: str) -> None:
    path = real(f"feed_{kind}.txt.gz")
    lines = comments = 0
    with gzip.open(path) as file:
        for line in file:
            lines += 1
            comments += line.startswith(b"#")
    with open_source(path) as source:
        assert detected(source.head()).name == "delimited"
        counts: dict[type[Row | Reject | Passed], int] = {Row: 0, Reject: 0, Passed: 0}
        for result in reader("delimited").read(source, NO_COLUMNS):
            counts[type(result)] += 1
        assert source.bytes_read == source.bytes_total
    assert comments == 1
    others = 1 if kind == "cidrs" else 2  # columns that are none of ours
    assert counts == {Row: lines - comments, Reject: 0, Passed: others}


@pytest.mark.real_data
def test_a_timeline_of_json_lines() -> None:
    name, rows, rejects = read_file(real("timeline.jsonl.gz"))
    assert (name, len(rows), rejects) == ("jsonl", 278_977, [])
    assert all(row.type for row in rows)
