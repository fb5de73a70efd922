"""Retention: what nobody has seen for long gets an end, and what ended long ago goes; so does the past of the feeds.

An end given here is stored as ``expires_at``, as one that a reporter gave, and whatever brings such an indicator back
brings this one back.
"""

from functools import partial
from typing import Final, NamedTuple

from threatcloud.domain.times import DAY_MS
from threatcloud.services.holding import Holding
from threatcloud.services.recording import reassess
from threatcloud.services.removal import clear_leftovers, remove
from threatcloud.storage import feed_log, removal, rollups
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

_SLICE_ROWS: Final = 5_000
_UNIT_ROWS: Final = 250
#: For so long a follower of feeds can stay away and be told what left meanwhile.
FEED_LOG_DAYS: Final = 90


class Keeping(NamedTuple):
    """How long is kept what nobody sees (0: for ever), and how long after its end, in days."""

    retention_days: int
    grace_days: int

    def unseen_since(self, now: int) -> int | None:
        """What was last seen before this time is over; None when nothing ever is."""
        return now - self.retention_days * DAY_MS if self.retention_days else None


class Retention:
    """Ends, removes and prunes, in slices small enough that nobody waits."""

    def __init__(self, store: Store, names: Names, keeping: Keeping, holding: Holding, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._keeping = keeping
        self._holding = holding
        self._clock = clock

    async def retain(self) -> str:
        """Ends what nobody has seen for long and removes what ended long ago; says how many of each."""
        if not self._keeping.retention_days:
            return ""
        ended, removed = await self.end_unseen(), await self.purge()
        return f"{ended} indicators expired, {removed} removed" if ended or removed else ""

    async def end_unseen(self) -> int:
        """Gives an end to every indicator that was last seen too long ago; how many changed their status."""
        now = self._clock()
        before = self._keeping.unseen_since(now)
        if before is None or not await self._store.read(partial(removal.any_unseen, before=before)):
            return 0
        async with self._holding.upkeep():
            return await self._end_all(before, now)

    async def _end_all(self, before: int, now: int) -> int:
        changed, after_pk = 0, 0
        while True:
            read = partial(removal.unseen, after_pk=after_pk, rows=_SLICE_ROWS, before=before, now=now)
            last, due = await self._store.scan(read)
            if last is None:
                return changed
            for first in range(0, len(due), _UNIT_ROWS):
                keys = due[first : first + _UNIT_ROWS]
                changed += await self._store.write(partial(self._end, keys=keys, before=before), bulk=True)
            after_pk = last

    def _end(self, tx: Transaction, keys: list[bytes], before: int) -> int:
        removal.end_unseen(tx, keys, before)
        return reassess(tx, self._names, keys)

    async def purge(self) -> int:
        """Removes every indicator whose end is older than the grace; how many."""
        removed = 0
        while True:
            before = self._clock() - self._keeping.grace_days * DAY_MS
            due = await self._store.scan(partial(removal.ended, before=before, most=_UNIT_ROWS))
            if not due:
                await clear_leftovers(self._store, self._names)
                return removed
            removed += await self._store.write(partial(self._purge, before=before), bulk=True)

    def _purge(self, tx: Transaction, before: int) -> int:
        """Asks again inside the unit: one that was due may have been reported meanwhile."""
        return remove(tx, self._names, removal.ended(tx.db, before, _UNIT_ROWS)).indicators

    async def prune(self) -> str:
        """Forgets the past of the feeds that no follower is told any more, and emptied cells of the rollups."""
        before = self._clock() - FEED_LOG_DAYS * DAY_MS
        pruned = 0
        while more := await self._store.write(partial(feed_log.prune, before=before, most=_SLICE_ROWS), bulk=True):
            pruned += more
        for table in rollups.TABLES:
            while empty := await self._store.scan(partial(rollups.empty_cells, table=table, most=_SLICE_ROWS)):
                await self._store.write(partial(rollups.drop_cells, table=table, cells=empty), bulk=True)
        return f"{pruned} entries of the feeds' past pruned" if pruned else ""
