"""PostgreSQL through psycopg 3: a connection that takes the statements of this package as they are written.

``schema/postgres`` has functions for what SQLite has built in; the rest is here: placeholders, the case of LIKE, and
hints for another planner (``translated``), the types that SQLite knows, and sums, which are whole numbers.
"""

import itertools
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, ClassVar, Final

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import NumericBinaryLoader

from threatcloud.storage.driver import Params, Row, StorageUnavailable, TryAgain
from threatcloud.storage.postgres_many import LEAST_ROWS, together
from threatcloud.storage.postgres_wire import ARRAYS, Wait, Wire, storable, wait_here

#: What a connection is opened with where the address says nothing else: a server that is cut off is noticed.
_CONNECT: Final = {
    "application_name": "threat-cloud",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: What the server is asked for each session, so that it notices in turn that a node is cut off.
_SERVER_SIDE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
#: How long a writer waits for another, and how long one that says nothing may hold up the others.
_WRITING: Final = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "5s"}
_COLUMN_TYPES: Final = (
    "SELECT attname::text, atttypid::bigint FROM pg_attribute WHERE attrelid = ?::text::regclass AND attnum > 0 "
    "AND NOT attisdropped"
)
BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: What is wrong with the server or the way to it, and not with a statement.
_TROUBLE: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.InFailedSqlTransaction,  # somebody hid what was wrong
)
#: After these nothing is stored, and the same may go well at once.
_PASSING: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # the server became a standby, and another is to take its place
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


def _set_up(session: Mapping[str, str]) -> bytes:
    """A statement that sets what is to hold in a session."""
    settings = (f"set_config('{name}', '{value}', false)" for name, value in session.items())
    return f"SELECT {', '.join(settings)}".encode()


@lru_cache(200)
def _with_keys(sql: str, element: str) -> str:
    keys = f"?::{element}[]"
    return sql.replace("IN keys()", f"= ANY ({keys})").replace("keys()", f"(SELECT unnest({keys}) AS key)")


class PostgresConnection:
    """A connection as ``driver.Connection`` wants it. Not in a transaction until BEGIN is run.

    ``wait``: how it waits for the server. ``session``: how its session is set up, which is sent and not waited for.
    """

    has_partitions: ClassVar[bool] = True

    def __init__(self, url: str, wait: Wait = wait_here, session: Mapping[str, str] = _WRITING) -> None:
        try:
            settings: dict[str, Any] = {**_CONNECT, **conninfo_to_dict(url), "client_encoding": "utf8"}
            self.raw = psycopg.connect(**settings, autocommit=True)
        except psycopg.Error as error:
            has_waited = isinstance(error, errors.ConnectionTimeout)  # whoever asked has, and is not to wait again
            raise (StorageUnavailable if has_waited else TryAgain)(
                f"cannot open the database: {str(error).strip()}; see that the server runs and its address "
                "(TC_DATABASE_URL, TC_DATABASE_READ_URL) is right"
            ) from error
        self._line = socket.socket(fileno=os.dup(self.raw.fileno()))
        self.raw.adapters.register_loader("numeric", _WholeNumber)
        self._rows = Transformer(self.raw)
        self._types: dict[str, dict[str, int] | None] = {}
        self.wire = Wire(self.raw.pgconn, wait)
        self.wire.add(_set_up({**_SERVER_SIDE, **session}))
        self.wire.send()

    def row(self, sql: str, params: Params = ()) -> Row | None:
        """See ``driver.Connection.row``."""
        rows = self._ask(sql, params)
        return rows[0] if rows else None

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """See ``driver.Connection.rows``."""
        return self._ask(sql, params)

    def rows_in(self, sql: str, keys: Sequence[bytes] | Sequence[int], params: Params = ()) -> list[Row]:
        """See ``driver.Connection.rows_in``."""
        if not keys:
            return []
        element = "bytea" if isinstance(keys[0], bytes) else "bigint"
        return self._ask(_with_keys(sql, element), (list(keys), *params))

    def joined_lines(self, text: str) -> str:
        """See ``driver.Connection.joined_lines``."""
        return f"convert_to(string_agg({text}, chr(10) ORDER BY reputation, pk), 'UTF8')"

    def iso_time(self, column: str) -> str:
        """See ``driver.Connection.iso_time``. ``to_timestamp`` takes a double: of a late year it has no room for both
        seconds and their thousandths."""
        at = f"to_timestamp({column} / 1000) AT TIME ZONE 'UTC'"
        return f"""to_char({at}, 'YYYY-MM-DD"T"HH24:MI:SS.') || lpad(({column} % 1000)::text, 3, '0') || 'Z'"""

    def json_member(self, column: str, name: str) -> str:
        """See ``driver.Connection.json_member``."""
        return f"({column}::json ->> '{name}')"

    def run(self, sql: str, params: Params = ()) -> None:
        """See ``driver.Connection.run``. It is sent with what follows."""
        try:
            self.wire.add(translated(sql), params)
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def run_many(self, sql: str, params: Iterable[Params]) -> None:
        """See ``driver.Connection.run_many``. They are sent with what follows."""
        rows = list(params)
        one = together(sql) if len(rows) >= LEAST_ROWS else None
        try:
            if one is not None and one.fits(rows) and (types := self._types_of(one.table)) is not None:
                self.wire.add(one.text, one.arrays(rows, types))
                return
            text = translated(sql)
            for each in rows:
                self.wire.add(text, each)
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _types_of(self, table: str) -> dict[str, int] | None:
        """The types of a table's columns; None where one has no array that we can say."""
        if table not in self._types:
            types = {str(name): int(number) for name, number in self._ask(_COLUMN_TYPES, (table,))}
            self._types[table] = types if ARRAYS.keys() >= set(types.values()) else None
        return self._types[table]

    def settle(self) -> None:
        """See ``driver.Connection.settle``."""
        try:
            self.wire.settle()
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def copy_in(self, sql: str, rows: Iterable[Params]) -> None:
        """Stores rows by ``COPY … FROM STDIN``: several times as fast as inserts, and only that."""
        try:
            with self.wire.put_aside(), self.raw.cursor() as cursor, cursor.copy(sql.encode()) as copy:
                for row in rows:
                    copy.write_row([storable(item) if isinstance(item, str) else item for item in row])
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database cannot be written: {error}") from error

    def control(self, sql: str) -> None:
        """Runs BEGIN, COMMIT or ROLLBACK, and waits for it."""
        done = self._result(sql.encode(), ()).command_status or b""
        if sql == "COMMIT" and done != b"COMMIT":
            raise StorageUnavailable("the database did not commit: somebody hid what was wrong")

    def script(self, sql: str) -> None:
        """Runs statements as they are, one after the other, by themselves: not while others wait to be sent."""
        try:
            with self.wire.put_aside():
                self.raw.execute(sql.encode())
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _ask(self, sql: str, params: Params) -> list[Row]:
        result = self._result(translated(sql), params)
        if not result.nfields:
            return []
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    def _result(self, text: bytes, params: Params) -> PGresult:
        try:
            return self.wire.ask(text, params)
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: psycopg.Error) -> Exception:
        """What an error means to whoever waits; the error itself where it is of the statement."""
        if self.is_lost or isinstance(error, _PASSING):
            return TryAgain(f"the database does not answer: {str(error).strip()}")
        if isinstance(error, _TROUBLE):
            return StorageUnavailable(f"the database does not answer: {str(error).strip()}")
        return error

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that can only be rolled back."""
        return self.raw.pgconn.transaction_status in {
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
            TransactionStatus.ACTIVE,
        }

    @property
    def is_lost(self) -> bool:
        """Whether it can be used no more."""
        return self.raw.pgconn.status != ConnStatus.OK

    def sever(self) -> None:
        """Ends the connection from another thread: who waits for the server in it finds it lost."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection."""
        self._line.close()
        self.raw.close()
