import json

import pytest

from threatcloud.formats.readers.found import ColumnError, Reject, Row
from threatcloud.formats.readers.jsonlines import read, sniff


def test_an_item_of_the_report_route() -> None:
    item = {
        "type": "ip",
        "value": "192.0.2.1",
        "source": "honeypot",
        "category": "scanner",
        "severity": "high",
        "confidence": 0.9,
        "metadata": {"port": 22, "tags": ["ssh"]},
        "timestamp": "2026-03-07T08:15:00Z",
        "expiresAt": None,
        "tlp": "green",
        "reputation": 3,
    }
    fields = {name: item[name] for name in ("source", "category", "severity", "confidence", "timestamp", "tlp")}
    assert list(read(["", json.dumps(item)])) == [
        Row(2, "192.0.2.1", "ip", {**fields, "metadata": {"port": 22, "tags": ["ssh"]}})
    ]


def test_a_value_alone() -> None:
    assert list(read(['"a.example"', '{"value": "b.example"}'])) == [Row(1, "a.example"), Row(2, "b.example")]


def test_tags_may_stand_beside_the_metadata_which_has_the_last_word() -> None:
    lines = [
        '{"value":"a.example","tags":["x"]}',
        '{"value":"a.example","tags":["x"],"metadata":{"tags":["y"]}}',
    ]
    assert [row.fields for row in read(lines) if isinstance(row, Row)] == [
        {"metadata": {"tags": ["x"]}},
        {"metadata": {"tags": ["y"]}},
    ]


def test_metadata_that_is_no_object_is_left_to_validation() -> None:
    assert list(read(['{"value":"a.example","metadata":7}'])) == [Row(1, "a.example", None, {"metadata": 7})]


def test_keys_can_be_chosen() -> None:
    line = '{"ioc":"a.example","kind":"domain","ts":"2026-03-07","malware":"x"}'
    chosen = {"value": "ioc", "type": "kind", "timestamp": "ts", "malwareFamily": "malware"}
    fields = {"timestamp": "2026-03-07", "metadata": {"malwareFamily": "x"}}
    assert list(read([line], chosen)) == [Row(1, "a.example", "domain", fields)]
    with pytest.raises(ColumnError, match="no field 'colour': choose from value, type"):
        read([line], {"colour": "x"})


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "line"),
        ("[" * 60_000, "line"),
        ("nope", "line"),
        ('"\\ud800"', "line"),
        ('{"value":"a"} {"value":"b"}', "line"),
        ('["a.example"]', "line"),
        ("7", "line"),
        ("null", "line"),
        ("{}", "value"),
        ('{"value":7}', "value"),
        ('{"value":"a","type":7}', "type"),
    ],
)
def test_a_malformed_line_is_a_reject_and_the_next_is_read(line: str, field: str) -> None:
    first, second = read([line, '"b.example"'])
    assert isinstance(first, Reject)
    assert (first.line, first.field) == (1, field)
    assert len(first.text) <= 120
    assert second == Row(2, "b.example")


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('{"value":"a"}', True),
        ('{"value":', True),
        ('"a.example"', True),
        ('"a","b"', False),
        ("a.example", False),
    ],
)
def test_sniff(line: str, is_one: bool) -> None:
    assert sniff(["", line]) is is_one


def test_nothing_is_not_json_lines() -> None:
    assert not sniff([])
