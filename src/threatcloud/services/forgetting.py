"""Forgetting by age: sightings go, month by month, and what was concluded from them stays (docs/adr/0028)."""

import asyncio
from functools import partial
from typing import Final

from threatcloud.domain.errors import Busy
from threatcloud.domain.times import iso, month_start
from threatcloud.storage import months, partitions, removal
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Clock, Store

_SLICE_ROWS: Final = 5_000
_UNIT_ROWS: Final = 1_000
#: Between tries to have sightings to itself for a moment.
_PAUSES_S: Final = (0.5, 1.0, 2.0)


class Forgetting:
    """Makes room for the months to come, and closes those that are over.

    ``kept_months``: how many whole months are kept beside the present one, 0 for all.
    """

    def __init__(self, store: Store, kept_months: int, clock: Clock) -> None:
        self._store = store
        self._kept_months = kept_months
        self._clock = clock

    async def run(self) -> str:
        """Does what is due; says which months were closed. Raises Busy while somebody reads sightings for long."""
        now = self._clock()
        if not await self._store.read(partial(_has_room, now=now)):
            await self._have_alone(partial(_make_room, now=now))
        before = month_start(now, -self._kept_months) if self._kept_months else 0
        closed_before, forgotten_before = await self._store.read(months.closing)
        before = max(before, closed_before)  # what was begun is completed, whatever the setting says now
        if before <= forgotten_before:
            return ""
        if before > closed_before:
            await self._have_alone(partial(months.close, time=before))
        gone = await self._delete_left(before)
        await self._store.write(partial(months.forgotten, time=before))
        await self._delete_orphans()
        return f"sightings from before {iso(before)[:7]} forgotten" + (f", {gone} row by row" if gone else "")

    async def _have_alone(self, work: "partial[bool]") -> None:
        """Runs what cannot be done while others read sightings."""
        for pause_s in (*_PAUSES_S, None):
            if await self._store.write(work):
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        raise Busy(
            "sightings are being read for long, by a dump perhaps; months are made and dropped when that is over"
        )

    async def _delete_left(self, before: int) -> int:
        """Deletes what of closed months no partition went with; how many rows."""
        gone, after_pk = 0, 0
        while True:
            read = partial(months.left_before, time=before, after_pk=after_pk, rows=_SLICE_ROWS)
            last, numbers = await self._store.scan(read)
            if last is None:
                return gone
            for first in range(0, len(numbers), _UNIT_ROWS):
                work = partial(removal.delete_sightings, numbers=numbers[first : first + _UNIT_ROWS])
                await self._store.write(work, bulk=True)
            gone += len(numbers)
            after_pk = last

    async def _delete_orphans(self) -> None:
        after: tuple[str, str, int] | None = ("", "", 0)
        while after is not None:
            after, orphans = await self._store.scan(partial(months.orphan_labels, after=after, rows=_SLICE_ROWS))
            if orphans:
                await self._store.write(partial(removal.delete_labels, labels=orphans), bulk=True)


def _has_room(db: Connection, now: int) -> bool:
    return not db.has_partitions or partitions.are_made_ahead(db, now)


def _make_room(tx: Transaction, now: int) -> bool:
    return partitions.make_ahead(tx.db, now)
