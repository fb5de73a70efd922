"""What is PostgreSQL's own: how statements are said to it, its schema, several nodes, and a server that goes away."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import apsw
import psycopg
import pytest

from tests.clock import NOW, Clock
from tests.engines import outside
from tests.ways import LossyWay
from threatcloud.domain.address import packed, parse_network
from threatcloud.domain.audit import verify_chain
from threatcloud.domain.errors import Busy
from threatcloud.domain.report import Role
from threatcloud.storage import indicators, keys, ledger
from threatcloud.storage.driver import Connection, Read, StorageUnavailable, T, Transaction, Work
from threatcloud.storage.migrate import Migration, SchemaTooNew, migrations
from threatcloud.storage.names import Names
from threatcloud.storage.postgres import PostgresConnection, translated
from threatcloud.storage.postgres_migrate import migrate_postgres
from threatcloud.storage.postgres_pool import POOL_WAIT_S
from threatcloud.storage.postgres_store import open_postgres

SECRET = b"s" * 32


class Node:
    """A store and what it keeps in memory, in blocking words."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.names = Names()
        self.store = open_postgres(url, clock, self.names)
        self._runner = asyncio.Runner()

    def write(self, work: Work[T]) -> T:
        result: T = self._runner.run(self.store.write(work))
        return result

    def read(self, fn: Read[T]) -> T:
        result: T = self._runner.run(self.store.read(fn))
        return result

    def close(self) -> None:
        self.store.close()
        self._runner.close()


@pytest.fixture
def nodes(url: str) -> Iterator[list[Node]]:
    """Two nodes on one database; the clock of the second is ten minutes slow."""
    slow = Clock()
    slow.now -= 600_000
    made = [Node(url, Clock()), Node(url, slow)]
    yield made
    for node in made:
        node.close()


def put(name: str, topic: str | None = None) -> Work[int]:
    def work(tx: Transaction) -> int:
        tx.db.run("INSERT INTO meta (name, value) VALUES (?, '')", (name,))
        if topic is not None:
            tx.announce(topic)
        return tx.now

    return work


def stored(db: Connection) -> set[str]:
    return {row[0] for row in db.rows("SELECT name FROM meta")}


def end_sessions(url: str) -> None:
    """As a restart of the server does."""
    outside(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = $1 AND c = $2"),
        ("a = ?1 AND b = ?2 AND c = ?1", "a = $1 AND b = $2 AND c = $1"),
        ("a LIKE ? ESCAPE '!' AND b LIKE '%?%'", "a ILIKE $1 ESCAPE '!' AND b ILIKE '%?%'"),
        ("a = 'LIKE' AND b = ?", "a = 'LIKE' AND b = $1"),
        ("FROM t INDEXED BY t_by_a CROSS JOIN u ON u.a = t.a", "FROM t   JOIN u ON u.a = t.a"),
    ],
)
def test_a_statement_is_said_as_postgresql_wants_it(ours: str, theirs: str) -> None:
    assert translated(ours).decode() == theirs


def test_both_schemas_have_the_same_tables_columns_and_indexes(nodes: list[Node]) -> None:
    types = {"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea", "REAL": "double precision"}
    sqlite = apsw.Connection(":memory:")
    for step in migrations():
        sqlite.execute(step.sql)
    columns = sqlite.execute(
        'SELECT t.name, c.name, c.type, c."notnull" OR c.pk FROM sqlite_schema t, pragma_table_info(t.name) c '
        "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
    ).fetchall()
    indexes = sqlite.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    assert len(columns) > 200
    parts = "(SELECT relname FROM pg_class WHERE relispartition)"
    ours = "('commit_clock', 'last_number', 'lease', 'schema_version')"
    assert set(
        outside(
            nodes[0].url,
            "SELECT table_name, column_name, data_type, is_nullable = 'NO' FROM information_schema.columns "
            f"WHERE table_schema = 'public' AND table_name NOT IN {ours} AND table_name NOT IN {parts}",
        )
    ) == {(table, column, types[str(kind)], bool(needed)) for table, column, kind, needed in columns}
    assert set(
        outside(
            nodes[0].url,
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' "
            f"AND tablename NOT IN {parts} AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        )
    ) - {("network_by_indicator",), ("sighting_by_pk",)} == set(indexes) - {("sighting_by_indicator",)}  # the key here


def test_texts_compare_byte_by_byte_in_every_column(nodes: list[Node]) -> None:
    found = outside(
        nodes[0].url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
    )
    assert found == []


def test_nodes_that_start_together_make_the_schema_once(url: str) -> None:
    taken: list[list[str]] = []

    def migrate() -> None:
        connection = PostgresConnection(url)
        taken.append(migrate_postgres(connection))
        connection.close()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [[], [], [], [step.name for step in migrations("postgres")]]


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    known = migrations("postgres")
    newer = [*known, Migration(known[-1].number + 1, "9999_later", "CREATE TABLE later (a bigint)")]
    connection = PostgresConnection(url)
    assert migrate_postgres(connection, newer) == [step.name for step in newer]
    with pytest.raises(SchemaTooNew, match="upgrade threat-cloud"):
        migrate_postgres(connection)
    connection.close()


def test_a_step_that_fails_changes_nothing(url: str) -> None:
    steps = [Migration(1, "0001_good", "CREATE TABLE good (a bigint)"), Migration(2, "0002_bad", "CREATE TABLE bad (")]
    connection = PostgresConnection(url)
    with pytest.raises(psycopg.errors.SyntaxError):
        migrate_postgres(connection, steps)
    connection.close()
    assert outside(url, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") == [(0,)]


def test_time_grows_from_commit_to_commit_over_all_nodes(nodes: list[Node]) -> None:
    times = [nodes[number % 2].write(put(f"{number}")) for number in range(6)]
    assert times[0] == NOW
    assert all(earlier < later for earlier, later in pairwise(times))


def test_nodes_that_write_at_once_make_one_chain(nodes: list[Node]) -> None:
    each = 40

    def act(tx: Transaction) -> int:
        ledger.append(tx, SECRET, ledger.Act("create", "thing", "", "", {}))
        tx.db.run("INSERT INTO feed_change (at, indicator, change) VALUES (?, 1, 'listed')", (tx.now,))
        return tx.now

    threads = [threading.Thread(target=lambda node=node: [node.write(act) for _ in range(each)]) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = nodes[0].read(lambda db: list(ledger.walk(db)))
    assert [entry.seq for entry in entries] == list(range(1, 2 * each + 1))
    assert verify_chain(SECRET, entries).problem is None
    for table in ("audit_entry", "feed_change"):
        times = [at for (at,) in outside(nodes[0].url, f"SELECT at FROM {table} ORDER BY seq")]
        assert times == sorted(set(times))


def test_what_one_node_wrote_another_reads_at_once(nodes: list[Node]) -> None:
    for number in range(10):
        nodes[number % 2].write(put(f"{number}"))
        assert nodes[1 - number % 2].read(stored) == {f"{n}" for n in range(number + 1)}


def test_names_that_another_node_added_are_known(nodes: list[Node]) -> None:
    one, other = nodes

    def add(tx: Transaction) -> int:
        one.names.ensure_sources(tx, ["new"])
        return one.names.ensure_reporter(tx, "key:new", Role.AGENT).pk

    pk = one.write(add)
    assert other.read(lambda _: other.names.reporter(pk).name) == "key:new"
    assert other.write(lambda _: other.names.source_pk("new")) == one.names.source_pk("new")


def test_networks_that_another_node_stored_are_known(nodes: list[Node]) -> None:
    one, other = nodes
    for pk, text in enumerate(("203.0.113.0/24", "198.51.100.0/22", "2001:db8::/32"), 1):
        new = {packed(parse_network(text)): pk}
        one.write(lambda tx, new=new: indicators.add_networks(tx, new, one.names))  # type: ignore[misc]
        wait_until(lambda: other.names.networks.prefixes == one.names.networks.prefixes)
        assert other.names.networks.around(text.partition("/")[0])


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for something that must come true."""
    give_up_at_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_at_s
        time.sleep(0.01)


def heard_by(node: Node) -> Callable[[], set[str]]:
    """Gives the topics that the node hears of, once it has heard some."""
    heard: set[str] = set()
    came = threading.Event()

    def listener(topics: set[str]) -> None:
        heard.update(topics)
        came.set()

    node.store.listen(listener)

    def wait() -> set[str]:
        assert came.wait(10)
        return heard

    return wait


def test_topics_are_heard_by_other_nodes(nodes: list[Node]) -> None:
    heard = heard_by(nodes[1])
    commits, kept = nodes[1].store.figures().commits, nodes[1].store.kept_version
    nodes[0].write(put("one", "feed:ip"))
    assert heard() == {"feed:ip"}
    assert nodes[1].store.figures().commits == commits + 1
    assert nodes[1].store.kept_version == kept


def test_a_change_of_keys_is_heard_by_other_nodes(nodes: list[Node]) -> None:
    heard = heard_by(nodes[1])
    kept = [node.store.kept_version for node in nodes]
    nodes[0].write(put("one", keys.TOPIC))
    assert heard() == {keys.TOPIC}
    assert [node.store.kept_version for node in nodes] == [before + 1 for before in kept]


def test_reads_and_writes_go_on_after_the_server_ended_all_sessions(nodes: list[Node]) -> None:
    for round_number in range(3):
        nodes[0].write(put(f"{round_number}"))
        assert len(nodes[0].read(stored)) == round_number + 1
        end_sessions(nodes[0].url)


def test_a_node_that_lost_its_connection_takes_all_to_be_changed(nodes: list[Node]) -> None:
    heard = heard_by(nodes[1])
    kept = nodes[1].store.kept_version
    end_sessions(nodes[0].url)
    assert heard() > {keys.TOPIC, "feed:ip", "feed:domain"}
    assert nodes[1].store.kept_version > kept


@pytest.mark.parametrize("often", [1, 3])
def test_a_unit_whose_connection_is_lost_is_done_again_and_stored_once(nodes: list[Node], often: int) -> None:
    times: list[int] = []

    def work(tx: Transaction) -> None:
        tx.db.run("INSERT INTO source (name) VALUES ('once')")
        times.append(tx.now)
        if len(times) <= often:
            end_sessions(nodes[0].url)
        put("once")(tx)

    nodes[0].write(work)
    assert len(times) == often + 1
    assert nodes[0].read(stored) == {"once"}


def test_a_unit_that_failed_for_a_reason_that_stays_is_refused_and_stores_nothing(nodes: list[Node]) -> None:
    def work(tx: Transaction) -> None:
        put("lost")(tx)
        tx.db.run("SET LOCAL lock_timeout = '10ms'")
        with psycopg.connect(nodes[0].url) as other:
            other.execute("LOCK TABLE job_run")
            tx.db.row("SELECT 1 FROM job_run")

    with pytest.raises(StorageUnavailable) as caught:
        nodes[0].write(work)
    assert caught.value.retry_after_s >= 1
    nodes[0].write(put("next"))
    assert nodes[0].read(stored) == {"next"}


def test_a_commit_whose_answer_is_lost_is_found_to_have_taken_place(url: str) -> None:
    times: list[int] = []

    def work(tx: Transaction) -> None:
        times.append(tx.now)
        put(f"{len(times)}")(tx)

    with LossyWay(url) as way:
        node = Node(way.url, Clock())
        way.losing.set()
        node.write(work)
        assert len(times) == 1
        assert node.read(stored) == {"1"}
        node.write(work)
        node.close()
    assert outside(url, "SELECT name FROM meta ORDER BY name") == [("1",), ("2",)]


def test_a_statement_that_failed_unseen_spoils_no_commit(nodes: list[Node]) -> None:
    def work(tx: Transaction) -> None:
        put("half")(tx)
        try:
            tx.db.row("SELECT nothing FROM nowhere")
        except psycopg.Error:
            return

    with pytest.raises(StorageUnavailable):
        nodes[0].write(work)
    nodes[0].write(put("next"))
    assert nodes[0].read(stored) == {"next"}


def test_a_character_that_texts_cannot_hold_is_found_by_its_symbol(nodes: list[Node]) -> None:
    def work(tx: Transaction) -> None:
        put("one\0")(tx)
        tx.db.run_many("INSERT INTO meta (name, value) VALUES (?, ?)", [("two\0", "\0"), ("three", "3")])

    nodes[0].write(work)
    assert nodes[0].read(stored) == {"one\u2400", "two\u2400", "three"}
    assert nodes[0].read(lambda db: db.row("SELECT value FROM meta WHERE name = ?", ("two\0",))) == ("\u2400",)


def test_who_finds_all_connections_in_use_waits_and_is_then_refused(url: str) -> None:
    store = open_postgres(url, Clock(), pool=1)

    def slow(seconds: float) -> Read[None]:
        return lambda db: db.run(f"SELECT pg_sleep({seconds})")

    async def ask() -> None:
        first = asyncio.create_task(store.read(slow(0.2)))
        await asyncio.sleep(0.05)
        await store.read(slow(0))
        await first
        first = asyncio.create_task(store.read(slow(POOL_WAIT_S + 2)))
        await asyncio.sleep(0.1)
        with pytest.raises(Busy, match="in use"):
            await store.read(slow(0))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await store.read(slow(0))

    asyncio.run(ask())
    store.close()


def test_an_address_where_nothing_answers_is_refused_in_words() -> None:
    with pytest.raises(StorageUnavailable, match="cannot open the database"):
        open_postgres("postgresql://nobody@/nothing?host=/nowhere", Clock())
