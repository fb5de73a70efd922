"""A PostgreSQL database as a side of a copy. One that is copied to has a schema that no server knows until it is
whole."""

from collections.abc import Mapping
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from threatcloud.storage import months, partitions
from threatcloud.storage.copying import PROGRESS, CopyRefused, Table, column_names, start_progress
from threatcloud.storage.driver import Connection, Row, StorageUnavailable
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_migrate import migrate_postgres
from threatcloud.storage.writer import newest_time

#: Tables that only this engine needs.
ENGINES_OWN: Final = frozenset({"commit_clock", "last_number", "lease", "schema_version"})
_UNFINISHED: Final = 999_999_999
_LOCK: Final = 7_411_204_184
_TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
    "AND NOT relispartition ORDER BY relname"
)
_COLUMNS: Final = (
    "SELECT attname FROM pg_attribute WHERE attrelid = ?::text::regclass AND attnum > 0 AND NOT attisdropped "
    "ORDER BY attnum"
)
_KEY: Final = (
    "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) "
    "WHERE indrelid = ?::text::regclass AND indisprimary ORDER BY array_position(indkey::smallint[], attnum)"
)
_NUMBERED: Final = (
    "SELECT table_name, column_name, pg_get_serial_sequence(quote_ident(table_name), column_name) "
    "FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES' "
    "AND NOT (SELECT relispartition FROM pg_class WHERE oid = quote_ident(table_name)::regclass)"
)
_SERVERS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'threat-cloud'"
)


class PostgresSide:
    """A database that no server uses."""

    def __init__(self, url: str) -> None:
        at = conninfo_to_dict(url)
        self.name = f"postgresql:{at.get('host', '')}:{at.get('port', '5432')}/{at.get('dbname', '')}"
        self.db = PostgresConnection(make_conninfo(url, application_name="threat-cloud copy"))
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        """Sees to it that nobody else uses it."""
        self.db.run("SET idle_in_transaction_session_timeout = 0")
        try:
            self.db.run("SELECT pg_advisory_lock(?)", (_LOCK,))
        except StorageUnavailable as error:
            raise CopyRefused(f"{self.name} is in use by another copy") from error
        servers = self.db.row(_SERVERS)
        if servers and servers[0]:
            raise CopyRefused(f"{self.name} is in use: {servers[0]} connections of servers are open; stop them first")

    def tables(self) -> dict[str, Table]:
        """See ``Side.tables``."""
        names = [str(name) for (name,) in self.db.rows(_TABLES)]
        return {name: self._table(name) for name in names if name not in ENGINES_OWN | {PROGRESS}}

    def _table(self, name: str) -> Table:
        columns, key = (tuple(row[0] for row in self.db.rows(sql, (name,))) for sql in (_COLUMNS, _KEY))
        return Table(name, columns, key)

    def numbers(self) -> dict[str, int]:
        """See ``Side.numbers``."""
        last = {str(name): int(number) for name, number in self.db.rows("SELECT name, number FROM last_number")}
        for table, _, sequence in self.db.rows(_NUMBERED):
            row = self.db.row(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")
            last[table] = int(row[0]) if row else 0
        return last

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """See ``Side.set_numbers``."""
        for table, column, sequence in self.db.rows(_NUMBERED):
            row = self.db.row(f'SELECT max("{column}") FROM "{table}"')
            last = max(numbers.get(table, 0), (row and row[0]) or 0)
            self.db.run("SELECT setval(?::text::regclass, ?, ?::bigint = 1)", (sequence, max(last, 1), last > 0))
        for (name,) in self.db.rows("SELECT name FROM last_number"):
            self.db.run("UPDATE last_number SET number = ? WHERE name = ?", (numbers.get(name, 0), name))
        newest = newest_time(self.db)
        self.db.run("UPDATE commit_clock SET at = CASE WHEN at < ? THEN ? ELSE at END", (newest, newest))

    def begin(self) -> None:
        """See ``Target.begin``."""
        self.db.control("BEGIN")

    def make_room(self, source: Connection) -> None:
        """See ``Target.make_room``: partitions for the months of its sightings. What came late for closed ones needs
        none."""
        row = source.row("SELECT min(observed_at) FROM sighting")
        if row and row[0] is not None:
            partitions.reach_back(self.db, max(row[0], months.closed_before(source)))

    def insert(self, table: Table, rows: list[Row]) -> None:
        """See ``Target.insert``."""
        self.db.copy_in(f'COPY "{table.name}" ({column_names(table.columns)}) FROM STDIN', rows)

    def commit(self) -> None:
        """See ``Target.commit``."""
        self.db.control("COMMIT")

    def finish(self) -> None:
        """See ``Target.finish``."""
        self.db.run("RESET synchronous_commit")  # what is durable from here on makes all before it so
        self.begin()
        self.db.run(f"DROP TABLE {PROGRESS}")
        self.db.run("DELETE FROM schema_version WHERE number = ?", (_UNFINISHED,))
        self.commit()
        self.db.run("ANALYZE")  # a planner that takes millions of rows for none does what it should not

    def close(self) -> None:
        """See ``Side.close``."""
        self.db.close()


def postgres_source(url: str) -> PostgresSide:
    """A database to copy from, as of now, its schema brought up to date. Raises CopyRefused, SchemaTooNew,
    StorageUnavailable."""
    side = PostgresSide(url)
    try:
        migrate_postgres(side.db)
        side.db.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    except BaseException:
        side.close()
        raise
    return side


def postgres_target(url: str, source: str) -> PostgresSide:
    """A database to copy to: without our tables, with empty ones, or one that a copy was begun to. Raises CopyRefused,
    StorageUnavailable."""
    side = PostgresSide(url)
    try:
        side.db.run("SET synchronous_commit = off")  # pages that a server forgets in a crash are copied again
        if not _there(side, PROGRESS):
            _begin(side, source)
    except BaseException:
        side.close()
        raise
    return side


def _there(side: PostgresSide, table: str) -> bool:
    row = side.db.row("SELECT to_regclass(?::text) IS NOT NULL", (table,))
    return bool(row and row[0])


def _begin(side: PostgresSide, source: str) -> None:
    is_new = not _there(side, "schema_version")
    migrate_postgres(side.db)
    tables = side.tables()
    filled = [name for name in tables if side.db.row(f'SELECT 1 FROM "{name}" LIMIT 1')]
    if filled and not is_new:
        raise CopyRefused(f"{side.name} is not empty: there are rows in {', '.join(filled)}; name an empty database")
    side.begin()
    for name in filled:
        side.db.run(f'DELETE FROM "{name}"')  # what the schema came with comes with the copy
    start_progress(side.db, source)
    side.db.run("INSERT INTO schema_version (number) VALUES (?)", (_UNFINISHED,))
    side.commit()
