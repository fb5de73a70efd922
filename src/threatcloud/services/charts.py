"""Charts: counts by time, country, category and technique, from rollups."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from threatcloud.domain.charts import (
    Granularity,
    HourCount,
    Intensity,
    Mover,
    Rates,
    Trend,
    Velocity,
    buckets,
    describe,
    first_hour,
    intensity,
    most_moved,
    percentage,
    series,
    trends,
    velocity,
)
from threatcloud.domain.countries import country_name
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import hour_of
from threatcloud.services.answers import Answers
from threatcloud.services.screening import Screener
from threatcloud.storage import charts
from threatcloud.storage.charts import Emerging
from threatcloud.storage.driver import Connection
from threatcloud.storage.store import Clock, Queries

EMERGING_DAYS: Final = 7
MAX_EMERGING: Final = 20
#: More than there are; ids that no technique has come in reports, too.
MAX_TECHNIQUES: Final = 1_000


class CountryShare(NamedTuple):
    """A country with its indicators, and how many percent of all that have a country these are."""

    code: str
    name: str
    indicators: int
    percentage: float


class Geo(NamedTuple):
    """Countries, the largest first, and the number of indicators in all of them, shown or not."""

    countries: list[CountryShare]
    total: int


class DescribedTrend(NamedTuple):
    """A trend in figures and in words."""

    trend: Trend
    description: str


class EmergingThreat(NamedTuple):
    """A new indicator that is seen a lot."""

    found: Emerging
    velocity: Velocity


class Trends(NamedTuple):
    """What moves, and what is new."""

    trends: list[DescribedTrend]
    emerging: list[EmergingThreat]


class TechniqueCount(NamedTuple):
    """A technique with its sightings. One that ATT&CK does not know has its id for a name and no tactic."""

    id: str
    name: str
    tactic: str | None
    sightings: int
    intensity: Intensity


class Heatmap(NamedTuple):
    """Techniques, the most frequent first, and sums by primary tactic in the same order."""

    techniques: list[TechniqueCount]
    tactics: Mapping[str, int]


class _Moves(NamedTuple):
    """Rates of all categories, and what moved most in each."""

    rates: Mapping[str, Rates]
    movers: Mapping[str, list[Mover]]


class Charts:
    """Reads rollups. A period of days ends with the current hour. What takes long is kept: see ``Answers``."""

    def __init__(self, store: Queries, screener: Screener, clock: Clock) -> None:
        self._store = store
        self._screener = screener
        self._clock = clock
        self._answers = Answers(store)

    def _hour(self) -> int:
        return hour_of(self._clock())

    async def timeseries(
        self, granularity: Granularity, days: int, kind: IndicatorType | None, category: str | None
    ) -> list[HourCount]:
        """New indicators and sightings of every bucket of the period, oldest first (see ``buckets``)."""
        edges = buckets(self._hour(), days, granularity)

        def read(db: Connection) -> list[HourCount]:
            return series(edges, charts.by_hour(db, edges.start, kind, category))

        return await self._answers.of((edges, kind, category), read)

    async def geo(self, days: int, kind: IndicatorType | None, limit: int) -> Geo:
        """Distinct indicators last seen in the period by country, at most ``limit`` countries."""
        since = first_hour(self._hour(), days)
        counts = await self._answers.of(("geo", since, kind), lambda db: charts.by_country(db, since, kind))
        total = sum(counts.values())
        shown = list(counts.items())[:limit]
        shares = [CountryShare(code, country_name(code), count, percentage(count, total)) for code, count in shown]
        return Geo(shares, total)

    async def trends(self, days: int, min_change_percent: float) -> Trends:
        """Categories that moved by that much between the period before and this one, and up to 20 new threats."""
        hour = self._hour()
        since, before = first_hour(hour, days), first_hour(hour, 2 * days)
        moves = await self._answers.of(("moves", since, before), lambda db: self._moves(db, before, since))
        found = trends(moves.rates, min_change_percent)
        described = [
            DescribedTrend(trend, describe(trend, days, moves.movers.get(trend.category, ()))) for trend in found
        ]
        new = await self._answers.of(
            ("emerging", hour),
            lambda db: charts.emerging(db, first_hour(hour, EMERGING_DAYS), first_hour(hour, 1), MAX_EMERGING),
        )
        return Trends(described, [EmergingThreat(item, velocity(item.sightings)) for item in new])

    def _moves(self, db: Connection, before: int, since: int) -> _Moves:
        return _Moves(charts.by_category(db, before, since), self._movers(db, before, since))

    def _movers(self, db: Connection, before: int, since: int) -> Mapping[str, list[Mover]]:
        """What moved most by category; what several ids stand for, the revoked and their successor, moves as one."""
        changes: Counter[tuple[str, str, str]] = Counter()
        for item in charts.moved(db, before, since):
            changes[item.category, item.kind, self._readable(item.kind, item.value)] += (
                item.rates.current - item.rates.previous
            )
        movers: defaultdict[str, list[Mover]] = defaultdict(list)
        for (category, kind, name), change in changes.items():
            movers[category].append(Mover(kind, name, change))
        return {category: most_moved(found) for category, found in movers.items()}

    def _readable(self, kind: str, value: str) -> str:
        if kind == "country":
            return country_name(value)
        if kind == "port":
            return f"port {value}"
        technique = self._screener.attack.resolve(value)
        return f"{technique.id} {technique.name}" if technique else value

    async def heatmap(self, days: int) -> Heatmap:
        """Sightings in the period by technique; what was revoked counts under its successor."""
        since = first_hour(self._hour(), days)
        return await self._answers.of(("heatmap", since), lambda db: self._heatmap(db, since))

    def _heatmap(self, db: Connection, since: int) -> Heatmap:
        attack = self._screener.attack
        counts: Counter[str] = Counter()
        for id_, count in charts.by_technique(db, since):
            technique = attack.resolve(id_)
            counts[technique.id if technique else id_] += count
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        most = ranked[0][1] if ranked else 0
        found = [
            TechniqueCount(id_, attack.name(id_) or id_, attack.primary_tactic(id_), count, intensity(count, most))
            for id_, count in ranked
        ]
        tactics: Counter[str] = Counter()
        for item in found:
            if item.tactic is not None:
                tactics[item.tactic] += item.sightings
        return Heatmap(found[:MAX_TECHNIQUES], dict(tactics.most_common()))
