"""Answers that take a pass over many rows: given once to all who ask, and again only as often as that is cheap."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

from threatcloud.storage.driver import Connection
from threatcloud.storage.store import Queries

T = TypeVar("T")
#: An answer is kept for this many times as long as it took: to find it again costs a hundredth of the time at most.
_KEPT_TIMES: Final = 100
_MAX_KEPT_S: Final = 60.0
#: What takes less than this is found again after each commit.
_QUICK_S: Final = 0.01
_MAX_KEPT: Final = 1_000


class _Answer(NamedTuple):
    """``until_s``: when it is to be found anew; it is given until ``given_until_s`` while that goes on."""

    found: Any
    commits: int
    until_s: float
    given_until_s: float


class Answers:
    """Answers by what was asked. One is exact as of when it was found: since then nothing was committed, or little time
    went by: 12 s where a count of a million took 0.12 s, a minute at most. Who asks up to as much later has it at once,
    while it is found anew for the next."""

    def __init__(self, store: Queries, *, most: int = _MAX_KEPT, kept_times: int = _KEPT_TIMES) -> None:
        """``most``: how many are kept. ``kept_times``: for how many times as long as one took; 0: none is ever old."""
        self._store = store
        self._most = most
        self._kept_times = kept_times
        self._kept: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._finding: dict[Hashable, asyncio.Task[Any]] = {}

    async def of(self, asked: Hashable, read: Callable[[Connection], T]) -> T:
        """What ``read`` gives, kept under ``asked``; those who ask at the same time wait for one reading."""
        kept, commits, now_s = self._kept.get(asked), self._store.figures().commits, time.monotonic()
        if kept is not None and (kept.commits == commits or kept.until_s > now_s):
            return cast(T, kept.found)
        # What may never be old is not taken from a reading that began before the last commit either.
        reading = (asked, 0 if self._kept_times else commits)
        task = self._finding.get(reading)
        if task is None:
            task = self._finding[reading] = asyncio.get_running_loop().create_task(self._find(asked, read))
            task.add_done_callback(partial(self._found, reading))
        if kept is not None and kept.given_until_s > now_s:
            return cast(T, kept.found)
        return cast(T, await asyncio.shield(task))

    def _found(self, reading: Hashable, task: asyncio.Task[Any]) -> None:
        del self._finding[reading]
        if not task.cancelled():
            task.exception()  # whoever waits has it raised; where nobody does, the next who asks finds it anew

    async def _find(self, asked: Hashable, read: Callable[[Connection], T]) -> T:
        def timed(db: Connection) -> tuple[T, float]:
            began_s = time.thread_time()  # of this thread alone: what else the machine does makes nothing older
            return read(db), time.thread_time() - began_s

        commits = self._store.figures().commits
        found, took_s = await self._store.scan(timed)
        keep_s = min(self._kept_times * took_s, _MAX_KEPT_S) if took_s > _QUICK_S else 0.0
        now_s = time.monotonic()
        self._kept[asked] = _Answer(found, commits, now_s + keep_s, now_s + 2 * keep_s)
        self._kept.move_to_end(asked)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found
