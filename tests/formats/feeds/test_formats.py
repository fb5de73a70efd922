"""Every format: its golden files, what it leaves out, what it cannot say, and how it is found."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.formats.feeds.lists import GOLDEN, GOOD, HOSTILE, lists, rendered, snapshot
from threatcloud.domain.errors import InvalidInput
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import FORMATS, NAMES, Format, find_format, render
from threatcloud.formats.feeds.format import MALFORMED

CASES = [pytest.param(*case, id=case[2].name) for case in lists()]
TEXT_KINDS = tuple(GOOD)
#: Of bytes, whose consumer reads them back in test_documents.
BINARY = {"mmdb"}
CONTROLS = (b"\x00", b"\x1b", b"\x7f", "\u202e".encode())
FORBIDDEN = (*CONTROLS, b"passwd", b"ruleset", b"evil.example", b"cmd()", b"192.0.2", b"shadow", b"a" * 3_000)


@pytest.mark.parametrize(("format_", "kind", "path"), CASES)
def test_a_format_is_what_its_golden_file_says(format_: Format, kind: IndicatorType, path: Path) -> None:
    assert rendered(format_, kind) == path.read_bytes()


def test_every_golden_file_is_of_a_format() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {path.name for _, _, path in lists()}


@pytest.mark.parametrize(("format_", "kind", "path"), CASES)
def test_hostile_values_are_left_out_and_counted(format_: Format, kind: IndicatorType, path: Path) -> None:
    clean = render(format_, snapshot(kind, GOOD[kind]))
    mixed = render(format_, snapshot(kind, HOSTILE + GOOD[kind]))

    assert mixed.left_out[MALFORMED] == len(HOSTILE)
    assert mixed.entries == clean.entries
    assert mixed.body.count(b"\n") == clean.body.count(b"\n")
    for part in FORBIDDEN if format_.name not in BINARY else ():
        assert part not in mixed.body


@pytest.mark.parametrize(("format_", "kind", "path"), CASES)
def test_an_empty_list_has_no_entry(format_: Format, kind: IndicatorType, path: Path) -> None:
    rendering = render(format_, snapshot(kind, ()))

    assert (rendering.entries, rendering.truncated, rendering.left_out) == (0, 0, {})
    assert not any(value.encode() in rendering.body for value in GOOD[kind])


@pytest.mark.parametrize("format_", FORMATS, ids=NAMES)
def test_what_a_format_cannot_say_is_refused_with_what_it_is_for(format_: Format) -> None:
    for kind in set(TEXT_KINDS) - set(format_.kinds):
        with pytest.raises(InvalidInput, match=f"{format_.name} cannot say what is in {kind}-blocklist; it is for "):
            render(format_, snapshot(kind, GOOD[kind]))


@pytest.mark.parametrize("format_", FORMATS, ids=NAMES)
def test_a_format_is_found_by_its_name_and_by_its_extension(format_: Format) -> None:
    assert find_format(format_.name) is format_
    assert find_format(format_.extension) is format_


def test_another_word_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(InvalidInput, match=f"must be one of {', '.join(NAMES)}"):
        find_format("poetry")


def test_json_says_of_each_entry_what_is_known() -> None:
    document = json.loads(rendered(find_format("json"), IndicatorType.URL))

    assert document["ok"] is True
    assert document["data"]["total"] == len(GOOD[IndicatorType.URL])
    assert [entry["value"] for entry in document["data"]["entries"]] == list(GOOD[IndicatorType.URL])
    assert document["data"]["entries"][1] == {
        "value": GOOD[IndicatorType.URL][1],
        "type": "url",
        "reputation": 1,
        "category": "c2",
        "firstSeen": "2026-03-05T08:15:00.000Z",
        "lastSeen": "2026-03-07T08:14:00.000Z",
    }


def test_ndjson_has_the_entries_of_json() -> None:
    lines = rendered(find_format("ndjson"), IndicatorType.IP).decode().splitlines()
    document = json.loads(rendered(find_format("json"), IndicatorType.IP))

    assert [json.loads(line) for line in lines] == document["data"]["entries"]


def test_csv_is_read_back_by_a_reader_of_tables() -> None:
    rows = list(csv.DictReader(io.StringIO(rendered(find_format("csv"), IndicatorType.URL).decode(), newline="")))

    assert [row["value"] for row in rows] == list(GOOD[IndicatorType.URL])
