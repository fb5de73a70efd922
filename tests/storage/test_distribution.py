"""A distributed engine could spread the tables of PostgreSQL: the rule, held against the catalogue and the document."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.clock import Clock
from tests.engines import PostgresServer, outside
from tests.storage.conftest import Database, make_state
from tests.storage.distribution import DISTRIBUTED, LOCAL, REFERENCE, statements
from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage.migrate import migrations
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_migrate import migrate_postgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
UNIQUE = (
    "SELECT relname, indexrelid::regclass::text, array_agg(attname::text) FROM pg_index "
    "JOIN pg_class ON pg_class.oid = indrelid "
    "JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) "
    "WHERE relnamespace = 'public'::regnamespace AND indisunique GROUP BY 1, 2"
)
#: A partition is spread as what it is part of.
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
TABLES += "AND NOT relispartition"
WITH_INDICATOR = f"{TABLES} AND oid IN (SELECT attrelid FROM pg_attribute WHERE attname = 'indicator')"
PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"


def documented() -> list[str]:
    """The statements of the document, one by one."""
    block = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for line in "".join(block).splitlines() if line and not line.startswith("--")]


def preparing() -> list[str]:
    """What the document has done before anything is spread."""
    return [line for line in documented() if not line.startswith("SELECT create_")]


def prepare(url: str) -> None:
    with psycopg.connect(url) as connection:
        for line in preparing():
            connection.execute(line.encode())


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database with our schema."""
    database = postgres_server.create_filled()
    yield postgres_server.address(database)
    postgres_server.drop(database)


def breaches(url: str) -> set[str]:
    """The unique indexes, those of primary keys too, that no shard could check alone."""
    found = outside(url, UNIQUE)
    parts = {str(table): "sighting" for (table,) in outside(url, PARTITIONS)}
    assert len(parts) > 3
    assert {table for table, _, _ in found} >= {*DISTRIBUTED, *parts}
    spread = [(DISTRIBUTED.get(parts.get(str(table), str(table))), index, columns) for table, index, columns in found]
    return {str(index) for way, index, columns in spread if way and way.column not in columns}


def test_every_table_is_in_one_class(url: str) -> None:
    classed = [*DISTRIBUTED, *REFERENCE, *LOCAL]
    assert sorted(classed) == sorted(table for (table,) in outside(url, TABLES))


def test_what_has_an_indicator_in_its_rows_is_spread_by_it(url: str) -> None:
    with_indicator = {table for (table,) in outside(url, WITH_INDICATOR)}
    assert with_indicator - {"network"} == {
        table for table, spread in DISTRIBUTED.items() if spread.column == "indicator"
    }
    assert all(DISTRIBUTED[table].beside == "indicator" for table in with_indicator - {"network"})


def test_every_unique_index_names_what_its_table_is_spread_by(url: str) -> None:
    """All but one, which is worth more than the rule while there is one database."""
    assert breaches(url) == {"indicator_by_id"}
    prepare(url)
    assert breaches(url) == set()


def test_the_document_has_the_statements() -> None:
    assert [line for line in documented() if line.startswith("SELECT create_")] == statements()


def test_a_prepared_database_stores_and_finds_indicators(url: str, clock: Clock) -> None:
    prepare(url)
    database = Database(url, clock)
    made = [make_state(1), make_state(2)]
    database.insert(*made)
    assert [database.find(IndicatorType.IP, item.indicator.value) for item in made] == made
    database.close()


def test_rows_and_their_numbers_live_through_the_step(postgres_server: PostgresServer) -> None:
    empty = postgres_server.create()
    url = postgres_server.address(empty)
    steps = migrations("postgres")
    connection = PostgresConnection(url)
    migrate_postgres(connection, steps[:4])
    add = (
        "INSERT INTO sighting (indicator, reporter, source, kind, observed_at, received_at, confidence, anonymised, "
        "describes) VALUES (?, 1, 1, 'positive', ?, 5, 0.5, 0, 0) RETURNING pk"
    )
    change = "INSERT INTO feed_change (at, indicator, change) VALUES (1, ?, 'listed') RETURNING seq"
    for indicator in (2, 1, 2):
        connection.row(add, (indicator, 9))
        connection.row(change, (indicator,))
    assert migrate_postgres(connection, steps[:5]) == ["0005_distribution"]
    assert connection.rows("SELECT pk, indicator FROM sighting ORDER BY pk") == [(1, 2), (2, 1), (3, 2)]
    assert connection.rows("SELECT seq, indicator FROM feed_change ORDER BY seq") == [(1, 2), (2, 1), (3, 2)]
    assert (connection.row(add, (1, 9)), connection.row(change, (1,))) == ((4,), (4,))
    connection.close()
    postgres_server.drop(empty)
