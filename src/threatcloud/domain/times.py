"""Times: integer UTC milliseconds inside, ISO 8601 with milliseconds and ``Z`` outside (RFC 3339)."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
MAX_FUTURE_MS: Final = HOUR_MS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@lru_cache(maxsize=4096)  # what came in together has one time, and an indicator seen once has it three times
def iso(time_ms: int) -> str:
    """``2026-03-07T08:15:00.000Z`` for UTC milliseconds."""
    days, in_day_ms = divmod(time_ms, DAY_MS)
    minutes, in_minute_ms = divmod(in_day_ms, MINUTE_MS)
    seconds, ms = divmod(in_minute_ms, SECOND_MS)
    return f"{_date(days)}T{_CLOCK[minutes]}:{_SIXTIETHS[seconds]}.{_THOUSANDTHS[ms]}Z"


_SIXTIETHS: Final = tuple(f"{number:02d}" for number in range(60))
_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))
_CLOCK: Final = tuple(f"{hour}:{minute}" for hour in _SIXTIETHS[:24] for minute in _SIXTIETHS)


def week_of(time_ms: int) -> str:
    """The date of the Monday on or before a time: ``2026-03-02``."""
    days = time_ms // DAY_MS
    return _date(days - (days + 3) % 7)  # 1970-01-01 was a Thursday


@lru_cache(maxsize=4096)
def _date(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).date().isoformat()


def parse_time(text: str) -> int:
    """UTC milliseconds of an ISO 8601 time with any offset; none means UTC.

    Raises ValueError with a sentence for anything else, and for years before 1970 or after 9999.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("must be an ISO 8601 time such as 2026-03-07T08:15:00.000Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    time_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    if not 0 <= time_ms <= _MAX_MS:
        raise ValueError("must lie between the years 1970 and 9999")
    return time_ms


def hour_of(time_ms: int) -> int:
    """The number of the hour since the epoch that the time falls in."""
    return time_ms // HOUR_MS


def month_start(time_ms: int, months: int = 0) -> int:
    """The beginning, in UTC, of the month of a time, or of the one that comes so many months later (or earlier)."""
    month = _EPOCH + timedelta(milliseconds=time_ms)
    years, ordinal = divmod(month.year * 12 + month.month - 1 + months, 12)
    return (datetime(years, ordinal + 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def http_date(time_ms: int) -> str:
    """``Sat, 07 Mar 2026 08:15:00 GMT`` (RFC 9110 section 5.6.7), seconds truncated."""
    moment = _EPOCH + timedelta(seconds=time_ms // SECOND_MS)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[moment.month - 1]
    return f"{day}, {moment.day:02d} {month} {moment.year} {moment:%H:%M:%S} GMT"
