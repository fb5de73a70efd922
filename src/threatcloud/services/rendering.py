"""Published lists in the formats of those who load them: rendered when first asked for, then served from memory.

A short list takes milliseconds, in a thread. A long one would hold the interpreter, and with it every request, for
seconds: a process of its own renders it.
"""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from threatcloud.domain.errors import Busy
from threatcloud.domain.feed import PLAIN_HEADER_LINES, Detail, FeedList
from threatcloud.domain.times import MINUTE_MS
from threatcloud.domain.widening import widened
from threatcloud.formats.feeds import PLAIN, Format, Rendering, apart, check, check_all
from threatcloud.formats.feeds.order import Order, Part, bare_lines, carry_out
from threatcloud.services.publishing import IDENTITY, Published, Publisher, publish
from threatcloud.storage import allowlist, feeds
from threatcloud.storage.driver import Connection
from threatcloud.storage.store import Clock, Store

#: Scores and times move without anybody entering or leaving a list; what is said of an entry may be this old.
DETAILS_AGE_MS: Final = 5 * MINUTE_MS
#: Up to here a thread is quicker than the start of a process, and is done within some ten milliseconds.
SHORT_ENTRIES: Final = 5_000
_PIECE_BYTES: Final = 1 << 20

_log = structlog.get_logger("rendering")


class Shape(NamedTuple):
    """What is made of a list: in which format, only its ``top`` worst entries, and networks joined (``aggregate``)."""

    format: Format = PLAIN
    top: int | None = None
    aggregate: bool = False
    #: Networks of which so many percent are listed are taken whole; None: none that is not full.
    min_fill: int | None = None


#: Whether networks may be on a list, as the database has it.
Judge = Callable[[Connection], Callable[[str], bool]]


class Renderer:
    """Renders lists; those of more than ``short_entries`` in a process of their own, one after the other."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        clock: Clock,
        short_entries: int = SHORT_ENTRIES,
        judge: Judge | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._short_entries = short_entries
        self._judge = judge
        self._apart = asyncio.Lock()

    async def get(self, wanted: FeedList, shape: Shape) -> Published:
        """A list as it stands now, in a shape; InvalidInput when it cannot be, Busy when its process ended early."""
        check(shape.format, wanted.type, aggregate=shape.aggregate)
        if shape == Shape():
            return await self._publisher.get(wanted)
        return await self._kept((wanted,), shape, is_all=False)

    async def derived(
        self, wanted: FeedList, shape: Shape, name: Hashable, make: Callable[[bytes], bytes]
    ) -> Published:
        """What is made of a rendering, in a thread; ``name`` is the same for what is made alike. Kept as renderings."""
        rendering = await self.get(wanted, shape)
        key = (name, wanted, shape, rendering.digest, rendering.generated_at)

        async def render() -> Published:
            body = await asyncio.to_thread(make, rendering.bodies[IDENTITY])
            return publish(body, rendering.entries, "", rendering.generated_at)

        return await self._publisher.renderings.get(key, render)

    async def get_all(self, wanted: Sequence[FeedList], shape: Shape) -> Published:
        """Lists of several types as they stand now, in one text; errors as of ``get``."""
        check_all(shape.format)
        return await self._kept(tuple(one for one in wanted if one.type in shape.format.kinds), shape, is_all=True)

    async def _kept(self, wanted: tuple[FeedList, ...], shape: Shape, *, is_all: bool) -> Published:
        published = [await self._publisher.get(one) for one in wanted]
        age = self._clock() // DETAILS_AGE_MS if shape.format.detail else 0
        allowed = await self._store.read(allowlist.version_of) if shape.min_fill is not None else None
        key = (wanted, *(one.digest for one in published), shape, age, is_all, allowed)
        at = max(age * DETAILS_AGE_MS, *(one.generated_at for one in published))
        return await self._publisher.renderings.get(key, lambda: self._render(wanted, published, shape, at, is_all))

    async def _render(
        self, wanted: Sequence[FeedList], published: Sequence[Published], shape: Shape, at: int, is_all: bool
    ) -> Published:
        format_, top, aggregate, min_fill = shape
        pieces = [await self._lines(format_, one, known) for one, known in zip(wanted, published, strict=True)]
        collateral = 0
        if min_fill is not None:
            pieces[0], collateral = await self._widened(pieces[0][0], min_fill)
        entries = sum(min(count, top or count) for _, count in pieces)
        parts = tuple(
            Part(one.type, known.generated_at, len(lines))
            for one, known, (lines, _) in zip(wanted, published, pieces, strict=True)
        )
        order = Order(format_.name, parts, top, aggregate, is_all, collateral=collateral)
        made = await self.carry_out(order, b"".join(lines for lines, _ in pieces), entries, at)
        return made._replace(collateral=collateral)

    async def carry_out(self, order: Order, lines: bytes, entries: int, at: int) -> Published:
        """What an order makes of lines, as published at a time; Busy when the process of a long one ended early."""
        if entries <= self._short_entries:
            return await asyncio.to_thread(lambda: _published(carry_out(order, lines), at))
        async with self._apart:
            head, body = await _answer(apart.question(order, lines))
        return await asyncio.to_thread(lambda: _published(apart.understood(head, body), at))

    async def _widened(self, lines: bytes, min_fill: int) -> tuple[tuple[bytes, int], int]:
        """Lines of a list of addresses with fewer networks, how many, and how many addresses nobody listed."""

        def widen(db: Connection) -> tuple[tuple[bytes, int], int]:
            may = self._judge(db) if self._judge is not None else lambda _: False
            found = widened(lines.decode().split("\n")[:-1], min_fill, may)
            return (bare_lines(Detail.VALUE, found.values, ""), len(found.values)), found.collateral

        return await self._store.scan(widen)

    async def _lines(self, format_: Format, wanted: FeedList, published: Published) -> tuple[bytes, int]:
        """The lines of a list with the detail that a format asks for, and how many there are."""
        if format_.detail is Detail.VALUE:
            return published.bodies[IDENTITY].split(b"\n", PLAIN_HEADER_LINES)[-1], published.entries
        body = await self._store.scan(lambda db: feeds.render_list(db, *wanted, detail=format_.detail))
        return body.lines, body.entries


async def _answer(question: bytes) -> tuple[bytes, bytes]:
    """What a process of its own says to a question, which it reads to the end before: a line, and a text.

    They are read apart, since a text may be so long that nobody wants to have it twice.
    """
    process = await asyncio.create_subprocess_exec(*apart.COMMAND, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # its code says that it ended early
            process.stdin.write(question)
            await process.stdin.drain()
        process.stdin.close()
        head = await process.stdout.readline()
        pieces = []
        while piece := await process.stdout.read(_PIECE_BYTES):
            pieces.append(piece)
        await process.wait()  # its room is free before the text takes twice its own
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        _log.error("a list was not rendered", code=process.returncode)
        raise Busy("the list could not be rendered; try again")
    return head, b"".join(pieces)


def _published(rendering: Rendering, at: int) -> Published:
    body, entries, truncated, left_out = rendering
    return publish(body, entries, "", at)._replace(truncated=truncated, left_out=left_out)
