"""What is suspicious about a list that is polled, and when it is polled again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.polled import (
    SMALL_ENTRIES,
    Figures,
    Known,
    SourceState,
    lead_hours,
    share,
    state_of,
    taken_up,
    wait_ms,
    why_held,
)
from threatcloud.domain.times import DAY_MS, HOUR_MS

NOW = 1_772_870_400_000


def known(entries: int) -> Known:
    return taken_up(Known(checked_at=NOW, answered_at=NOW, changed_at=NOW), NOW, entries)


@pytest.mark.parametrize(
    ("before", "after", "is_held"),
    [
        (1000, 1000, False),
        (1000, 2000, False),
        (1000, 2001, True),
        (1000, 500, False),
        (1000, 499, True),
        (1000, 0, True),
        (50, 100, False),
        (50, 101, True),
        (50, 1, False),
        (50, 0, True),
        (0, 0, False),
        (0, 100, False),
    ],
)
def test_a_list_that_doubles_halves_or_empties_is_held(before: int, after: int, is_held: bool) -> None:
    assert (why_held(known(before), after) is not None) == is_held


@given(st.integers(0, 1 << 31))
def test_a_first_list_and_a_confirmed_one_are_taken_up_whatever_their_size(entries: int) -> None:
    assert why_held(Known(), entries) is None
    assert why_held(known(1000)._replace(confirmed=True), entries) is None
    assert not taken_up(known(1000)._replace(confirmed=True, held_since=NOW, held_why="x"), NOW, entries).held_since


@given(st.lists(st.floats(1.0, 1.9), min_size=1, max_size=20))
def test_what_doubles_bit_by_bit_within_a_day_is_held(growth: list[float]) -> None:
    """However many steps it takes."""
    at = known(1000)
    entries = 1000
    for number, factor in enumerate(growth):
        entries = int(entries * factor)
        if why_held(at, entries) is not None:
            return
        at = taken_up(at, NOW + number * HOUR_MS, entries)
        assert at.entries <= 2000


def test_after_a_day_sizes_are_compared_anew() -> None:
    at = taken_up(known(1000), NOW + DAY_MS, 1900)
    assert why_held(at, 3800) is None
    assert SMALL_ENTRIES < 1000


def test_a_source_is_silent_when_it_no_longer_answers_or_changes() -> None:
    at = known(10)
    assert state_of(Known(), HOUR_MS, NOW, NOW) is SourceState.NEW
    assert state_of(at, HOUR_MS, NOW, NOW + DAY_MS) is SourceState.GOOD
    assert state_of(at, HOUR_MS, NOW, NOW + DAY_MS + 1) is SourceState.SILENT
    assert state_of(at, DAY_MS, NOW, NOW + 3 * DAY_MS) is SourceState.GOOD
    still = at._replace(answered_at=NOW + 15 * DAY_MS)
    assert state_of(still, HOUR_MS, NOW, NOW + 15 * DAY_MS) is SourceState.SILENT
    assert state_of(still, DAY_MS, NOW, NOW + 15 * DAY_MS) is SourceState.GOOD
    assert state_of(at._replace(failures=1), HOUR_MS, NOW, NOW) is SourceState.FAILING
    assert state_of(at._replace(held_since=NOW, failures=1), HOUR_MS, NOW, NOW) is SourceState.HELD


@given(st.integers(60_000, 30 * DAY_MS), st.integers(0, 1000), st.floats(0, 1))
def test_waits_are_as_asked_for_and_shorter_after_a_failure(every: int, failures: int, chance: float) -> None:
    wait = wait_ms(every, failures, chance)
    assert every - every // 10 - 1 <= wait_ms(every, 0, chance) <= every
    assert 0 < wait <= every
    assert wait_ms(every, failures + 1, 0) >= wait_ms(every, failures, 0) or not failures


def test_shares_of_nothing_are_none() -> None:
    assert (share(0, 0), share(1, 3), lead_hours(Figures())) == (None, 0.3333, None)
    assert lead_hours(Figures(shared=2, lead_ms=3 * HOUR_MS)) == 1.5
