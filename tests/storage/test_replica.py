"""A streaming replica that answers what is only looked up, and never with less than this node knows of."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import psycopg
import pytest

from tests.clock import Clock
from tests.e2e.postgres import OwnPostgres, own_postgres
from tests.engines import PostgresServer, binaries, outside
from tests.ways import NetworkWay
from threatcloud.storage.driver import Connection, Read, Transaction, Work
from threatcloud.storage.postgres_replica import MAX_LAG_S
from threatcloud.storage.postgres_store import PostgresStore, open_postgres

_PATIENCE_S: Final = 20.0
_FOLLOWS: Final = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = sent_lsn"


@pytest.fixture(scope="module")
def primary() -> Iterator[OwnPostgres]:
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no PostgreSQL with pg_basebackup")
    with own_postgres() as server:
        open_postgres(server.url, Clock()).close()
        yield server


@pytest.fixture(scope="module")
def standby(primary: OwnPostgres) -> Iterator[OwnPostgres]:
    with own_postgres(primary) as server:
        yield server


@pytest.fixture
def replica(primary: OwnPostgres, standby: OwnPostgres) -> Iterator[OwnPostgres]:
    """The standby, which replays all there is, before and after."""
    until(lambda: bool(outside(primary.url, _FOLLOWS)))
    yield standby
    if not standby.is_running:
        standby.start()
    command(standby, "SELECT pg_wal_replay_resume()")


@pytest.fixture
def store(primary: OwnPostgres, replica: OwnPostgres) -> Iterator[PostgresStore]:
    opened = open_postgres(primary.url, Clock(), replica=replica.url)
    until(lambda: opened.workload().replica.is_used)
    yield opened
    opened.close()


def until(holds: Callable[[], bool]) -> None:
    """Waits for something that must come true."""
    give_up_at_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at_s
        time.sleep(0.02)


async def becomes(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, holds)


def command(server: OwnPostgres, sql: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.encode())


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(steps)


def put(name: str) -> Work[None]:
    return lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES (?, '') ON CONFLICT DO NOTHING", (name,))


def has(name: str) -> Read[bool]:
    return lambda db: db.row("SELECT 1 FROM meta WHERE name = ?", (name,)) is not None


def is_replica(db: Connection) -> bool:
    row = db.row("SELECT CAST(pg_is_in_recovery() AS integer)")
    return row == (1,)


def test_what_is_looked_up_is_read_there_and_nothing_else_is(store: PostgresStore) -> None:
    async def steps() -> None:
        for _ in range(5):
            assert await store.queries.read(is_replica)
            assert await store.queries.scan(is_replica)
            assert not await store.read(is_replica)
            assert not await store.scan(is_replica)

        def written(tx: Transaction) -> bool:
            return is_replica(tx.db)

        assert not await store.write(written)
        usage = store.workload().replica
        assert (usage.answered, usage.away) == (10, 0)
        assert {"replica read", "replica scan"} <= store.workload().pools.keys()

    run(steps())


def test_a_node_sees_at_once_what_it_wrote(store: PostgresStore) -> None:
    async def steps() -> None:
        for number in range(100):
            await store.write(put(f"own {number}"))
            assert await store.queries.read(has(f"own {number}"))
            assert await store.queries.scan(has(f"own {number}"))
        usage = store.workload().replica
        assert usage.answered + usage.behind == 200

    run(steps())


def test_a_node_sees_what_another_wrote_once_it_has_heard_of_it(store: PostgresStore, primary: OwnPostgres) -> None:
    async def steps() -> None:
        other = open_postgres(primary.url, Clock())
        try:
            for number in range(10):
                heard = store.figures().commits
                await other.write(put(f"other {number}"))
                await becomes(lambda heard=heard: store.figures().commits > heard)  # type: ignore[misc]
                assert await store.queries.read(has(f"other {number}"))
        finally:
            await asyncio.to_thread(other.close)

    run(steps())


def test_while_it_is_paused_the_primary_answers_and_it_is_asked_again_after(
    store: PostgresStore, replica: OwnPostgres
) -> None:
    async def steps() -> None:
        command(replica, "SELECT pg_wal_replay_pause()")
        await store.write(put("paused"))
        assert await store.queries.read(has("paused"))
        assert await store.queries.scan(has("paused"))
        await becomes(lambda: store.workload().replica.lag_s > MAX_LAG_S)
        await becomes(lambda: not store.workload().replica.is_used)
        assert await store.queries.read(has("paused"))
        assert not await store.queries.read(is_replica)
        usage = store.workload().replica
        assert (usage.behind, usage.away) == (2, 2)
        command(replica, "SELECT pg_wal_replay_resume()")
        await becomes(lambda: store.workload().replica.is_used)
        assert await store.queries.read(is_replica)
        assert store.workload().replica.lag_s == 0

    run(steps())


def test_while_it_is_stopped_nobody_meets_an_error(store: PostgresStore, replica: OwnPostgres) -> None:
    async def steps() -> None:
        assert await store.queries.read(is_replica)
        assert await store.queries.scan(is_replica)
        replica.crash()
        for number in range(20):
            await store.write(put(f"stopped {number}"))
            assert await store.queries.read(has(f"stopped {number}"))
            assert await store.queries.scan(has(f"stopped {number}"))
        await becomes(lambda: not store.workload().replica.is_used)
        replica.start()
        await becomes(lambda: store.workload().replica.is_used)
        assert await store.queries.read(is_replica)

    run(steps())


def test_a_node_starts_while_it_is_stopped(primary: OwnPostgres, replica: OwnPostgres) -> None:
    replica.crash()
    store = open_postgres(primary.url, Clock(), replica=replica.url)
    assert not asyncio.run(store.queries.read(is_replica))
    store.close()


def test_where_it_is_cut_off_the_primary_answers_soon(primary: OwnPostgres, replica: OwnPostgres) -> None:
    with NetworkWay(replica.url) as way:
        store = open_postgres(primary.url, Clock(), replica=way.url)
        until(lambda: store.workload().replica.is_used)

        async def steps() -> None:
            assert await store.queries.read(is_replica)
            way.cut()
            async with asyncio.timeout(_PATIENCE_S / 2):
                assert not await store.queries.read(is_replica)
                assert not await store.queries.scan(is_replica)
            way.mend()
            await becomes(lambda: store.workload().replica.is_used)
            assert await store.queries.read(is_replica)

        run(steps())
        store.close()


def test_a_database_that_is_no_replica_of_this_one_is_not_read(
    primary: OwnPostgres, postgres_server: PostgresServer
) -> None:
    stranger = postgres_server.create_filled()
    url = postgres_server.address(stranger)
    far_ahead = "UPDATE commit_clock SET at = 9000000000000 RETURNING 1"
    outside(url, far_ahead)
    store = open_postgres(primary.url, Clock(), replica=url)

    async def steps() -> None:
        await store.write(put("here"))
        for _ in range(20):
            assert await store.queries.read(has("here"))
            await asyncio.sleep(0.05)

    run(steps())
    assert store.workload().replica.answered == 0
    store.close()
    postgres_server.drop(stranger)
