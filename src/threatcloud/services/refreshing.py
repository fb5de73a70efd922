"""The loop that has the default lists published again when something on them has changed."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import structlog

from threatcloud.domain.errors import Busy
from threatcloud.domain.indicator import IndicatorType
from threatcloud.services.publishing import Publisher
from threatcloud.storage import feeds, rules
from threatcloud.storage.store import Store

REFRESH_S: Final = 1.0
#: Of an import into a million a quarter of the time went into lists that were stale a second later.
_REST_TIMES: Final = 4
#: A change may wait for the refresh it came too late for, the rest after that, and its own refresh.
_WITHIN_S: Final = 1.8

_log = structlog.get_logger("publishing")


class RefreshLoop:
    """Listens for commits that touch feeds or rules and has the publisher refresh, at most once a second.

    Most of them only move the scores of what is published; what is on a default list is in the log of changes.
    After a refresh it rests for up to four times as long as that took: while changes never end, lists take a fifth of
    the time, as far as a change is still on its list in time; the first change after a pause is published at once.
    """

    def __init__(self, publisher: Publisher, store: Store) -> None:
        self._publisher = publisher
        #: Where nodes share the lists, each looks now and then: one may have missed a word, or come to lead.
        self._is_shared = store.is_shared
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        store.listen(self._committed)

    def _committed(self, topics: set[str]) -> None:
        kinds = {kind for kind in IndicatorType if feeds.feed_topic(kind) in topics}
        if feeds.ERASED in topics:
            self._loop.call_soon_threadsafe(self._publisher.forget)
        if kinds or not topics.isdisjoint({rules.TOPIC, feeds.PUBLISHED}):
            self._loop.call_soon_threadsafe(self._note, kinds)

    def _note(self, kinds: set[IndicatorType]) -> None:
        self._publisher.mark_stale(kinds)
        self._publisher.note_change()
        self._wake.set()

    async def run(self) -> None:
        """Starts the publisher, then refreshes, until cancelled."""
        self._wake.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S if self._is_shared else None):
                    await self._wake.wait()
            self._wake.clear()
            began_s = time.monotonic()
            try:
                changed = await self._publisher.refresh(set())
                _log.debug("published", lists=changed)
            except Busy as error:  # a full disk, say: the lists stay as they are, and it is tried again
                _log.error("publishing failed", reason=error.message)
                self._wake.set()
            await asyncio.sleep(_rest_s(time.monotonic() - began_s))


def _rest_s(took_s: float) -> float:
    """How long to leave the lists alone after a refresh that took so long."""
    return max(took_s, min(max(REFRESH_S, _REST_TIMES * took_s), _WITHIN_S - 2 * took_s))
