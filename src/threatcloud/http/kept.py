"""Rendered answers that hold until something is committed: many dashboards ask for the same few pages."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from threatcloud.http.answer import Answer
from threatcloud.storage.store import Store

#: A page of 200 indicators with all their metadata is up to some hundred KiB.
_MAX_BYTES: Final = 8 * 1024 * 1024


class KeptAnswers:
    """Answers by what was asked, as exact as if they were made anew. What was not asked for longest goes first."""

    def __init__(self, store: Store, most_bytes: int = _MAX_BYTES) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._bytes = 0
        self._commits = -1

    async def of(self, asked: Hashable, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer that ``make`` gives, or gave since the last commit."""
        commits = self._store.figures().commits
        if commits != self._commits:
            self._commits, self._bytes = commits, 0
            self._kept.clear()
        known = self._kept.get(asked)
        if known is not None:
            self._kept.move_to_end(asked)
            return known
        answer = await make()
        if self._commits == commits == self._store.figures().commits:  # else it may be of before a commit
            self._keep(asked, answer)
        return answer

    def _keep(self, asked: Hashable, answer: Answer) -> None:
        if asked in self._kept:
            return
        self._kept[asked] = answer
        self._bytes += len(answer.body)
        while self._bytes > self._most_bytes:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.body)
