"""What charts read: sums of rollups, and the new indicators sighted most."""

from typing import Any, Final, NamedTuple

from threatcloud.domain.charts import MAX_MOVERS, HourCount, Rates
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.times import HOUR_MS
from threatcloud.storage.driver import Connection
from threatcloud.storage.rollups import NO_COUNTRY


class Moved(NamedTuple):
    """How often one country, port or technique was seen with a category, now and before."""

    category: str
    kind: str
    value: str
    rates: Rates


class Emerging(NamedTuple):
    """A new indicator with its sightings since the hour asked for."""

    indicator: Indicator
    first_seen: int
    sightings: int


#: Sightings from one hour on, and before another.
_NOW_AND_BEFORE: Final = (
    "sum(CASE WHEN hour >= ? THEN sightings ELSE 0 END) AS here, "
    "sum(CASE WHEN hour < ? THEN sightings ELSE 0 END) AS there"
)


def by_hour(db: Connection, hour: int, kind: IndicatorType | None, category: str | None) -> list[HourCount]:
    """New indicators and sightings of each hour from one on, in order; hours without any may be left out."""
    where, params = _where(("hour >= ?", hour), ("type = ?", kind and kind.code), ("category = ?", category))
    rows = db.rows(
        f"SELECT hour, sum(indicators), sum(sightings) FROM rollup_hour WHERE {where} GROUP BY hour ORDER BY hour",
        params,
    )
    return [HourCount(*row) for row in rows]


def _where(*asked: tuple[str, Any]) -> tuple[str, list[Any]]:
    """The conditions that have something to compare with."""
    used = [(text, value) for text, value in asked if value is not None]
    return " AND ".join(text for text, _ in used), [value for _, value in used]


def by_country(db: Connection, hour: int, kind: IndicatorType | None) -> dict[str, int]:
    """How many indicators were last seen from an hour on, by country code; largest first, then by code."""
    where, params = _where(("hour >= ?", hour), ("country <> ?", NO_COUNTRY), ("type = ?", kind and kind.code))
    rows = db.rows(
        f"SELECT country, sum(indicators) FROM rollup_last_seen WHERE {where} GROUP BY country "
        "HAVING sum(indicators) > 0 ORDER BY 2 DESC, 1",
        params,
    )
    return {str(country): int(count) for country, count in rows}


def by_technique(db: Connection, hour: int) -> list[tuple[str, int]]:
    """Sightings from an hour on by technique id as reported, in the order of the ids."""
    rows = db.rows(
        "SELECT technique, sum(sightings) FROM rollup_technique WHERE hour >= ? GROUP BY technique "
        "HAVING sum(sightings) > 0 ORDER BY technique",
        (hour,),
    )
    return [(technique, count) for technique, count in rows]


def by_category(db: Connection, before: int, since: int) -> dict[str, Rates]:
    """Sightings by category from the hour ``since`` on, and from ``before`` to it."""
    rows = db.rows(
        f"SELECT category, {_NOW_AND_BEFORE} FROM rollup_hour WHERE hour >= ? GROUP BY category",
        (since, since, before),
    )
    return {category: Rates(current, previous) for category, current, previous in rows}


def moved(db: Connection, before: int, since: int) -> list[Moved]:
    """Countries, ports and techniques of reports in the same two periods, those with the same count left out.

    Of ports only those that moved most, each way: there are 65,535 in each category, and a description names a few.
    """
    rows = db.rows(
        "SELECT category, kind, value, here, there FROM (SELECT *, rank() OVER (PARTITION BY category, kind, "
        "here > there ORDER BY abs(here - there) DESC) AS place FROM (SELECT category, kind, value, "
        f"{_NOW_AND_BEFORE} FROM rollup_trait WHERE hour >= ? GROUP BY category, kind, value) AS counted "
        "WHERE here <> there) AS ranked WHERE kind <> 'port' OR place <= ?",
        (since, since, before, MAX_MOVERS),
    )
    return [Moved(category, kind, value, Rates(now, then)) for category, kind, value, now, then in rows]


def emerging(db: Connection, new_since: int, seen_since: int, limit: int) -> list[Emerging]:
    """Active indicators first seen from one hour on, those with the most sightings from the other hour on first.

    Only single reports count: that a bulk source lists a value says nothing of how it spreads.
    """
    rows = db.rows(
        "SELECT i.type, i.value, i.first_seen, s.seen FROM (SELECT indicator, count(*) AS seen FROM sighting "
        "INDEXED BY sighting_by_time WHERE kind = 'positive' AND observed_at >= ? GROUP BY indicator) AS s "
        "CROSS JOIN indicator AS i ON i.pk = s.indicator WHERE i.first_seen >= ? AND i.status = 'active' "
        "ORDER BY s.seen DESC, i.first_seen DESC, i.pk LIMIT ?",
        (seen_since * HOUR_MS, new_since * HOUR_MS, limit),
    )
    return [Emerging(Indicator(IndicatorType.from_code(kind), value), first, seen) for kind, value, first, seen in rows]
