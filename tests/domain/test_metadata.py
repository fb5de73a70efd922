"""How what several reports say of an indicator becomes one object."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.metadata import GATHERED, MAX_COUNT, MAX_LIST, gathered, merge_metadata

LISTS = sorted(set(GATHERED.values()))
values = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.lists(st.integers(0, 9)))
objects = st.dictionaries(st.sampled_from([*GATHERED, "asn", "attempts", "note", "deep"]), values, max_size=6)


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        (None, {}, {}),
        (None, {"port": 22}, {"ports": [22]}),
        ({"ports": [22]}, {"port": 80, "ports": [443]}, {"ports": [22, 80, 443]}),
        ({"ports": [22, 80]}, {"port": 22}, {"ports": [80, 22]}),
        ({}, {"ports": [1, 1, None, 2]}, {"ports": [1, 2]}),
        ({"ports": [1, 2]}, {"ports": [3, 1, 3]}, {"ports": [2, 1, 3]}),
        ({"mitreIds": ["T1110"]}, {"mitreTechnique": "T1078"}, {"mitreIds": ["T1110", "T1078"]}),
        ({"mitreIds": ["T1110"]}, {"mitreId": ["T1078"]}, {"mitreIds": ["T1110", "T1078"]}),
        ({"protocols": ["ssh"]}, {"protocol": "ftp"}, {"protocols": ["ssh", "ftp"]}),
        ({"tags": ["a"]}, {"tag": "b", "tags": ["c", "a"]}, {"tags": ["b", "c", "a"]}),
        ({"tags": ["a"]}, {"tags": None}, {"tags": ["a"]}),
        ({"attempts": 3}, {"attempts": 4}, {"attempts": 7}),
        ({}, {"attempts": 4}, {"attempts": 4}),
        ({"attempts": 3}, {"attempts": "many"}, {"attempts": "many"}),
        ({"attempts": "many"}, {"attempts": 4}, {"attempts": 4}),
        ({"attempts": True}, {"attempts": 4}, {"attempts": 4}),
        ({"attempts": 3}, {"attempts": True}, {"attempts": True}),
        ({"attempts": 3}, {"attempts": -2}, {"attempts": -2}),
        ({"attempts": MAX_COUNT}, {"attempts": 9}, {"attempts": MAX_COUNT}),
        ({"malwareFamily": "a", "asn": 1}, {"malwareFamily": "b"}, {"malwareFamily": "b", "asn": 1}),
        ({"deep": {"a": 1}}, {"deep": {"b": 2}}, {"deep": {"b": 2}}),
    ],
)
def test_merging(old: dict[str, Any] | None, new: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_metadata(old, new) == merged


@pytest.mark.parametrize("name", sorted(GATHERED))
def test_lists_keep_the_newest_hundred(name: str) -> None:
    merged: dict[str, Any] = {}
    for number in range(MAX_LIST + 50):
        merged = merge_metadata(merged, {name: number})
    assert merge_metadata(merged, {name: [99_999, 51]})[GATHERED[name]] == [*range(52, 150), 99_999, 51]
    assert merged == {GATHERED[name]: list(range(50, MAX_LIST + 50))}
    assert merge_metadata(None, {name: list(range(1000))}) == {GATHERED[name]: list(range(900, 1000))}
    assert MAX_LIST == 100


@given(objects, objects)
def test_lists_hold_each_value_once_and_scalars_leave_no_second_spelling(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    merged = merge_metadata(merge_metadata(None, old), new)
    assert merged.keys() <= {*LISTS, "asn", "attempts", "note", "deep"}
    for name in LISTS:
        found = merged.get(name, [])
        assert all(item not in found[:place] for place, item in enumerate(found))
        assert None not in found


@given(objects, objects)
def test_merging_again_changes_nothing_but_attempts(old: dict[str, Any], new: dict[str, Any]) -> None:
    once = merge_metadata(merge_metadata(None, old), new)
    again = merge_metadata(once, new)
    once.pop("attempts", None)
    again.pop("attempts", None)
    assert again == once


@given(objects, objects)
def test_neither_side_is_changed(old: dict[str, Any], new: dict[str, Any]) -> None:
    first = merge_metadata(None, old)
    before = (repr(first), repr(new))
    merge_metadata(first, new)
    assert (repr(first), repr(new)) == before


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_attempts_add_up(counts: list[int]) -> None:
    merged: dict[str, Any] = {}
    for count in counts:
        merged = merge_metadata(merged, {"attempts": count})
    assert merged == {"attempts": sum(counts)}


@given(objects, st.sampled_from(LISTS))
def test_what_one_report_says_for_a_list(metadata: dict[str, Any], name: str) -> None:
    assert gathered(metadata, name) == merge_metadata(None, metadata).get(name, [])
