"""What keeps the store in shape while it runs: decay, and forgetting what has served its time."""

from functools import partial
from typing import Final

from threatcloud.domain.times import DAY_MS
from threatcloud.services.holding import Holding
from threatcloud.services.recording import reassess
from threatcloud.storage import idempotency, indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

_SLICE_ROWS: Final = 5_000
_UNIT_ROWS: Final = 500


class Maintenance:
    """Background upkeep, in slices small enough that nobody waits for it."""

    def __init__(self, store: Store, names: Names, holding: Holding, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._holding = holding
        self._clock = clock

    async def decay(self) -> str:
        """Brings every reputation that age can have moved to the present; says how many moved."""
        async with self._holding.upkeep():
            return await self._decay()

    async def _decay(self) -> str:
        moved, after_pk, now = 0, 0, self._clock()
        while True:
            read = partial(indicators.due_for_decay, after_pk=after_pk, rows=_SLICE_ROWS, now=now)
            last, due = await self._store.scan(read)
            if last is None:
                return f"{moved} reputations moved" if moved else ""
            for first in range(0, len(due), _UNIT_ROWS):
                work = partial(reassess, names=self._names, keys=due[first : first + _UNIT_ROWS])
                moved += await self._store.write(work)
            after_pk = last

    async def expire(self) -> str:
        """Expires what has come to the end its reporter gave it; says how many."""
        gone = 0
        async with self._holding.upkeep():
            while due := await self._store.read(partial(indicators.expired, now=self._clock(), most=_UNIT_ROWS)):
                gone += await self._store.write(partial(reassess, names=self._names, keys=due))
        return f"{gone} indicators expired" if gone else ""

    async def forget(self) -> str:
        """Drops what is kept for a day only."""

        def work(tx: Transaction) -> None:
            idempotency.forget_before(tx, tx.now - DAY_MS)

        await self._store.write(work)
        return ""
