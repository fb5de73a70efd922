"""Partitions of sightings on PostgreSQL: made ahead, dropped at once or not at all, and with a place for every time."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.clock import NOW, Clock
from tests.engines import outside
from tests.storage.conftest import Database
from threatcloud.domain.errors import Busy
from threatcloud.domain.times import MAX_FUTURE_MS, month_start
from threatcloud.services import forgetting
from threatcloud.storage import correlation, facts, months, partitions, removal
from threatcloud.storage.driver import Params, Row, Transaction
from threatcloud.storage.facts import NewSighting
from threatcloud.storage.migrate import migrations
from threatcloud.storage.names import Names
from threatcloud.storage.partitions import Partition
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_migrate import migrate_postgres

LATEST = 253_402_300_799_999  # of any time there is
ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from tests.clock import Clock
from tests.storage.conftest import Database
from threatcloud.storage import months
database = Database(sys.argv[1], Clock())
def work(tx):
    assert months.close(tx, int(sys.argv[2]))
    assert tx.db.row("SELECT count(*) FROM sighting") == (0,)
    os.kill(os.getpid(), signal.SIGKILL)
database.write(work)
"""


@pytest.fixture
def database(url: str, clock: Clock) -> Iterator[Database]:
    made = Database(url, clock)
    yield made
    made.close()


def sighting(at: int, indicator: int = 1) -> NewSighting:
    return NewSighting(indicator, 1, 1, "positive", at, at, None, None, 0.5, None)


def observe(database: Database, *times: int) -> None:
    database.do(facts.add_sightings, [sighting(time) for time in times])


def known(database: Database) -> list[Partition]:
    return database.ask(partitions.partitions)


def places(database: Database) -> dict[int, str]:
    """By time of observation the partition that each sighting is in."""
    return dict(outside(str(database.place), "SELECT observed_at, tableoid::regclass::text FROM sighting"))


def files(database: Database) -> dict[str, int]:
    """By partition and index of one the number of its file, which changes when it is written anew."""
    sql = "SELECT relname::text, relfilenode::bigint FROM pg_class WHERE relispartition"
    return dict(outside(str(database.place), sql))


def test_this_month_and_two_ahead_have_partitions_from_the_first_start_on(database: Database) -> None:
    edges = [month_start(NOW, ahead) for ahead in range(4)]
    assert [item[1:] for item in known(database)] == [
        (None, edges[0]),
        *pairwise(edges),
        (edges[3], None),
    ]
    assert [item.name for item in known(database)[1:-1]] == ["sighting_202603", "sighting_202604", "sighting_202605"]


def test_a_start_makes_what_is_missing_and_leaves_the_rest_as_it_lies(database: Database, clock: Clock) -> None:
    observe(database, NOW)
    before = files(database)
    clock.now = month_start(NOW, 1)
    database.reopen()
    assert [item.name for item in known(database)[1:-1]] == [f"sighting_20260{month}" for month in range(3, 7)]
    after = files(database)
    assert {name: after[name] for name in before if "after" not in name} == {
        name: file for name, file in before.items() if "after" not in name
    }
    database.reopen()
    assert files(database) == after


def test_the_job_makes_what_is_missing_while_it_runs(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so where a dump keeps it from that; the next run makes them."""
    monkeypatch.setattr(forgetting, "_PAUSES_S", (0.0,))
    job = forgetting.Forgetting(database.store, 0, clock)
    before = known(database)
    assert database.run(job.run()) == ""
    assert known(database) == before
    clock.now = month_start(NOW, 1)
    with psycopg.connect(str(database.place)) as dump:
        dump.execute("SELECT count(*) FROM sighting")
        with pytest.raises(Busy, match="sightings are being read"):
            database.run(job.run())
    assert known(database) == before
    assert database.run(job.run()) == ""
    assert [item.name for item in known(database)[1:-1]] == [f"sighting_20260{month}" for month in range(3, 7)]


def test_every_time_has_a_place(database: Database, clock: Clock) -> None:
    times = (0, 1, NOW, NOW + MAX_FUTURE_MS, month_start(NOW, 3) - 1, month_start(NOW, 3), LATEST)
    observe(database, *times)
    assert places(database) == dict(
        zip(
            times,
            [partitions.FIRST] * 2 + ["sighting_202603"] * 2 + ["sighting_202605"] + [partitions.LAST] * 2,
            strict=True,
        )
    )


def test_what_came_before_its_partition_moves_there(database: Database, clock: Clock) -> None:
    """After years in which nobody made any, too: those are one partition."""
    slept, later = month_start(NOW, 30), month_start(NOW, 100)
    observe(database, slept, later, LATEST)
    numbers = database.rows("SELECT observed_at, pk FROM sighting ORDER BY 1")
    clock.now = later
    database.reopen()
    year = 2026 + 100 // 12
    assert places(database) == {slept: "sighting_202606", later: f"sighting_{year}07", LATEST: partitions.LAST}
    assert database.rows("SELECT observed_at, pk FROM sighting ORDER BY 1") == numbers
    assert all(item.end == after.start for item, after in pairwise(known(database)))


def test_to_close_a_month_is_to_drop_it_and_not_to_delete_rows(database: Database) -> None:
    old, new = NOW, month_start(NOW, 1)
    observe(database, 1, *[old] * 50, new)
    before = files(database)
    deleted = "SELECT coalesce(sum(n_tup_del), 0)::bigint FROM pg_stat_xact_user_tables"

    def work(tx: Transaction) -> Any:
        assert months.close(tx, month_start(NOW, 1))
        return tx.db.row(deleted)

    assert database.write(work) == (0,)
    after = files(database)
    assert places(database) == {new: "sighting_202604"}
    assert "sighting_202603" not in after
    assert not set(after.values()) & {file for name, file in before.items() if "202603" in name or "before" in name}
    assert {name: after[name] for name in before if "202604" in name} == {
        name: file for name, file in before.items() if "202604" in name
    }
    assert known(database)[0] == Partition(partitions.FIRST, None, month_start(NOW, 1))
    assert database.ask(months.closed_before) == month_start(NOW, 1)
    observe(database, old)  # comes late
    assert places(database)[old] == partitions.FIRST


def test_rows_of_open_months_in_the_first_partition_stay(database: Database) -> None:
    """It holds what there was before months had partitions, and is dropped when all of it is closed."""
    times = [month_start(NOW, -3), month_start(NOW, -2), month_start(NOW, -1), NOW]
    observe(database, *times)
    before = files(database)
    assert database.do(months.close, month_start(NOW, -1))
    assert files(database) == before
    last, found = database.ask(months.left_before, month_start(NOW, -1), 0, 100)
    assert last is not None
    database.do(removal.delete_sightings, found)
    assert sorted(places(database)) == times[2:]
    assert database.ask(months.left_before, month_start(NOW, -1), last, 100) == (None, [])
    assert database.do(months.close, month_start(NOW))
    assert sorted(places(database)) == times[3:]


def test_who_reads_for_long_is_not_waited_for(database: Database) -> None:
    observe(database, NOW)
    before = known(database)
    with psycopg.connect(str(database.place)) as dump:
        dump.execute("SELECT count(*) FROM sighting")
        assert not database.do(months.close, month_start(NOW, 1))
        assert not database.write(lambda tx: partitions.make_ahead(tx.db, month_start(NOW, 1)))
        observe(database, NOW)  # others write and read meanwhile
        assert (database.value("SELECT count(*) FROM sighting"), database.ask(months.closed_before)) == (2, 0)
    assert known(database) == before
    assert database.do(months.close, month_start(NOW, 1))
    assert places(database) == {}


def test_what_uses_one_partition_alone_holds_up_nothing_else(database: Database) -> None:
    """As a vacuum does, but that it gives way."""
    with psycopg.connect(str(database.place)) as vacuum:
        vacuum.execute("LOCK TABLE sighting_202604 IN SHARE UPDATE EXCLUSIVE MODE")
        assert database.write(lambda tx: partitions.make_ahead(tx.db, month_start(NOW, 1)))
        assert database.do(months.close, month_start(NOW, 1))
        assert not database.do(months.close, month_start(NOW, 2))
        observe(database, month_start(NOW, 1))
    assert database.do(months.close, month_start(NOW, 2))


def test_a_unit_that_fails_afterwards_leaves_everything(database: Database) -> None:
    observe(database, NOW)
    before = (known(database), files(database), places(database))

    def work(tx: Transaction) -> None:
        assert partitions.make_ahead(tx.db, month_start(NOW, 5))
        assert months.close(tx, month_start(NOW, 1))
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        database.write(work)
    assert (known(database), files(database), places(database)) == before


def test_killed_within_the_step_all_is_there_and_it_can_be_done_again(database: Database) -> None:
    observe(database, NOW)
    before = (known(database), files(database))
    arguments = [sys.executable, "-c", KILLED, str(database.place), str(month_start(NOW, 1))]
    assert subprocess.run(arguments, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    assert (known(database), files(database), list(places(database))) == (*before, [NOW])
    assert database.ask(months.closed_before) == 0
    assert database.do(months.close, month_start(NOW, 1))
    assert places(database) == {}


def test_rows_lie_where_they_lay_when_months_get_partitions_and_numbers_go_on(url: str, clock: Clock) -> None:
    connection = PostgresConnection(url)
    migrate_postgres(connection, migrations("postgres")[:5])
    add = "INSERT INTO sighting (indicator, reporter, source, kind, observed_at, received_at, confidence, anonymised, "
    add += "describes) VALUES (?, 1, 1, 'positive', ?, 5, 0.5, 0, 0) RETURNING pk"
    times = [month_start(NOW, -20), NOW, month_start(NOW, 1) - 1]
    for time in times:
        connection.row(add, (1, time))
    connection.run("DELETE FROM sighting WHERE pk = 3")
    kept = "SELECT relfilenode::bigint FROM pg_class WHERE relname LIKE 'sighting%' AND relkind IN ('r', 'i')"
    before = set(connection.rows(kept))

    assert migrate_postgres(connection, now=NOW) == ["0006_months"]

    assert before < set(connection.rows(kept))
    first, second = partitions.partitions(connection)[:2]
    assert (first, second.start) == (Partition(partitions.FIRST, None, month_start(NOW, 1)), month_start(NOW, 1))
    assert connection.row(add, (1, month_start(NOW, 1))) == (4,)
    assert connection.rows("SELECT observed_at, pk FROM sighting ORDER BY pk") == [
        (times[0], 1),
        (times[1], 2),
        (month_start(NOW, 1), 4),
    ]
    connection.close()


class Explained(PostgresConnection):
    """A connection that notes the plan of everything it asks, where the planner may take no whole table if it can."""

    plan: list[str] | None = None

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        return self._explained(sql, params, super().rows)

    def row(self, sql: str, params: Params = ()) -> Row | None:
        found = self._explained(sql, params, super().rows)
        return found[0] if found else None

    def rows_in(self, sql: str, keys: Sequence[bytes] | Sequence[int], params: Params = ()) -> list[Row]:
        if self.plan is not None:
            self.plan += [row[0] for row in super().rows_in(f"EXPLAIN {sql}", keys, params)]
        return super().rows_in(sql, keys, params)

    def _explained(self, sql: str, params: Params, ask: Any) -> list[Row]:
        if self.plan is not None:
            self.plan += [row[0] for row in ask(f"EXPLAIN {sql}", params)]
        found: list[Row] = ask(sql, params)
        return found


STATEMENTS: dict[str, Any] = {
    "all of some": lambda tx, names: facts.sightings_of(tx.db, [1, 2], names),
    "some of one": lambda tx, names: facts.some_sightings_of(tx.db, 1, 10, names),
    "a page": lambda tx, names: facts.list_sightings(tx.db, 1, names, None, 0, 50),
    "how many": lambda tx, names: facts.count_sightings(tx.db, 1),
    "the last": lambda tx, names: facts.last_sighting(tx.db),
    "what correlation asks of one": lambda tx, names: correlation.latest(tx.db, 1),
    "what correlation asks of all": lambda tx, names: correlation.told(tx.db, 0, 10),
    "to delete some": lambda tx, names: removal.delete_sightings(tx, [1, 2]),
}
RECENT: dict[str, Any] = {
    "the latest": lambda tx, names: facts.latest_sightings_of(tx.db, 1, month_start(NOW), 10, names),
    "voices": lambda tx, names: facts.voices_since(tx.db, 1, month_start(NOW)),
}


@pytest.fixture
def explained(url: str) -> Iterator[Explained]:
    """Over 24 months with partitions, and the first and the last."""
    connection = Explained(url)
    migrate_postgres(connection, now=month_start(NOW, -21))
    for month in range(-20, 1):
        connection.control("BEGIN")
        assert partitions.make_ahead(connection, month_start(NOW, month))
        connection.control("COMMIT")
    connection.run("SET enable_seqscan = off")
    assert len(partitions.partitions(connection)) == 26
    connection.plan = []
    yield connection
    connection.close()


def looked_into(plan: Sequence[str]) -> int:
    """How many partitions a plan looks into; none of them as a whole."""
    scans = [line for line in plan if " on sighting_" in line or "using sighting_" in line]
    assert not [line for line in scans if "Seq Scan" in line], plan
    return len([line for line in scans if "Index" in line and "Bitmap Heap" not in line])


@pytest.mark.parametrize("name", STATEMENTS)
def test_what_names_no_time_searches_each_partition_by_an_index(explained: Explained, name: str) -> None:
    STATEMENTS[name](Transaction(explained, NOW), Names())
    assert looked_into(explained.plan or []) == 26


@pytest.mark.parametrize("name", RECENT)
def test_what_names_a_time_searches_the_partitions_from_then_on(explained: Explained, name: str) -> None:
    RECENT[name](Transaction(explained, NOW), Names())
    assert looked_into(explained.plan or []) == 4
