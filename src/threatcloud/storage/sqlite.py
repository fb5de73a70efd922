"""SQLite through apsw: connections tuned for one writer and many readers, and the checkpointer.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns (https://sqlite.org/wal.html). Checkpoints run
in a thread of their own: in line they triple the p99 of a commit.
"""

import threading
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import apsw

from threatcloud.storage.driver import Params, Row, StorageUnavailable

CHECKPOINT_AFTER_BYTES: Final = 16 * 1024 * 1024
#: Past this the writer itself waits for a checkpoint, so that the log cannot grow without bound under a long import.
MAX_WAL_BYTES: Final = 512 * 1024 * 1024
_WRITER_CACHE_KIB: Final = 64 * 1024
_READER_CACHE_KIB: Final = 8 * 1024
#: Inserts at a million rows cost 22 us each with pages of 8 KiB and 27 with 4 KiB: fewer of them are dirtied.
_PAGE_BYTES: Final = 8192
_MMAP_BYTES: Final = 8 * 1024**3
_STATEMENTS: Final = 200
_BUSY_WAIT_MS: Final = 10_000
#: The writer's own wait for a long reader to let go of an overlong log; it is tried again after each commit.
_TRUNCATE_WAIT_MS: Final = 100
#: What is wrong with the disk, the file or the machine, and not with a statement.
_TROUBLE: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
)


class SQLiteConnection:
    """A connection as ``driver.Connection`` wants it.

    ``read_only``: of a process that is not the database's owner, which can do nothing to the file, nor brings home the
    log when it is the last to leave.
    """

    has_partitions: ClassVar[bool] = False

    def __init__(self, path: Path, *, writable: bool, read_only: bool = False) -> None:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        flags |= apsw.SQLITE_OPEN_CREATE if writable else 0
        try:
            self.raw = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS)
            self.raw.set_busy_timeout(_BUSY_WAIT_MS)
            self._tune(writable)
        except apsw.Error as error:
            raise StorageUnavailable(f"cannot open the database {path}: {error}") from error

    def _tune(self, writable: bool) -> None:
        cache_kib = _WRITER_CACHE_KIB if writable else _READER_CACHE_KIB
        if writable:
            self._pragma(f"page_size={_PAGE_BYTES}")  # holds for a new database only
            self._pragma("journal_mode=wal")
            self._pragma("synchronous=full")
            self._pragma("wal_autocheckpoint=0")
            self._pragma("secure_delete=on")  # what is erased leaves nothing in the free space of the file
            self._pragma(f"journal_size_limit={CHECKPOINT_AFTER_BYTES}")
        else:
            self._pragma("query_only=on")
        self._pragma(f"cache_size=-{cache_kib}")
        self._pragma(f"mmap_size={_MMAP_BYTES}")
        self._pragma("temp_store=memory")

    def _pragma(self, text: str) -> None:
        self.raw.execute(f"PRAGMA {text}").fetchall()

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
        text = sql.replace("keys()", "(SELECT value AS key FROM carray(?))")
        if isinstance(keys[0], bytes):
            values = apsw.carray(tuple(keys), flags=apsw.SQLITE_CARRAY_BLOB)
        else:
            values = apsw.carray(array("q", keys), flags=apsw.SQLITE_CARRAY_INT64)
        return self._execute(text, (values, *params))

    def joined_lines(self, text: str) -> str:
        """See ``driver.Connection.joined_lines``."""
        return f"CAST(group_concat({text}, char(10)) AS BLOB)"

    def iso_time(self, column: str) -> str:
        """See ``driver.Connection.iso_time``. ``strftime`` takes three times as long to read what it is to write."""
        return f"replace(datetime({column} / 1000.0, 'unixepoch', 'subsec'), ' ', 'T') || 'Z'"

    def json_member(self, column: str, name: str) -> str:
        """See ``driver.Connection.json_member``."""
        return f"json_extract({column}, '$.{name}')"

    def run(self, sql: str, params: Params = ()) -> None:
        """See ``driver.Connection.run``."""
        self._execute(sql, params)

    def run_many(self, sql: str, params: Iterable[Params]) -> None:
        """See ``driver.Connection.run_many``."""
        try:
            self.raw.executemany(sql, params)
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database cannot be written: {error}") from error

    def settle(self) -> None:
        """See ``driver.Connection.settle``. Each statement is done when it returns."""

    def _execute(self, sql: str, params: Params) -> list[Row]:
        try:
            return self.raw.execute(sql, params).fetchall()
        except _TROUBLE as error:
            raise StorageUnavailable(f"the database does not answer: {error}") from error

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open (an engine error may have rolled it back)."""
        return self.raw.in_transaction

    def interrupt(self) -> None:
        """Stops a running statement from another thread."""
        self.raw.interrupt()

    def close(self) -> None:
        """Closes the connection."""
        self.raw.close()


class Checkpointer:
    """Copies the log back into the database in a thread of its own, whenever the writer says it has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._connection = SQLiteConnection(path, writable=True)
        self._due = threading.Event()
        self._stopping = False
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)
        self._thread.start()

    def committed(self, writer: SQLiteConnection) -> bool:
        """Called by the writer after each commit; whether the log is long and waits to be begun anew.

        That happens at the start of a commit while nobody reads from the log.
        """
        size = self._wal.stat().st_size if self._wal.exists() else 0
        if size > MAX_WAL_BYTES:
            _checkpoint(writer, apsw.SQLITE_CHECKPOINT_PASSIVE)
            writer.raw.set_busy_timeout(_TRUNCATE_WAIT_MS)
            _checkpoint(writer, apsw.SQLITE_CHECKPOINT_TRUNCATE)
            writer.raw.set_busy_timeout(_BUSY_WAIT_MS)
        elif size > CHECKPOINT_AFTER_BYTES:
            self._due.set()
        return size > CHECKPOINT_AFTER_BYTES

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            with self._turn:
                _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_PASSIVE)

    def empty(self) -> bool:
        """Brings the whole log home and empties the file; False while somebody reads from it for too long."""
        with self._turn:
            _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return not self._wal.exists() or self._wal.stat().st_size == 0

    def close(self) -> None:
        """Stops the thread and brings the whole log home."""
        self._stopping = True
        self._due.set()
        self._thread.join()
        _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._connection.close()


def _checkpoint(connection: SQLiteConnection, mode: int) -> None:
    """Brings the log home, as far as that goes now.

    While another process reads or the disk is full it stays, nothing of it is lost, and it is tried again after the
    next commit or at the next start.
    """
    with suppress(*_TROUBLE):
        connection.raw.wal_checkpoint(mode=mode)


def copy_database(source: Path, target: Path) -> None:
    """Writes a consistent, compact copy of a live database (``VACUUM INTO``); ``target`` must not exist."""
    connection = SQLiteConnection(source, writable=False)
    try:
        connection.raw.execute("PRAGMA query_only=off").fetchall()
        connection.raw.execute("VACUUM INTO ?", (str(target),)).fetchall()
    except apsw.Error as error:
        raise StorageUnavailable(f"cannot copy the database to {target}: {error}") from error
    finally:
        connection.close()


def check_database(path: Path) -> str | None:
    """None when the file is a sound SQLite database, else what is wrong with it."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check").fetchall()]
        connection.close()
    except apsw.Error as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found[:3])
