"""A coroutine run until it waits, and then as a task, comes to what it would have come to as a task."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from threatcloud.http.eager import run_until_it_waits


class Left(Exception):
    """What the coroutines of these tests raise and are told."""


class Walk:
    """A coroutine that waits a few times, and notes how it went."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.futures = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def run(self) -> None:
        self.noted.append("begun")
        for future in self.futures:
            try:
                self.noted.append(await future)
            except Left:
                self.noted.append("left")
        await asyncio.sleep(0)
        self.noted.append(asyncio.current_task() is not None)


def rest_of(running: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    rest = run_until_it_waits(running)
    assert rest is not None
    return rest


def test_what_never_waits_is_done_at_once() -> None:
    done: list[str] = []

    async def run() -> None:
        done.append("done")

    assert run_until_it_waits(run()) is None
    assert done == ["done"]


def test_what_it_raises_before_it_waits_is_raised() -> None:
    async def run() -> None:
        raise Left

    with pytest.raises(Left):
        run_until_it_waits(run())


def test_what_it_waits_for_reaches_it_results_and_errors_alike() -> None:
    async def run() -> list[Any]:
        walk = Walk()
        rest = rest_of(walk.run())
        assert walk.noted == ["begun"]
        walk.futures[0].set_result("first")  # before there is a task
        task = asyncio.ensure_future(rest)
        await asyncio.sleep(0.01)
        walk.futures[1].set_exception(Left())
        await task
        return walk.noted

    assert asyncio.run(run()) == ["begun", "first", "left", True]


def test_what_it_raises_later_is_what_its_task_raises() -> None:
    async def failing(future: "asyncio.Future[None]") -> None:
        await future
        raise Left

    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(rest_of(failing(future)))
        future.set_result(None)
        await task

    with pytest.raises(Left):
        asyncio.run(run())


def test_it_can_be_cancelled_where_it_waits() -> None:
    noted: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            noted.append("cleaned up")

    async def run() -> None:
        task = asyncio.ensure_future(rest_of(waiting()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert noted == ["cleaned up"]
