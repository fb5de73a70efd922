"""A store that only reads beside the one that writes, over one board: as in two processes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clock import Clock
from threatcloud.domain.report import Role
from threatcloud.storage.board import BOARD_BYTES, board_in
from threatcloud.storage.driver import Connection, Read, StorageUnavailable, T, Transaction, Work
from threatcloud.storage.memory import memory_of, shared_memory
from threatcloud.storage.names import Names
from threatcloud.storage.sqlite_store import ReadingStore, WritingStore, open_sqlite


class Pair(NamedTuple):
    """Both stores with their names, and a loop to use them on."""

    writer: WritingStore
    written: Names
    reader: ReadingStore
    names: Names
    runner: asyncio.Runner

    def write(self, work: Work[T]) -> T:
        result: T = self.runner.run(self.writer.write(work))
        return result

    def read(self, fn: Read[T]) -> T:
        result: T = self.runner.run(self.reader.read(fn))
        return result

    def scan(self, fn: Read[T]) -> T:
        result: T = self.runner.run(self.reader.scan(fn))
        return result


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    memory = shared_memory(BOARD_BYTES)
    assert memory.descriptor is not None
    theirs = memory_of(memory.descriptor)
    names = Names()
    with asyncio.Runner() as runner:
        writer = open_sqlite(tmp_path / "x.db", Clock(), board_in(memory.part(BOARD_BYTES)))
        board = board_in(theirs.part(BOARD_BYTES))
        reader = ReadingStore(tmp_path / "x.db", board, read_only=True, on_begin=names.follow)
        yield Pair(writer, Names(), reader, names, runner)
        reader.close()
        writer.close()
    memory.close()


def put(name: str) -> Work[None]:
    return lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES (?, '')", (name,))


def count(db: Connection) -> int:
    row = db.row("SELECT count(*) FROM meta WHERE name LIKE 'test-%'")
    assert row is not None
    return int(row[0])


def test_every_commit_is_seen_once_it_is_acknowledged(pair: Pair) -> None:
    for number in range(20):
        assert pair.read(count) == number
        pair.write(put(f"test-{number}"))
        assert (pair.read(count), pair.scan(count)) == (number + 1, number + 1)
        assert pair.reader.figures().commits == pair.writer.figures().commits


def test_it_can_do_nothing_to_the_file(pair: Pair) -> None:
    with pytest.raises(RuntimeError):
        pair.runner.run(pair.reader.write(put("test")))
    for fn in (pair.read, pair.scan):
        with pytest.raises(StorageUnavailable):
            fn(lambda db: db.run("DELETE FROM meta"))
    assert pair.read(count) == 0


def test_names_that_were_added_elsewhere_are_known(pair: Pair) -> None:
    def add(tx: Transaction, name: str) -> int:
        pair.written.ensure_sources(tx, [name])
        return pair.written.ensure_reporter(tx, f"key:{name}", Role.AGENT).pk

    for number in range(5):
        pk = pair.write(lambda tx, number=number: add(tx, f"s{number}"))  # type: ignore[misc]
        ask = pair.read if number % 2 else pair.scan
        assert ask(lambda _, pk=pk: pair.names.reporter(pk).name) == f"key:s{number}"  # type: ignore[misc]
        assert pair.names.source_pk(f"s{number}") == pair.written.source_pk(f"s{number}")


def test_it_is_told_when_a_reporter_speaks_in_another_role(pair: Pair) -> None:
    for role in (Role.OPERATOR, Role.COMMUNITY):
        before = pair.reader.kept_version
        reporter = pair.write(lambda tx, role=role: pair.written.ensure_reporter(tx, "key:1", role))  # type: ignore[misc]
        assert (pair.reader.kept_version > before) == (role is Role.COMMUNITY)
        pair.read(pair.names.reload)
        assert pair.names.reporter(reporter.pk).role is role


def test_the_log_can_be_emptied_once_it_lets_go(pair: Pair) -> None:
    pair.write(put("test-1"))
    assert pair.read(count) == 1

    async def empty_it() -> bool:
        emptied = asyncio.ensure_future(pair.writer.empty_log())
        while not emptied.done():
            await asyncio.sleep(0.01)
            pair.reader.end_stale_reading()
            assert await pair.reader.read(count) == 1  # whoever asks meanwhile is answered
        return await emptied

    assert pair.runner.run(empty_it())
