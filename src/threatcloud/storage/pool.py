"""Threads to read in, and how many wait for one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class PoolFigures(NamedTuple):
    """Threads of a pool at most, how many of them work, and how many calls wait for one."""

    size: int
    busy: int
    waiting: int


class Pool:
    """So many threads at most; who comes when all work waits for its turn."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._asked = 0
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, fn: Callable[P, T], *args: P.args, **_none: P.kwargs) -> T:
        """What the function gives, called in a thread."""
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, fn, *args)
        finally:
            self._asked -= 1

    def figures(self) -> PoolFigures:
        """How it is used now. A call that nobody waits for any more does not count."""
        busy = min(self._asked, self._size)
        return PoolFigures(self._size, busy, self._asked - busy)

    def close(self) -> None:
        """Lets what runs end; what waits is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
