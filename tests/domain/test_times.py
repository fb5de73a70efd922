"""Times against the standard library's own idea of them."""

from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from threatcloud.domain.times import DAY_MS, HOUR_MS, hour_of, http_date, iso, month_start, parse_time, week_of

LAST_MS = 253_402_300_799_999
moments_ms = st.integers(0, LAST_MS)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@given(moments_ms)
@example(0)
@example(LAST_MS)
@example(68_256_000_000 - 1)  # the day before 1 March 1972, a leap year
def test_round_trip(time_ms: int) -> None:
    text = iso(time_ms)
    assert parse_time(text) == time_ms
    assert len(text) == 24
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    assert text == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(moments_ms, moments_ms)
def test_texts_sort_as_the_times_do(one: int, other: int) -> None:
    assert (iso(one) < iso(other)) == (one < other)


@given(st.integers(0, LAST_MS // 2), st.integers(-500, 500))
@example(month_start(0, 25 * 12) - 1, 0)
def test_a_month_begins_at_midnight_of_its_first_day(time_ms: int, months: int) -> None:
    start = month_start(time_ms)
    assert start <= time_ms < month_start(time_ms, 1)
    assert iso(start) == f"{iso(time_ms)[:7]}-01T00:00:00.000Z"
    there = month_start(time_ms, months)
    assert (there % DAY_MS, month_start(there), month_start(there, -months)) == (0, there, start)


@given(st.integers(2 * DAY_MS, LAST_MS - 2 * DAY_MS), offsets)
def test_any_offset_names_the_same_moment(time_ms: int, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).astimezone(zone)
    assert parse_time(local.isoformat()) == time_ms
    assert parse_time(f"  {local.isoformat(sep=' ')}\n") == time_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-07T08:15:00.000Z", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07T08:15:00Z", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07T10:15:00+02:00", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07T08:15", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07", "2026-03-07T00:00:00.000Z"),
        ("20260307T081500Z", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07T08:15:00.123999Z", "2026-03-07T08:15:00.123Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_spellings(text: str, expected: str) -> None:
    assert iso(parse_time(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "1772870400000", "2026-02-30", "2026-03-07T25:00:00Z", "07.03.2026", "2026-03-07T08:15:00+99:00"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="must be an ISO 8601 time such as"):
        parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999-23:59",
    ],
)
def test_years_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="between the years 1970 and 9999"):
        parse_time(text)


@given(st.text(max_size=40))
@example("\0")
@example("\ud800")
@example("２０２６-03-07")
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        time_ms = parse_time(text)
    except ValueError:
        return
    assert 0 <= time_ms <= LAST_MS


@given(moments_ms)
def test_http_dates(time_ms: int) -> None:
    assert http_date(time_ms) == formatdate(time_ms // 1000, usegmt=True)
    assert parsedate_to_datetime(http_date(time_ms)).timestamp() == time_ms // 1000


@given(moments_ms)
def test_hours(time_ms: int) -> None:
    assert hour_of(time_ms) * HOUR_MS <= time_ms < (hour_of(time_ms) + 1) * HOUR_MS


@given(st.integers(0, 4_000_000_000_000))
def test_a_week_begins_on_monday(time_ms: int) -> None:
    monday = date.fromisoformat(week_of(time_ms))
    assert monday.weekday() == 0
    assert timedelta() <= date.fromisoformat(iso(time_ms)[:10]) - monday < timedelta(days=7)
