"""Charts: buckets meet without gaps, shares and changes are what they say, sentences tell the data."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.charts import (
    Direction,
    Granularity,
    HourCount,
    Intensity,
    Mover,
    Rates,
    Trend,
    Velocity,
    bucket_of,
    buckets,
    change_percent,
    describe,
    intensity,
    percentage,
    series,
    trends,
    velocity,
)
from threatcloud.domain.countries import COUNTRY_NAMES, country_name

HOURS = st.integers(400_000, 600_000)
DAYS = st.sampled_from([1, 7, 30, 90])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(hour: int) -> datetime:
    return EPOCH + timedelta(hours=hour)


@given(HOURS)
def test_buckets_begin_at_midnight_and_on_monday(hour: int) -> None:
    day, week = moment(bucket_of(hour, Granularity.DAY)), moment(bucket_of(hour, Granularity.WEEK))
    assert bucket_of(hour, Granularity.HOUR) == hour
    assert (day.date(), day.hour) == (moment(hour).date(), 0)
    assert (week.weekday(), week.hour) == (0, 0)
    assert timedelta(0) <= moment(hour) - week < timedelta(days=7)


@given(HOURS, DAYS, st.sampled_from(Granularity))
def test_a_period_is_all_its_buckets_and_ends_with_the_current_one(hour: int, days: int, width: Granularity) -> None:
    edges = buckets(hour, days, width)
    assert edges[-1] == bucket_of(hour, width)
    assert all(edge == bucket_of(edge, width) for edge in edges)
    if width is Granularity.WEEK:
        wanted = {bucket_of(hour - 24 * back, width) for back in range(days)}
        assert set(edges) == wanted
    else:
        assert len(edges) == days * (24 if width is Granularity.HOUR else 1)


def test_what_is_ahead_counts_in_the_current_bucket() -> None:
    edges = buckets(100, 1, Granularity.HOUR)
    found = series(edges, [HourCount(77, 1, 2), HourCount(100, 0, 3), HourCount(101, 4, 5)])
    assert (found[0], found[-1]) == (HourCount(77, 1, 2), HourCount(100, 4, 8))
    assert found[1:-1] == [HourCount(hour, 0, 0) for hour in range(78, 100)]


@pytest.mark.parametrize(("part", "total", "expected"), [(1, 3, 33.33), (2, 3, 66.67), (5, 5, 100.0), (0, 0, 0.0)])
def test_percentages_have_two_digits(part: int, total: int, expected: float) -> None:
    assert percentage(part, total) == expected


@pytest.mark.parametrize(
    ("current", "previous", "expected"), [(0, 0, 0), (3, 0, 100), (3, 2, 50), (1, 2, 50), (0, 7, 100), (9, 3, 200)]
)
def test_changes_have_no_sign(current: int, previous: int, expected: float) -> None:
    assert change_percent(Rates(current, previous)) == expected


def test_trends_are_the_changes_that_matter_largest_first() -> None:
    rates = {
        "c2": Rates(11, 10),
        "malware": Rates(1, 0),
        "exploit": Rates(0, 4),
        "scanner": Rates(109, 100),
        "botnet": Rates(5, 5),
        "phishing": Rates(2, 3),
    }
    assert trends(rates, 10.0) == [
        Trend("exploit", Direction.DECREASING, 100.0, Rates(0, 4)),
        Trend("malware", Direction.INCREASING, 100.0, Rates(1, 0)),
        Trend("phishing", Direction.DECREASING, 33.33, Rates(2, 3)),
        Trend("c2", Direction.INCREASING, 10.0, Rates(11, 10)),
    ]
    assert [item.category for item in trends(rates, 0)][-1] == "scanner"


def test_a_description_names_what_moved_the_same_way() -> None:
    movers = [
        Mover("country", "Germany", 3),
        Mover("country", "France", 4),
        Mover("country", "Chile", 3),
        Mover("port", "port 23", 1),
        Mover("country", "Japan", -9),
        Mover("technique", "T1110 Brute Force", 7),
        Mover("port", "port 22", 0),
    ]
    rising = Trend("scanner", Direction.INCREASING, 150.0, Rates(50, 20))
    assert describe(rising, 7, movers) == (
        "Scanner sightings rose by 150 %: 50 in the last 7 days, 20 in the 7 days before. "
        "Of the rise: France (+4), Chile (+3), T1110 Brute Force (+7)."
    )
    falling = Trend("c2", Direction.DECREASING, 100.0, Rates(0, 10))
    assert describe(falling, 1, movers) == (
        "C2 sightings fell by 100 %: none in the last day, 10 in the day before. Of the fall: Japan (-9)."
    )
    new = Trend("c2", Direction.INCREASING, 100.0, Rates(2, 0))
    assert describe(new, 2, []) == "C2 sightings are new: 2 in the last 2 days, none in the 2 days before."


@pytest.mark.parametrize(("sightings", "expected"), [(1, "slow"), (4, "slow"), (5, "moderate"), (24, "rapid")])
def test_velocity_goes_by_sightings(sightings: int, expected: str) -> None:
    assert velocity(sightings) == Velocity(expected)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "low"), (1, "low"), (25, "low"), (26, "medium"), (50, "medium"), (51, "high"), (75, "high"), (76, "critical")],
)
def test_intensity_goes_by_quarters_of_the_most(count: int, expected: str) -> None:
    assert intensity(count, 100) == Intensity(expected)
    assert intensity(100, 100) is Intensity.CRITICAL


def test_countries_have_names_and_others_their_code() -> None:
    assert len(COUNTRY_NAMES) == 250
    assert all(len(code) == 2 and code.isalpha() and code.isupper() and name for code, name in COUNTRY_NAMES.items())
    assert len(set(COUNTRY_NAMES.values())) == 250
    assert (country_name("DE"), country_name("XX")) == ("Germany", "XX")
