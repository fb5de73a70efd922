"""How many indicators a search finds: counted again only as often as counting is cheap."""

import asyncio
import time
from collections import OrderedDict
from typing import Final, NamedTuple

from threatcloud.storage.search import Filters, count
from threatcloud.storage.store import Store

#: A total is kept for this many times as long as counting it took: counting costs a hundredth of the time at most.
_KEPT_TIMES: Final = 100
#: What is counted faster than this is counted each time.
_QUICK_S: Final = 0.005
_MAX_KEPT: Final = 1_000


class _Total(NamedTuple):
    found: int
    commits: int
    until_s: float


class Totals:
    """Totals by filter. One is exact as of when it was counted: since then nothing was committed, or little time went
    by (12 s where counting a million took 0.12 s)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[Filters, _Total] = OrderedDict()
        self._counting: dict[Filters, asyncio.Task[int]] = {}

    async def of(self, filters: Filters) -> int:
        """How many there are; those who ask at the same time wait for one count."""
        kept = self._kept.get(filters)
        if kept is not None and (kept.until_s > time.monotonic() or kept.commits == self._store.figures().commits):
            return kept.found
        task = self._counting.get(filters)
        if task is None:
            task = self._counting[filters] = asyncio.get_running_loop().create_task(self._count(filters))
            task.add_done_callback(lambda _: self._counting.pop(filters))
        return await asyncio.shield(task)

    async def _count(self, filters: Filters) -> int:
        commits, began_s = self._store.figures().commits, time.monotonic()
        found = await self._store.scan(lambda db: count(db, filters))
        ended_s = time.monotonic()
        if ended_s - began_s > _QUICK_S:
            self._kept[filters] = _Total(found, commits, ended_s + _KEPT_TIMES * (ended_s - began_s))
            self._kept.move_to_end(filters)
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return found
