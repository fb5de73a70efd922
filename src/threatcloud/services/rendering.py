"""Published lists in the formats of those who load them: rendered when first asked for, then served from memory."""

import asyncio
from typing import Final, NamedTuple

from threatcloud.domain.feed import PLAIN_HEADER_LINES, FeedList
from threatcloud.domain.times import MINUTE_MS
from threatcloud.formats.feeds import PLAIN, Format, Snapshot, render
from threatcloud.services.publishing import IDENTITY, Published, Publisher, publish
from threatcloud.storage import feeds
from threatcloud.storage.store import Clock, Store

#: Scores and times move without anybody entering or leaving a list; what is said of an entry may be this old.
DETAILS_AGE_MS: Final = 5 * MINUTE_MS


class Shape(NamedTuple):
    """What is made of a list: in which format, only its ``top`` worst entries, and networks joined (``aggregate``)."""

    format: Format = PLAIN
    top: int | None = None
    aggregate: bool = False


class Renderer:
    """Renders lists."""

    def __init__(self, store: Store, publisher: Publisher, clock: Clock) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def get(self, wanted: FeedList, shape: Shape) -> Published:
        """A list as it stands now, in a shape; InvalidInput when the format cannot say values of its type."""
        published = await self._publisher.get(wanted)
        if shape == Shape():
            return published
        age = self._clock() // DETAILS_AGE_MS if shape.format.is_detailed else 0
        key = ("rendered", wanted, published.digest, shape, age)
        at = max(published.generated_at, age * DETAILS_AGE_MS)
        return await self._publisher.shelf.get(key, lambda: self._render(wanted, published, shape, at))

    async def _render(self, wanted: FeedList, published: Published, shape: Shape, at: int) -> Published:
        if shape.format.is_detailed:
            entries = await self._store.scan(lambda db: feeds.list_entries(db, *wanted))
            values = [entry.value for entry in entries]
            snapshot = Snapshot(wanted.type, published.generated_at, values, entries)
            return await asyncio.to_thread(_rendered, snapshot, shape, at)
        return await asyncio.to_thread(lambda: _rendered(_snapshot(wanted, published), shape, at))


def _snapshot(wanted: FeedList, published: Published) -> Snapshot:
    """The list as its plain text has it."""
    lines = published.bodies[IDENTITY].decode().split("\n")
    return Snapshot(wanted.type, published.generated_at, lines[PLAIN_HEADER_LINES:-1])


def _rendered(snapshot: Snapshot, shape: Shape, at: int) -> Published:
    shown = snapshot if shape.top is None else snapshot.first(shape.top)
    body, entries, truncated, left_out = render(shape.format, shown, aggregate=shape.aggregate)
    made = publish(body, entries, "", at)
    return made._replace(truncated=truncated, left_out=left_out)
