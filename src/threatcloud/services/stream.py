"""The stream of changes: one reader of the database for all followers, who share what it read.

While somebody follows, the hub looks five times a second whether anything was committed, reads the changes once and
keeps the last few thousand, encoded. A follower is a place in that row, or, where it is further behind, a place in the
database: a slow one holds no memory, and reads page by page until it has caught up. So each process can serve the
stream by itself, and nothing is lost over a restart: the place is in the id of every event.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from threatcloud.domain.change import Change, Interest, Place
from threatcloud.domain.errors import Busy, Gone
from threatcloud.formats.events import event_json
from threatcloud.services.access import KeyRing
from threatcloud.storage.changes import Slice, changes_after, newest_place
from threatcloud.storage.names import Names
from threatcloud.storage.store import Store

MAX_FOLLOWERS: Final = 1_000
KEPT_CHANGES: Final = 5_000
PAGE_CHANGES: Final = 500
#: Followers that read from the database at the same time: after a restart all of them come at once.
_READERS: Final = 2
LOOK_EVERY_S: Final = 0.2
HEARTBEAT_S: Final = 15.0
#: How long a client is to wait before it comes back.
RETRY_MS: Final = 3_000

_log = structlog.get_logger("stream")


class _Told(NamedTuple):
    """A change as it is kept."""

    change: Change
    text: bytes


class Hub:
    """Reads changes for all followers of this process."""

    def __init__(self, store: Store, names: Names, ring: KeyRing, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._store = store
        self._names = names
        self._ring = ring
        self.heartbeat_s = heartbeat_s
        self._kept: deque[_Told] = deque(maxlen=KEPT_CHANGES)
        #: How many were read in all; those kept are the last of them.
        self._read = 0
        #: The place before the first that is kept, and after the last.
        self._begin = self._place = Place()
        self._followers: set[Follower] = set()
        self._reading: asyncio.Task[None] | None = None
        self._paging = asyncio.Semaphore(_READERS)

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._followers)

    async def follow(
        self, place: Place | None, interest: Interest, may_still: Callable[[], bool], *, ends: bool = False
    ) -> "Follower":
        """A follower of what comes after a place (None: from now on), which has to be closed.

        ``may_still`` is asked now and then whether it may go on; ``ends``: only up to what there is now. Raises Gone
        where not all can be told any more, Busy when there are too many.
        """
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Busy("too many follow the stream already", retry_after_s=10)
        newest = await self._store.scan(newest_place)
        if place is not None:
            await self._store.scan(lambda db: changes_after(db, place, 1, self._names))  # raises Gone
        follower = Follower(self, place or newest, interest, may_still, ends)
        self._followers.add(follower)
        if self._reading is None or self._reading.done():
            self._kept.clear()
            self._begin = self._place = newest
            self._reading = asyncio.create_task(self._read_on())
        return follower

    def leave(self, follower: "Follower") -> None:
        """Forgets a follower."""
        self._followers.discard(follower)

    async def page(self, place: Place) -> Slice:
        """A page of what comes after a place."""
        async with self._paging:
            return await self._store.scan(lambda db: changes_after(db, place, PAGE_CHANGES, self._names))

    def join(self, place: Place) -> int | None:
        """The number of the first kept change, where nothing after a place lies before it; else None."""
        return self._read - len(self._kept) if place.reaches(self._begin) else None

    def kept_from(self, number: int, most: int) -> list[_Told] | None:
        """Kept changes from a number on; None when the first of them is no longer there."""
        first = self._read - len(self._kept)
        if number < first:
            return None
        return [self._kept[at - first] for at in range(number, min(number + most, self._read))]

    async def _read_on(self) -> None:
        commits = keys = -1
        while self._followers:
            seen, ring = self._store.figures().commits, self._ring.version
            if seen != commits:
                commits = seen if await self._take_in() else -1
            if ring != keys:
                keys = ring
                self._wake()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _take_in(self) -> bool:
        """Reads what is new; False when that has to be tried again."""
        more = True
        while more:
            try:
                found = await self.page(self._place)
            except Gone:  # an erasure: what is kept must not be told, and each follower asks for itself how to go on
                self._begin = self._place = await self._store.scan(newest_place)
                self._kept.clear()
                self._read += 1  # nobody's next number is there any more
                self._wake()
                return True
            except Busy as error:
                _log.error("the stream cannot be read", reason=error.message)
                return False
            more = found.more
            self._keep(found)
            self._wake()
        return True

    def _keep(self, found: Slice) -> None:
        for change in found.changes:
            if len(self._kept) == KEPT_CHANGES:
                self._begin = self._kept[0].change.place
            self._kept.append(_Told(change, _text(change)))
            self._read += 1
        self._place = found.place
        if not self._kept:
            self._begin = found.place

    def _wake(self) -> None:
        for follower in self._followers:
            follower.woken.set()


class Follower:
    """One follower: an iterator of pieces of text as Server-Sent Events have them, and ``close``, from any side."""

    def __init__(self, hub: Hub, place: Place, interest: Interest, may_still: Callable[[], bool], ends: bool) -> None:
        self._hub = hub
        self._place = place
        self._interest = interest
        self._may_still = may_still
        self._ends = ends
        self._closed = False
        self.woken = asyncio.Event()

    def close(self) -> None:
        """Ends the stream, after the piece that is on its way."""
        self._closed = True
        self.woken.set()
        self._hub.leave(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces of the stream, until it is closed or may no longer go on. Empty pieces are not given."""
        yield b"retry: %d\nid: %b\n\n" % (RETRY_MS, str(self._place).encode())
        try:
            while self._goes_on():
                number = self._hub.join(self._place) if not self._ends else None
                pieces = self._live(number) if number is not None else self._behind()
                async for piece in pieces:
                    yield piece
                if self._ends:
                    return
        except Gone:
            yield b": what left meanwhile can no longer be told in full\n\n"
        finally:
            self.close()

    def _goes_on(self) -> bool:
        return not self._closed and self._may_still()

    async def _behind(self) -> AsyncIterator[bytes]:
        """What is read from the database, until the follower has caught up."""
        more = True
        while more and self._goes_on():
            found = await self._hub.page(self._place)
            piece = b"".join([_text(change) for change in found.changes if self._interest.wants(change)])
            self._place, more = found.place, found.more
            if piece:
                yield piece

    async def _live(self, number: int) -> AsyncIterator[bytes]:
        """What the hub reads, from a kept change on, until the follower is too slow for that."""
        while self._goes_on():
            self.woken.clear()
            told = self._hub.kept_from(number, PAGE_CHANGES)
            if told is None:
                return
            number += len(told)
            piece = self._wanted(told)
            if piece:
                yield piece
            elif not told and not await self._wait():
                yield b": \nid: %b\n\n" % str(self._place).encode()

    def _wanted(self, told: list[_Told]) -> bytes:
        parts = []
        for change, text in told:
            if change.is_after(self._place):
                self._place = change.place
                if self._interest.wants(change):
                    parts.append(text)
        return b"".join(parts)

    async def _wait(self) -> bool:
        """Whether something came before it was time for a sign of life."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), self._hub.heartbeat_s)
            return True
        return False


def _text(change: Change) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        str(change.place).encode(),
        change.kind.value.encode(),
        event_json(change),
    )
