"""``/api/query/…``: charts over time, countries, categories and techniques."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.charts import PERIOD_DAYS, Direction, Granularity, Intensity, Velocity
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import HOUR_MS, iso
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.wire import CategoryWord, Shape, Time, TypeWord

PeriodWord = Literal["24h", "7d", "30d", "90d"]
HeatmapPeriodWord = Literal["7d", "30d", "90d"]
Percent = Annotated[float, Meta(ge=0, le=1_000_000, description="percent")]


class TimeseriesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Width of a bucket, period and filters."""

    granularity: Granularity = Granularity.DAY
    period: PeriodWord = "30d"
    type: TypeWord | None = None
    category: CategoryWord | None = None


class GeoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Period, filter and how many countries."""

    type: TypeWord | None = None
    period: PeriodWord = "30d"
    limit: Annotated[int, Meta(ge=1, le=250, description="countries at most")] = 20


class TrendsQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Period and the least change that is told."""

    period_days: Annotated[int, Meta(ge=1, le=90, description="days of the period")] = 7
    min_change: Percent = 10.0


class HeatmapQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Period."""

    period: HeatmapPeriodWord = "30d"


class PointShape(Shape):
    """One bucket; ``timestamp`` is when it begins."""

    timestamp: Time
    new_iocs: int
    sightings: int


class TimeseriesShape(Shape):
    """Every bucket of the period, oldest first."""

    granularity: Granularity
    period: PeriodWord
    series: list[PointShape]


class CountryShape(Shape):
    """A country; ``code`` is ISO 3166 alpha-2, ``percentage`` is of ``total``, to two digits."""

    code: str
    name: str
    count: int
    percentage: Annotated[float, Meta(ge=0, le=100)]


class GeoShape(Shape):
    """Countries, largest first; ``total`` counts the indicators of all countries, also of those left out."""

    period: PeriodWord
    countries: list[CountryShape]
    total: int


class TrendShape(Shape):
    """A category that is seen more or less often than in the period before; rates are sightings in the period."""

    category: CategoryWord | Literal["uncategorized"]
    direction: Direction
    change_percent: Annotated[float, Meta(ge=0, description="without a sign, to two digits")]
    current_rate: int
    previous_rate: int
    description: str


class EmergingShape(Shape):
    """A new indicator that is seen a lot."""

    indicator: str
    type: TypeWord
    first_seen: Time
    velocity: Velocity
    sightings_last_24h: int = msgspec.field(name="sightingsLast24h")


class TrendsShape(Shape):
    """What moves, largest change first, and what is new, most sighted first."""

    period_days: int
    trends: list[TrendShape]
    emerging_threats: list[EmergingShape]


class TechniqueShape(Shape):
    """A technique; one that ATT&CK does not know has its id for a name and no tactic."""

    id: str
    name: str
    tactic: str | None
    count: int
    intensity: Intensity


class HeatmapShape(Shape):
    """Techniques, most frequent first, and the sums by their tactics."""

    period: HeatmapPeriodWord
    techniques: list[TechniqueShape]
    tactics: dict[str, int]


def _type(word: str | None) -> IndicatorType | None:
    return IndicatorType(word) if word else None


async def timeseries(call: Call) -> Answer:
    """New indicators and sightings over time."""
    query: TimeseriesQuery = call.query
    days = PERIOD_DAYS[query.period]
    found = await call.services.charts.timeseries(query.granularity, days, _type(query.type), query.category)
    points = [PointShape(iso(item.hour * HOUR_MS), item.new_iocs, item.sightings) for item in found]
    return ok(TimeseriesShape(query.granularity, query.period, points))


async def geo(call: Call) -> Answer:
    """Indicators by country."""
    query: GeoQuery = call.query
    found = await call.services.charts.geo(PERIOD_DAYS[query.period], _type(query.type), query.limit)
    return ok(GeoShape(query.period, [CountryShape(*item) for item in found.countries], found.total))


async def trends(call: Call) -> Answer:
    """What is seen more or less often than before, and what is new."""
    query: TrendsQuery = call.query
    found = await call.services.charts.trends(query.period_days, query.min_change)
    moving = []
    for trend, description in found.trends:
        category: Any = trend.category
        moving.append(TrendShape(category, trend.direction, trend.change_percent, *trend.rates, description))
    emerging = [
        EmergingShape(item.indicator.value, item.indicator.type.value, iso(item.first_seen), velocity, item.sightings)
        for item, velocity in found.emerging
    ]
    return ok(TrendsShape(query.period_days, moving, emerging))


async def mitre_heatmap(call: Call) -> Answer:
    """Techniques of ATT&CK by frequency."""
    query: HeatmapQuery = call.query
    found = await call.services.charts.heatmap(PERIOD_DAYS[query.period])
    return ok(HeatmapShape(query.period, [TechniqueShape(*item) for item in found.techniques], dict(found.tactics)))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/query/timeseries",
        summary="New indicators and sightings over time",
        description="Every bucket of the period, empty ones as zeros; the last is the current one, not over yet. Days "
        "and weeks are of UTC, weeks begin on Monday and are whole: those that a day of the period lies in. "
        "`newIocs` counts indicators by their first sighting and present category, `sightings` by the time and "
        "category of the observation.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=timeseries,
        from_database=True,
        query=TimeseriesQuery,
        answer=TimeseriesShape,
        tag="Analytics",
    ),
    Endpoint(
        method="GET",
        path="/api/query/geo",
        summary="Indicators by country",
        description="Distinct indicators last seen in the period, which ends with the current hour; those without a "
        "country are not counted.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=geo,
        from_database=True,
        query=GeoQuery,
        answer=GeoShape,
        tag="Analytics",
    ),
    Endpoint(
        method="GET",
        path="/api/query/trends",
        summary="What is seen more or less often, and what is new",
        description="Rates are sightings in the last `periodDays` x 24 hours, the current one included, and in as many "
        "before. From nothing to something is 100 %. Emerging threats are at most 20 active indicators first seen "
        "within 7 days, those reported most in the last 24 hours first; `velocity` is slow below 5 of these reports, "
        "rapid from 24 (one an hour), else moderate.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=trends,
        from_database=True,
        query=TrendsQuery,
        answer=TrendsShape,
        tag="Analytics",
    ),
    Endpoint(
        method="GET",
        path="/api/query/mitre-heatmap",
        summary="ATT&CK techniques by frequency",
        description="`count` is the sightings that named the technique; ids of revoked techniques count under their "
        "successors, sub-techniques by themselves. `intensity` is by quarters of the most frequent one's count: over "
        "three quarters critical, over two high, over one medium, else low. `tactics` sums by the primary tactic. "
        "At most 1,000 techniques are listed; the sums are of all.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=mitre_heatmap,
        from_database=True,
        query=HeatmapQuery,
        answer=HeatmapShape,
        tag="Analytics",
    ),
)
