"""The shelf: made once for all who ask, kept while it fits, and let go of when it is cleared."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from threatcloud.services.shelf import Shelf


class Body(NamedTuple):
    """Something of a size."""

    name: str
    size: int = 10


class Maker:
    """Makes bodies, and notes which."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.opened = asyncio.Event()
        self.opened.set()

    def __call__(self, name: str, size: int = 10) -> Callable[[], Awaitable[Body]]:
        async def make() -> Body:
            self.made.append(name)
            await self.opened.wait()
            return Body(name, size)

        return make


def test_it_is_made_once_for_all_who_ask_and_once_it_is_there() -> None:
    async def run() -> None:
        shelf, maker = Shelf[Body](10, 1000), Maker()
        found = await asyncio.gather(*(shelf.get("a", maker("a")) for _ in range(5)))
        found.append(await shelf.get("a", maker("again")))
        assert found == [Body("a")] * 6
        assert maker.made == ["a"]

    asyncio.run(run())


def test_what_was_not_asked_for_longest_goes_first() -> None:
    async def run() -> None:
        shelf, maker = Shelf[Body](3, 1000), Maker()
        for name in ("a", "b", "c", "a", "d", "a", "b"):
            await shelf.get(name, maker(name))
        assert maker.made == ["a", "b", "c", "d", "b"]

    asyncio.run(run())


def test_what_takes_too_much_makes_others_go_and_is_kept_itself() -> None:
    async def run() -> None:
        shelf, maker = Shelf[Body](10, 100), Maker()
        for name, size in (("a", 60), ("b", 60), ("a", 60), ("large", 500), ("large", 500)):
            await shelf.get(name, maker(name, size))
        assert maker.made == ["a", "b", "a", "large"]

    asyncio.run(run())


def test_what_fails_is_made_anew() -> None:
    async def failing() -> Body:
        raise LookupError("no")

    async def run() -> None:
        shelf, maker = Shelf[Body](10, 100), Maker()
        with pytest.raises(LookupError):
            await shelf.get("a", failing)
        assert await shelf.get("a", maker("a")) == Body("a")

    asyncio.run(run())


def test_nothing_made_before_it_was_cleared_is_given_after() -> None:
    async def run() -> None:
        shelf, maker = Shelf[Body](10, 100), Maker()
        maker.opened.clear()
        old = asyncio.ensure_future(shelf.get("a", maker("old")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        shelf.clear()
        new = asyncio.ensure_future(shelf.get("a", maker("new")))
        await asyncio.sleep(0)
        maker.opened.set()
        assert (await old, await new) == (Body("old"), Body("new"))
        assert await shelf.get("a", maker("again")) == Body("new")

    asyncio.run(run())


def test_who_hangs_up_leaves_it_to_the_others() -> None:
    async def run() -> None:
        shelf, maker = Shelf[Body](10, 100), Maker()
        maker.opened.clear()
        first, second = (asyncio.ensure_future(shelf.get("a", maker("a"))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        maker.opened.set()
        assert await second == Body("a")
        assert first.cancelled()

    asyncio.run(run())
