"""Charts: how counts by the hour become buckets, shares, trends and intensities. Hours are numbered since the epoch."""

import itertools
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

PERIOD_DAYS: Final = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
DAY_HOURS: Final = 24
#: Sightings in 24 h from which a threat is no longer slow, and from which it is rapid: one every hour.
MODERATE_SIGHTINGS: Final = 5
RAPID_SIGHTINGS: Final = 24
#: How many of the countries, ports and techniques that moved a description names, of each kind.
MAX_MOVERS: Final = 2
MIN_MOVER_SHARE: Final = 0.05
# The epoch was a Thursday: its week began on the Monday three days before.
_MONDAY_HOURS: Final = 3 * DAY_HOURS


class Granularity(StrEnum):
    """The width of a bucket. Days and weeks are of UTC, weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Velocity(StrEnum):
    """How fast a threat spreads, by its sightings in 24 h."""

    SLOW = "slow"
    MODERATE = "moderate"
    RAPID = "rapid"


class Intensity(StrEnum):
    """How frequent a technique is beside the most frequent one, by quarters of its count."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Direction(StrEnum):
    """Where a trend goes."""

    INCREASING = "increasing"
    DECREASING = "decreasing"


class HourCount(NamedTuple):
    """What one hour saw; in a series, what the bucket that begins with the hour saw."""

    hour: int
    new_iocs: int
    sightings: int


class Rates(NamedTuple):
    """Sightings in a period, and in the one of the same length before."""

    current: int
    previous: int


class Mover(NamedTuple):
    """What of one kind (``country``, ``port``, ``technique``) was seen more or less often, by its readable name."""

    kind: str
    name: str
    change: int


class Trend(NamedTuple):
    """A category that is seen more or less often than before; the percentage has no sign."""

    category: str
    direction: Direction
    change_percent: float
    rates: Rates


_WIDTH_HOURS: Final = {Granularity.HOUR: 1, Granularity.DAY: DAY_HOURS, Granularity.WEEK: 7 * DAY_HOURS}


def first_hour(now_hour: int, days: int) -> int:
    """The first hour of a period of 24 x ``days`` hours that ends with the current one."""
    return now_hour - days * DAY_HOURS + 1


def bucket_of(hour: int, granularity: Granularity) -> int:
    """The first hour of the bucket that an hour lies in."""
    width, shift = _WIDTH_HOURS[granularity], _MONDAY_HOURS if granularity is Granularity.WEEK else 0
    return (hour + shift) // width * width - shift


def buckets(now_hour: int, days: int, granularity: Granularity) -> range:
    """The first hours of all buckets of a period, the current bucket last.

    By the hour these are 24 x ``days`` buckets, by the day ``days``; by the week every week, whole, that one of these
    days lies in.
    """
    if granularity is Granularity.HOUR:
        first = first_hour(now_hour, days)
    else:
        first = (now_hour // DAY_HOURS - days + 1) * DAY_HOURS
    end = bucket_of(now_hour, granularity) + 1
    return range(bucket_of(first, granularity), end, _WIDTH_HOURS[granularity])


def series(edges: range, counts: Iterable[HourCount]) -> list[HourCount]:
    """The counts by bucket, every bucket there, in order; none of the counts may lie before the first.

    What was observed ahead of the current bucket, by a clock that is fast, counts in it.
    """
    new, seen = [0] * len(edges), [0] * len(edges)
    for count in counts:
        place = min((count.hour - edges.start) // edges.step, len(edges) - 1)
        new[place] += count.new_iocs
        seen[place] += count.sightings
    return list(map(HourCount, edges, new, seen))


def percentage(part: int, total: int) -> float:
    """The part in percent of the total, to two digits; 0 of nothing."""
    return round(100 * part / total, 2) if total else 0.0


def change_percent(rates: Rates) -> float:
    """By how many percent the rate moved, without a sign; from nothing to something it is 100."""
    if not rates.previous:
        return 100.0 if rates.current else 0.0
    return 100 * abs(rates.current - rates.previous) / rates.previous


def trends(rates: Mapping[str, Rates], min_change_percent: float) -> list[Trend]:
    """The categories whose rate moved by at least that much, the largest change first, then the most sighted."""
    found = []
    for category, rate in rates.items():
        change = change_percent(rate)
        if change and change >= min_change_percent:
            direction = Direction.INCREASING if rate.current > rate.previous else Direction.DECREASING
            found.append(Trend(category, direction, round(change, 2), rate))
    return sorted(found, key=lambda item: (-change_percent(item.rates), -max(item.rates), item.category))


def describe(trend: Trend, days: int, movers: Iterable[Mover]) -> str:
    """A sentence with the figures and one with what moved most the same way, by kind.

    What has less than a twentieth of the change explains none of it, and is not named.
    """
    span, before = ("last day", "day before") if days == 1 else (f"last {days} days", f"{days} days before")
    current, previous = trend.rates
    rising = trend.direction is Direction.INCREASING
    verb = ("rose" if rising else "fell") + f" by {trend.change_percent:g} %" if previous else "are new"
    figures = f"{current or 'none'} in the {span}, {previous or 'none'} in the {before}"
    sentence = f"{trend.category.capitalize()} sightings {verb}: {figures}."
    least = abs(current - previous) * MIN_MOVER_SHARE
    moving = [item for item in movers if (item.change > 0) == rising and abs(item.change) >= least]
    moved = [f"{item.name} ({item.change:+d})" for item in most_moved(moving)]
    if not moved:
        return sentence
    return f"{sentence} Of the {'rise' if rising else 'fall'}: {', '.join(moved)}."


def most_moved(movers: Iterable[Mover]) -> list[Mover]:
    """All that a description can name: the largest changes of each kind and direction, kinds in the order of names."""
    ranked = sorted(movers, key=lambda item: (item.kind, item.change < 0, -abs(item.change), item.name))
    groups = itertools.groupby(ranked, key=lambda item: (item.kind, item.change < 0))
    return [item for _, group in groups for item in itertools.islice(group, MAX_MOVERS)]


def velocity(sightings_24h: int) -> Velocity:
    """Slow below 5 sightings in 24 h, rapid from 24, else moderate."""
    if sightings_24h >= RAPID_SIGHTINGS:
        return Velocity.RAPID
    return Velocity.MODERATE if sightings_24h >= MODERATE_SIGHTINGS else Velocity.SLOW


def intensity(count: int, most: int) -> Intensity:
    """By quarters of the largest count: over three of them critical, over two high, over one medium, else low."""
    quarters = -(-4 * count // most)
    return (Intensity.LOW, Intensity.MEDIUM, Intensity.HIGH, Intensity.CRITICAL)[max(quarters, 1) - 1]
