"""Deltas: the text of a list and every change since make the text of the list as it is now, in each format."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.feeds.lists import GOOD, snapshot
from threatcloud.domain.errors import InvalidInput
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import FORMATS, LISTED_KINDS, Format, find_format, render, render_all
from threatcloud.formats.feeds.changes import Change, Versions
from threatcloud.formats.feeds.format import render_delta

VERSIONS = Versions("v20260307.000001", "v20260307.000002")
WITH_DELTAS = [format_ for format_ in FORMATS if format_.delta]
#: Of each type so many that networks join, and what collapses to the same line is there.
POOL = {
    **GOOD,
    IndicatorType.IP: (*GOOD[IndicatorType.IP], "203.0.112.0/24", "203.0.113.10", "198.51.100.6", "2001:db8::6"),
    IndicatorType.URL: (*GOOD[IndicatorType.URL], "https://bad.example/x", "http://bad.example:8443/y"),
}


def applied(before: Iterable[str], delta: str, key: Callable[[str], str]) -> list[str]:
    """Lines with what a delta of signs says; of a line that goes only the key counts."""
    found = list(before)
    for line in delta.splitlines():
        if line.startswith("-"):
            gone = next((own for own in found if key(own) == key(line[1:])), None)
            found = [own for index, own in enumerate(found) if gone is None or index != found.index(gone)]
        elif line.startswith("+"):
            found.append(line[1:])
    return sorted(map(key, found))


def plain_lines(body: str) -> list[str]:
    """The lines without comments, whose count differs, and without what follows from the time."""
    return [line for line in body.splitlines() if line and not re.match(r"# |! |; |// |#fields|#$", line)]


def _elements(text: str, verb: str, into: set[str]) -> None:
    for found in re.finditer(rf"{verb} element inet threat_cloud \w+ {{\n(.*?)\n}}", text, re.DOTALL):
        values = found[1].split(",\n")
        if verb == "add":
            assert not into & set(values)
            into.update(values)
        else:
            assert into >= set(values)
            into.difference_update(values)


def members(format_: Format, body: str, delta: str = "") -> Any:
    """What whoever reads the format holds after a text and a delta."""
    name = format_.name
    if name == "nftables":
        held: set[str] = set()
        _elements(body, "add", held)
        _elements(delta, "delete", held)
        _elements(delta, "add", held)
        return held
    if name == "ipset":
        held = {line.split()[2] for line in body.splitlines() if line.startswith("add ")}
        for line in delta.splitlines():
            words = line.split()
            if words[0] in ("add", "del"):
                (held.add if words[0] == "add" else held.discard)(words[2])
        return held
    if name in ("iptables", "ip6tables"):
        rules = {line for line in body.splitlines() if line.startswith("-A")}
        rules -= {line.replace("-D", "-A", 1) for line in delta.splitlines() if line.startswith("-D")}
        return rules | {line for line in delta.splitlines() if line.startswith("-A")}
    return _records(format_, body, delta) if name in _RECORDS else _by_key(format_, body, delta)


def _by_key(format_: Format, body: str, delta: str) -> list[str]:
    separator = {"zeek": "\t", "suricata-iprep": ","}.get(format_.name)
    return applied(plain_lines(body), delta, lambda line: line.split(separator)[0] if separator else line)


def _records(format_: Format, body: str, delta: str) -> set[str]:
    held = {value for _, value in _RECORDS[format_.name](body)}
    for is_gone, value in _RECORDS[format_.name](delta) if delta else ():
        (held.discard if is_gone else held.add)(value)
    return held


def _of_json(text: str) -> list[tuple[bool, str]]:
    data = json.loads(text)["data"]
    new, gone = data.get("entries", data.get("new")), data.get("deleted", [])
    return [(True, item["value"]) for item in gone] + [(False, item["value"]) for item in new]


def _of_lines(text: str) -> list[tuple[bool, str]]:
    items = [json.loads(line) for line in text.splitlines()]
    return sorted(((item.get("change") == "deleted", item["value"]) for item in items), reverse=True)


def _of_table(text: str) -> list[tuple[bool, str]]:
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    return sorted(((row[0] == "deleted", row[row[0] in ("new", "deleted")]) for row in rows), reverse=True)


def _of_elastic(text: str) -> list[tuple[bool, str]]:
    items = [json.loads(line) for line in text.splitlines()]
    said = [(item.get("labels", {}).get("change") == "deleted", item["threat"]["indicator"]) for item in items]
    return sorted(((gone, json.dumps([one.get(k) for k in ("ip", "url", "file")])) for gone, one in said), reverse=True)


def _of_stix(text: str) -> list[tuple[bool, str]]:
    items = [item for item in json.loads(text)["objects"] if item["type"] == "indicator"]
    return sorted(((item.get("revoked", False), item["id"]) for item in items), reverse=True)


def _of_misp(text: str) -> list[tuple[bool, str]]:
    items = json.loads(text)["Event"]["Attribute"]
    return sorted(((item.get("deleted", False), item["uuid"]) for item in items), reverse=True)


_RECORDS: dict[str, Callable[[str], list[tuple[bool, str]]]] = {
    "json": _of_json,
    "ndjson": _of_lines,
    "csv": _of_table,
    "splunk": _of_table,
    "elastic": _of_elastic,
    "stix": _of_stix,
    "misp": _of_misp,
}


def _text(format_: Format, kind: IndicatorType, values: tuple[str, ...]) -> str:
    return render(format_, snapshot(kind, values)).body.decode()


def _delta(format_: Format, kind: IndicatorType, old: tuple[str, ...], new: tuple[str, ...]) -> str:
    if format_.delta and not format_.delta.needs_lists:
        old, new = (tuple(v for v in old if v not in new), tuple(v for v in new if v not in old))
    change = Change(snapshot(kind, new), snapshot(kind, old))
    return render_delta(format_, [change], VERSIONS).body.decode()


@pytest.mark.parametrize("format_", WITH_DELTAS, ids=lambda format_: format_.name)
@settings(max_examples=25)
@given(st.data())
def test_a_list_and_all_deltas_since_are_the_list_of_now(format_: Format, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(format_.kinds)))
    lists = data.draw(st.lists(st.lists(st.sampled_from(POOL[kind]), unique=True).map(tuple), min_size=2, max_size=4))
    for old, new in pairwise(lists):
        delta = _delta(format_, kind, old, new)
        assert members(format_, _text(format_, kind, old), delta) == members(format_, _text(format_, kind, new))


def test_every_format_has_deltas_but_those_of_one_piece() -> None:
    of_one_piece = {"wazuh", "sigma", "yara", "mmdb", "crowdsec"}  # whose bouncers have a stream of their own
    assert {format_.name for format_ in FORMATS if format_.delta is None} == of_one_piece
    with pytest.raises(InvalidInput, match="mmdb has no deltas; load the whole list"):
        render_delta(find_format("mmdb"), [], VERSIONS)


def test_a_delta_of_nftables_changes_intervals_only_where_they_differ() -> None:
    old = ("203.0.113.0/24", "198.51.100.6", "198.51.100.7")
    new = ("203.0.113.0/24", "198.51.100.7")

    text = _delta(find_format("nftables"), IndicatorType.IP, old, new)

    table = "inet threat_cloud blocklist4"
    assert text.splitlines()[3:] == [
        *(f"delete element {table} {{", "198.51.100.6/31", "}"),
        *(f"add element {table} {{", "198.51.100.7", "}"),
    ]


def test_one_delta_tells_of_several_types() -> None:
    changes = [Change(snapshot(kind, GOOD[kind][:1]), snapshot(kind, GOOD[kind][1:2])) for kind in LISTED_KINDS]

    data = json.loads(render_delta(find_format("json"), changes, VERSIONS).body)["data"]

    assert (data["from"], data["to"]) == VERSIONS
    assert [item["value"] for item in data["new"]] == [GOOD[kind][0] for kind in LISTED_KINDS]
    assert [(item["type"], item["value"]) for item in data["deleted"]] == [(k, GOOD[k][1]) for k in LISTED_KINDS]


@pytest.mark.parametrize("format_", [one for one in FORMATS if one.write_all], ids=lambda one: one.name)
def test_all_types_in_one_file_are_the_entries_of_each(format_: Format) -> None:
    kinds = [kind for kind in LISTED_KINDS if kind in format_.kinds]

    found = render_all(format_, [snapshot(kind, GOOD[kind]) for kind in LISTED_KINDS])

    each = [render(format_, snapshot(kind, GOOD[kind])) for kind in kinds]
    assert found.entries == sum(one.entries for one in each)
    together = members(format_, found.body.decode())
    assert sorted(together) == sorted(item for one in each for item in members(format_, one.body.decode()))
