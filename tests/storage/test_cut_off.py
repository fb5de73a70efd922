"""A node whose way to PostgreSQL is cut: nobody waits for ever, and all goes on once it is mended."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Final

import pytest

from tests.clock import Clock
from tests.engines import PostgresServer, outside
from tests.ways import NetworkWay
from threatcloud.domain.errors import Busy
from threatcloud.storage import probe
from threatcloud.storage.driver import Read, StorageUnavailable, Transaction, Work
from threatcloud.storage.postgres_reach import SILENCE_S
from threatcloud.storage.postgres_store import PostgresStore, open_postgres

#: A look that goes well, a silence, an attempt to connect that began within it, and some time for a busy machine.
_REFUSAL_S: Final = 0.8 + SILENCE_S + 3 + 2
#: An attempt to connect that began within the cut, and the next.
_RECOVERY_S: Final = 10.0


@pytest.fixture
def way(postgres_server: PostgresServer) -> Iterator[NetworkWay]:
    database = postgres_server.create_filled()
    with NetworkWay(postgres_server.address(database)) as way:
        yield way
    postgres_server.drop(database)


@pytest.fixture
def store(way: NetworkWay) -> Iterator[PostgresStore]:
    opened = open_postgres(way.url, Clock())
    yield opened
    way.mend()
    opened.close()


def sleeping(seconds: float) -> Read[None]:
    """A read of one statement that takes so long."""
    return lambda db: db.run(f"SELECT pg_sleep({seconds})")


def put(name: str) -> Work[None]:
    return lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES (?, '')", (name,))


async def refused(answer: Awaitable[object]) -> bool:
    """Whether it is refused, and soon."""
    try:
        async with asyncio.timeout(_REFUSAL_S):
            await answer
    except Busy:
        return True
    return False


async def served(store: PostgresStore) -> None:
    """Returns once it reads and writes again."""
    async with asyncio.timeout(_RECOVERY_S):
        while True:
            try:
                await store.read(probe.read)
                await store.scan(probe.read)
                await store.write(probe.write)
            except StorageUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


def test_whoever_waits_is_refused_and_all_goes_on_once_the_way_is_mended(way: NetworkWay, store: PostgresStore) -> None:
    async def run() -> None:
        for _ in range(2):
            under_way = [
                asyncio.create_task(refused(ask(sleeping(60)))) for ask in (store.read, store.scan, store.scan)
            ]
            await asyncio.sleep(0.2)
            way.cut()
            asked = [refused(store.read(probe.read)) for _ in range(20)]
            asked += [refused(store.write(probe.write)) for _ in range(20)]
            assert all(await asyncio.gather(*under_way, *asked, refused(store.scan(probe.read))))
            way.mend()
            await served(store)

    asyncio.run(run())


def test_a_statement_may_take_longer_than_the_server_may_say_nothing(store: PostgresStore) -> None:
    async def run() -> None:
        await asyncio.gather(store.scan(sleeping(SILENCE_S + 1)), store.read(sleeping(SILENCE_S + 1)))

    asyncio.run(run())


def test_a_cut_within_a_unit_stores_nothing_of_it_and_other_nodes_soon_write(
    way: NetworkWay, store: PostgresStore
) -> None:
    def cut_within(tx: Transaction) -> None:
        put("half")(tx)
        tx.db.settle()
        way.cut()
        tx.db.row("SELECT 1")

    async def run() -> None:
        other = open_postgres(way.server_url, Clock())
        try:
            assert await refused(store.write(cut_within))
            async with asyncio.timeout(_RECOVERY_S):
                await other.write(put("whole"))  # as soon as the server ends the session that has the turn
        finally:
            other.close()

    asyncio.run(run())
    assert outside(way.server_url, "SELECT name FROM meta WHERE name IN ('half', 'whole')") == [("whole",)]


def test_a_store_closes_while_it_is_cut_off(way: NetworkWay) -> None:
    store = open_postgres(way.url, Clock())

    async def run() -> None:
        way.cut()
        waiting = [refused(store.write(probe.write)), refused(store.scan(probe.read))]
        async with asyncio.timeout(_RECOVERY_S):
            await asyncio.gather(*waiting, asyncio.to_thread(store.close))

    asyncio.run(run())
