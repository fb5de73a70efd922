"""PostgreSQL through psycopg 3: a connection that takes the statements of this package as they are written.

``schema/postgres`` has functions for what SQLite has built in; the rest is here: placeholders, the case of LIKE, and
hints for another planner (``translated``), the types that SQLite knows, and sums, which are whole numbers.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import RawCursor, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from threatcloud.storage.driver import Params, Row, StorageUnavailable

#: What a connection is opened with where the address says nothing else: a server that is cut off is noticed.
_CONNECT: Final = {
    "application_name": "threat-cloud",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: How long a writer waits for another, and how long one that says nothing may hold up the others.
_SESSION: Final = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'"
_PREPARED: Final = 500
#: What is wrong with the server or the way to it, and not with a statement.
_TROUBLE: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.InFailedSqlTransaction,  # somebody hid what was wrong
)
_WORDS: Final = re.compile(r"'[^']*'|\?\d*|\bLIKE\b|\bINDEXED BY \w+|\bCROSS(?= JOIN)")


class _WholeNumber(NumericBinaryLoader):
    """The engine's type for a sum of whole numbers; we sum nothing else."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


@lru_cache(1_000)
def translated(sql: str) -> bytes:
    """A statement as PostgreSQL wants it: ``$1`` for ``?`` (and for ``?1``), ILIKE for LIKE, and no hints."""
    numbers = itertools.count(1)

    def word(match: re.Match[str]) -> str:
        text = match[0]
        if text.startswith("?"):
            return f"${text[1:] or next(numbers)}"
        if text.startswith("'"):
            return text
        return "ILIKE" if text == "LIKE" else ""

    return _WORDS.sub(word, sql).encode()


@lru_cache(200)
def _with_keys(sql: str, element: str) -> str:
    keys = f"?::{element}[]"
    return sql.replace("IN keys()", f"= ANY ({keys})").replace("keys()", f"(SELECT unnest({keys}) AS key)")


def _storable(params: Params) -> Params:
    """The parameters without the one character that texts of the engine cannot hold: its symbol stands for it."""
    for value in params:
        if type(value) is str and "\0" in value:
            return [item.replace("\0", "\u2400") if type(item) is str else item for item in params]
    return params


class PostgresConnection:
    """A connection as ``driver.Connection`` wants it. Not in a transaction until BEGIN is run."""

    def __init__(self, url: str) -> None:
        try:
            settings: dict[str, Any] = {**_CONNECT, **conninfo_to_dict(url), "client_encoding": "utf8"}
            self.raw = psycopg.connect(**settings, autocommit=True)
            self.raw.execute(_SESSION)
        except psycopg.Error as error:
            raise StorageUnavailable(f"cannot open the database: {error}") from error
        self.raw.prepared_max = _PREPARED
        for kind in (int, bool):
            self.raw.adapters.register_dumper(kind, Int8BinaryDumper)
        self.raw.adapters.register_loader("numeric", _WholeNumber)
        self._cursor = RawCursor(self.raw)
        self._cursor.format = psycopg.pq.Format.BINARY

    def row(self, sql: str, params: Params = ()) -> Row | None:
        """See ``driver.Connection.row``."""
        rows = self._execute(sql, params)
        return rows[0] if rows else None

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """See ``driver.Connection.rows``."""
        return self._execute(sql, params)

    def rows_in(self, sql: str, keys: Sequence[bytes] | Sequence[int], params: Params = ()) -> list[Row]:
        """See ``driver.Connection.rows_in``."""
        if not keys:
            return []
        element = "bytea" if isinstance(keys[0], bytes) else "bigint"
        return self._execute(_with_keys(sql, element), (list(keys), *params))

    def joined_lines(self, text: str) -> str:
        """See ``driver.Connection.joined_lines``."""
        return f"convert_to(string_agg({text}, chr(10) ORDER BY reputation, pk), 'UTF8')"

    def iso_time(self, column: str) -> str:
        """See ``driver.Connection.iso_time``."""
        at = f"to_timestamp({column} / 1000.0) AT TIME ZONE 'UTC'"
        return f"""to_char({at}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""

    def json_member(self, column: str, name: str) -> str:
        """See ``driver.Connection.json_member``."""
        return f"({column}::json ->> '{name}')"

    def run(self, sql: str, params: Params = ()) -> None:
        """See ``driver.Connection.run``."""
        self._execute(sql, params)

    def run_many(self, sql: str, params: Iterable[Params]) -> None:
        """See ``driver.Connection.run_many``."""
        try:
            self._cursor.executemany(translated(sql), map(_storable, params))
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database cannot be written: {error}") from error

    def copy_in(self, sql: str, rows: Iterable[Params]) -> None:
        """Stores rows by ``COPY … FROM STDIN``: several times as fast as inserts, and only that."""
        try:
            with self.raw.cursor() as cursor, cursor.copy(sql.encode()) as copy:
                for row in rows:
                    copy.write_row(_storable(row))
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database cannot be written: {error}") from error

    def control(self, sql: str) -> None:
        """Runs BEGIN, COMMIT or ROLLBACK: at half the price of what may have parameters and rows."""
        try:
            result = self.raw.pgconn.exec_(sql.encode())
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database does not answer: {error}") from error
        if result.status != ExecStatus.COMMAND_OK:
            raise StorageUnavailable(f"the database does not answer: {result.get_error_message()}")

    def script(self, sql: str) -> None:
        """Runs statements as they are, one after the other."""
        try:
            self.raw.execute(sql.encode())
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database cannot be written: {error}") from error

    def _execute(self, sql: str, params: Params) -> list[Row]:
        try:
            self._cursor.execute(translated(sql), _storable(params))
            return self._cursor.fetchall() if self._cursor.description else []
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database does not answer: {error}") from error

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that can only be rolled back."""
        return self.raw.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}

    @property
    def is_lost(self) -> bool:
        """Whether it can be used no more."""
        return self.raw.closed

    def close(self) -> None:
        """Closes the connection."""
        self.raw.close()
