"""Hold-back: never half of a large list at once by time alone, and never a hold for any other reason."""

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.holding import SMALL_ENTRIES, Hold, judged
from threatcloud.domain.times import DAY_MS, HOUR_MS

NOW = 1_772_870_400_000
counts = st.integers(0, 5_000)


def test_a_large_list_that_would_lose_more_than_half_is_held() -> None:
    assert not judged(None, NOW, 2_000, 1_000).is_held
    assert judged(None, NOW, 2_000, 1_001) == Hold(NOW, 2_000, 0, NOW)


def test_a_small_list_is_not_held() -> None:
    assert not judged(None, NOW, SMALL_ENTRIES, SMALL_ENTRIES).is_held
    assert judged(None, NOW, SMALL_ENTRIES + 1, SMALL_ENTRIES + 1).is_held


def test_the_hold_lasts_over_days_and_ends_when_enough_has_come_back() -> None:
    held = judged(None, NOW, 2_000, 1_500)
    later = judged(held, NOW + 9 * DAY_MS, 2_000, 1_600)
    assert later == held
    assert judged(later, NOW + 9 * DAY_MS, 2_000, 900) == Hold(NOW, 2_000, 900)


def test_a_day_later_what_faded_before_is_forgotten() -> None:
    first = judged(None, NOW, 2_000, 900)
    assert judged(first, NOW + DAY_MS - 1, 1_100, 200).is_held
    assert judged(first, NOW + DAY_MS, 1_100, 200) == Hold(NOW + DAY_MS, 1_100, 200)
    assert judged(first, NOW - HOUR_MS, 1_100, 200) == Hold(NOW - HOUR_MS, 1_100, 200)


def test_what_an_operator_took_off_holds_nothing() -> None:
    first = judged(None, NOW, 10_000, 1)
    assert not judged(first, NOW + 1, 3_000, 500).is_held
    assert judged(first, NOW + 1, 3_000, 1_501).is_held


def test_a_list_that_is_filled_up_as_it_fades_is_not_held() -> None:
    hold = None
    for hour in range(48):
        hold = judged(hold, NOW + hour * HOUR_MS, 10_000, 3_000)
        assert not hold.is_held


@given(counts, st.lists(st.integers(0, 1_500), max_size=30))
def test_within_a_day_time_alone_never_halves_a_large_list_however_many_steps_it_takes(
    entries: int, steps: list[int]
) -> None:
    hold, standing = None, entries
    for hour, step in enumerate(steps[:24]):
        fading = min(step, standing)
        hold = judged(hold, NOW + hour * HOUR_MS, standing, fading)
        if hold.is_held:
            assert entries > SMALL_ENTRIES
            assert 2 * (standing - fading) < entries
            return
        standing -= fading
        assert entries <= SMALL_ENTRIES or 2 * standing >= entries


@given(st.none() | st.builds(Hold, st.just(NOW), counts, counts, st.none() | st.just(NOW)), counts, counts)
def test_to_look_again_changes_nothing(known: Hold | None, standing: int, fading: int) -> None:
    hold = judged(known, NOW, standing, min(fading, standing))
    again = judged(hold, NOW + 1, standing, min(fading, standing))
    assert not hold.is_held or again == hold
