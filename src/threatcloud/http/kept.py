"""Rendered answers that hold until something is committed: many dashboards ask for the same few pages."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from threatcloud.http.answer import Answer
from threatcloud.services.shelf import Shelf
from threatcloud.storage.store import Store

#: A page of 200 indicators with all their metadata is up to some hundred KiB.
_MAX_BYTES: Final = 8 * 1024 * 1024
_MAX_ANSWERS: Final = 1_000


class KeptAnswers:
    """Answers by what was asked, as exact as if they were made anew: a shelf that each commit clears. Those who ask for
    the same at the same time wait for one."""

    def __init__(self, store: Store, most_bytes: int = _MAX_BYTES) -> None:
        self._store = store
        self._shelf: Shelf[Answer] = Shelf(_MAX_ANSWERS, most_bytes)
        self._commits = -1

    async def of(self, asked: Hashable, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer that ``make`` gives, or gave since the last commit."""
        commits = self._store.figures().commits
        if commits != self._commits:
            self._commits = commits
            self._shelf.clear()
        return await self._shelf.get(asked, make)
