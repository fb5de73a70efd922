"""Statistics, from rollups only."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from threatcloud.domain.holding import list_name
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.state import UNCATEGORIZED, Status
from threatcloud.domain.times import hour_of
from threatcloud.services.answers import Answers
from threatcloud.storage import fading, rollups
from threatcloud.storage.driver import Connection
from threatcloud.storage.store import Clock, Queries

_HOURS_A_DAY: Final = 24


class Stats(NamedTuple):
    """The whole store in numbers. The last 24 h are the current hour and the 23 before it."""

    total_iocs: int
    active_iocs: int
    total_sightings: int
    total_sources: int
    by_type: Mapping[str, int]
    by_category: Mapping[str, int]
    new_iocs_24h: int
    sightings_24h: int
    top_category_24h: str | None
    held_feeds: list[str]
    updated_at: int


class Analytics:
    """Reads rollups."""

    def __init__(self, store: Queries, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._answers = Answers(store)

    async def stats(self) -> Stats:
        """The numbers as of now; every type and category is there, with zero when there is none."""
        now = self._clock()
        found = await self._answers.of(hour_of(now), lambda db: _stats(db, now))
        return found._replace(updated_at=now)


def _stats(db: Connection, now: int) -> Stats:
    cells = rollups.totals(db)
    by_type = {kind.value: 0 for kind in IndicatorType}
    by_category = dict.fromkeys((*CATEGORIES, UNCATEGORIZED), 0)
    for cell in cells:
        by_type[IndicatorType.from_code(cell.type_code).value] += cell.indicators
        by_category[cell.category] = by_category.get(cell.category, 0) + cell.indicators
    new, seen, top = rollups.since_hour(db, hour_of(now) - _HOURS_A_DAY + 1)
    return Stats(
        total_iocs=sum(by_type.values()),
        active_iocs=sum(cell.indicators for cell in cells if cell.status == Status.ACTIVE),
        total_sightings=sum(cell.sightings for cell in cells),
        total_sources=rollups.count_sources(db),
        by_type=by_type,
        by_category=by_category,
        new_iocs_24h=new,
        sightings_24h=seen,
        top_category_24h=top,
        held_feeds=[list_name(kind) for kind in fading.held(db)],
        updated_at=now,
    )
