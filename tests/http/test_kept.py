"""Answers that are kept between commits."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.clock import Clock
from threatcloud.http.answer import Answer
from threatcloud.http.kept import KeptAnswers
from threatcloud.storage.opening import open_store
from threatcloud.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "kept.db", Clock())
    yield made
    made.close()


def _making(made: list[str], body: bytes = b"x") -> Callable[[], Awaitable[Answer]]:
    async def make() -> Answer:
        made.append("made")
        return Answer(body)

    return make


async def _commit(store: Store) -> None:
    await store.write(lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES (hex(randomblob(8)), '')"))


def test_an_answer_is_made_once_between_two_commits(store: Store) -> None:
    async def ask() -> int:
        kept, made = KeptAnswers(store), list[str]()
        for _ in range(3):
            await kept.of("page", _making(made))
        await _commit(store)
        await kept.of("page", _making(made))
        return len(made)

    assert asyncio.run(ask()) == 2


def test_what_was_read_before_a_commit_is_not_given_after_it(store: Store) -> None:
    async def ask() -> bytes:
        kept = KeptAnswers(store)

        async def slow() -> Answer:
            await _commit(store)  # somebody commits while the answer is made
            return Answer(b"before")

        await kept.of("page", slow)
        return (await kept.of("page", _making([], b"after"))).body

    assert asyncio.run(ask()) == b"after"


def test_what_was_not_asked_for_longest_goes_when_there_is_no_room(store: Store) -> None:
    async def ask() -> list[str]:
        kept, made = KeptAnswers(store, most_bytes=2), list[str]()
        for page in ("a", "b", "a", "c", "a", "b"):

            async def make(page: str = page) -> Answer:
                made.append(page)
                return Answer(b"x")

            await kept.of(page, make)
        return made

    assert asyncio.run(ask()) == ["a", "b", "c", "b"]
