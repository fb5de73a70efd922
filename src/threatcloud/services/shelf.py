"""What was rendered for one and is asked for by many: kept while it fits, what was not asked for longest goes first."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that takes up memory."""

    @property
    def size(self) -> int:
        """Bytes; it may grow."""


S = TypeVar("S", bound=Sized)


class Shelf(Generic[S]):
    """Things by what they are the answer to."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, S] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[S]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[S]]) -> S:
        """What is kept under the key, made first if there is nothing; those who ask meanwhile wait for the same."""
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.get_running_loop().create_task(self._make(key, make))
        return await asyncio.shield(task)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[S]]) -> S:
        try:
            made = await make()
            if self._is_awaited(key):
                self._keep(key, made)
            return made
        finally:
            if self._is_awaited(key):
                del self._making[key]

    def _is_awaited(self, key: Hashable) -> bool:
        """Whether what the current task makes is still wanted: nothing was cleared meanwhile."""
        return self._making.get(key) is asyncio.current_task()

    def _keep(self, key: Hashable, made: S) -> None:
        self._kept[key] = made
        while len(self._kept) > self._most or (
            len(self._kept) > 1 and sum(item.size for item in self._kept.values()) > self._most_bytes
        ):
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Lets go of everything, also of what is being made."""
        self._kept.clear()
        self._making.clear()
