import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.technique import (
    FORMER_TACTICS,
    TACTICS,
    in_matrix_order,
    normalise_technique_id,
    primary_tactic,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T1110", "T1110"),
        ("t1110.001", "T1110.001"),
        (" T1110\n", "T1110"),
        ("T111", None),
        ("T11100", None),
        ("T1110.1", None),
        ("T1110.0011", None),
        ("T1110.", None),
        ("TA0006", None),
        ("T１１１０", None),
        ("Brute Force", None),
        ("", None),
    ],
)
def test_ids(text: str, expected: str | None) -> None:
    assert normalise_technique_id(text) == expected


@given(st.text(max_size=12))
def test_what_is_normal_stays_as_it_is(text: str) -> None:
    normal = normalise_technique_id(text)
    if normal is not None:
        assert normalise_technique_id(normal) == normal


def test_the_matrix_of_version_19() -> None:
    assert len(set(TACTICS)) == 15
    assert (TACTICS[0], TACTICS[-1]) == ("Reconnaissance", "Impact")
    assert set(FORMER_TACTICS.values()) <= set(TACTICS)
    assert set(FORMER_TACTICS).isdisjoint(TACTICS)


@pytest.mark.parametrize(
    ("tactics", "expected"),
    [
        (["Stealth", "Persistence", "Privilege Escalation", "Initial Access"], "Initial Access"),
        (["Stealth", "Impact"], "Impact"),
        (["Defense Impairment", "Stealth"], "Stealth"),
        (["Defense Evasion", "Execution"], "Execution"),
        (["Defense Evasion"], "Stealth"),
        (["Something New", "Stealth"], "Stealth"),
        (["Something New"], "Something New"),
        ([], None),
    ],
)
def test_the_primary_tactic(tactics: list[str], expected: str | None) -> None:
    assert primary_tactic(tactics) == expected


@given(st.lists(st.sampled_from([*TACTICS, *FORMER_TACTICS, "Something New"])))
def test_the_primary_tactic_is_one_of_them_whatever_their_order(tactics: list[str]) -> None:
    primary = primary_tactic(tactics)
    assert primary == primary_tactic(tactics[::-1])
    assert primary in in_matrix_order(tactics) or not tactics


@given(st.lists(st.sampled_from(TACTICS)))
def test_matrix_order_keeps_each_once(tactics: list[str]) -> None:
    assert in_matrix_order(tactics) == tuple(name for name in TACTICS if name in tactics)
