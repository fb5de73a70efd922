"""The store over SQLite: what every process of a server can do, which is to read, and what only one may."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from threatcloud.storage.board import COMMITS, EMPTYING, KEPT, LOG_WAITS, own_board
from threatcloud.storage.driver import Connection, JointWork, P, Read, T, Work
from threatcloud.storage.lock import WriterLock
from threatcloud.storage.migrate import migrate
from threatcloud.storage.pool import Pool
from threatcloud.storage.sqlite import Checkpointer, SQLiteConnection
from threatcloud.storage.store import Clock, Listener, Queries, Workload, WriterFigures
from threatcloud.storage.writer import KEPT_TOPICS, Apart, Writer, newest_time

_SCAN_THREADS: Final = 3
_ONLY_READS: Final = "this process only reads: what writes is for the one that holds the lock"


class ReadingStore:
    """An open database, to read: what every process of a server can do.

    ``board`` is the writer's (``board.py``). ``on_begin`` is called at the start of every transaction, in it.
    """

    is_shared = False
    leads = True

    def __init__(
        self,
        path: Path,
        board: memoryview,
        *,
        read_only: bool = False,
        on_begin: Callable[[Connection], None] | None = None,
    ) -> None:
        self.path = path
        self._board = board
        self._read_only = read_only
        self._on_begin = on_begin
        self._loop_connection = self._connect()
        self._scan_connections = threading.local()
        self._scan_opened: list[SQLiteConnection] = []
        self._scanners = Pool(_SCAN_THREADS, "scan")
        self._read_at_commit = -1

    def _connect(self) -> SQLiteConnection:
        return SQLiteConnection(self.path, writable=False, read_only=self._read_only)

    async def read(self, fn: Read[T]) -> T:
        """The answer of a point read: SQLite gives one in about 10 us, less than a thread hop, so it runs here.

        The reading transaction stays open until the next commit: taking and leaving one costs four system calls, as
        much as a statement itself. But a long log is begun anew only while nobody reads from it, so then each read has
        its own.
        """
        board = self._board
        if board[LOG_WAITS] or board[EMPTYING]:
            self.end_reading()
            return self._read_within(self._loop_connection, fn)
        commits = board[COMMITS]
        if self._read_at_commit != commits:
            self.end_reading()
            self._begin(self._loop_connection)
            self._read_at_commit = commits
        return fn(self._loop_connection)

    def _begin(self, connection: SQLiteConnection) -> None:
        connection.run("BEGIN")
        if self._on_begin is not None:
            self._on_begin(connection)

    def _read_within(self, connection: SQLiteConnection, fn: Read[T]) -> T:
        try:
            self._begin(connection)
            return fn(connection)
        finally:
            if connection.in_transaction:
                connection.run("ROLLBACK")

    def end_reading(self) -> None:
        """Lets go of what is being read, so that the log can be emptied and the next read sees what is new."""
        self._read_at_commit = -1
        if self._loop_connection.in_transaction:
            self._loop_connection.run("ROLLBACK")

    def end_stale_reading(self) -> None:
        """See ``Store.end_stale_reading``."""
        board = self._board
        if self._read_at_commit != board[COMMITS] or board[LOG_WAITS] or board[EMPTYING]:
            self.end_reading()

    async def scan(self, fn: Read[T]) -> T:
        """See ``Store.scan``."""
        return await self._scanners.run(self._scan, fn)

    def _scan(self, fn: Read[T]) -> T:
        connection: SQLiteConnection | None = getattr(self._scan_connections, "connection", None)
        if connection is None:
            connection = self._connect()
            self._scan_connections.connection = connection
            self._scan_opened.append(connection)
        return self._read_within(connection, fn)

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:  # noqa: ARG002 - see WritingStore
        """See ``Store.write``."""
        raise RuntimeError(_ONLY_READS)

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:  # noqa: ARG002 - see WritingStore
        """See ``Store.write_jointly``."""
        raise RuntimeError(_ONLY_READS)

    async def empty_log(self) -> bool:
        """See ``Store.empty_log``."""
        raise RuntimeError(_ONLY_READS)

    def listen(self, listener: Listener) -> None:  # noqa: ARG002 - see WritingStore
        """See ``Store.listen``."""
        raise RuntimeError(_ONLY_READS)

    @property
    def queries(self) -> Queries:
        """See ``Store.queries``."""
        return self

    def figures(self) -> WriterFigures:
        """See ``Store.figures``."""
        return WriterFigures(self._board[COMMITS], 0, 0)

    def workload(self) -> Workload:
        """See ``Store.workload``."""
        return Workload(0, 0, 0, 0.0, {"scan": self._scanners.figures()})

    @property
    def kept_version(self) -> int:
        """See ``Store.kept_version``."""
        return int(self._board[KEPT])

    def close(self) -> None:
        """Closes the connections."""
        self._scanners.close()
        for connection in (*self._scan_opened, self._loop_connection):
            connection.close()


class _Engine:
    """How the writer thread commits to SQLite."""

    def __init__(self, path: Path, clock: Clock, board: memoryview, checkpointer: Checkpointer, newest: int) -> None:
        self._path = path
        self._clock = clock
        self._board = board
        self._checkpointer = checkpointer
        self._last_commit_at = self._now = newest
        self._opened: SQLiteConnection | None = None

    @property
    def _connection(self) -> SQLiteConnection:
        if self._opened is None:  # by the thread that uses it
            self._opened = SQLiteConnection(self._path, writable=True)
        return self._opened

    def begin(self) -> tuple[Connection, int]:
        """See ``Engine.begin``."""
        self._now = max(self._clock(), self._last_commit_at + 1)
        self._connection.run("BEGIN IMMEDIATE")
        return self._connection, self._now

    def commit(self, topics: set[str]) -> None:
        """See ``Engine.commit``."""
        self._connection.run("COMMIT")
        self._last_commit_at = self._now
        self._board[COMMITS] += 1
        if not topics.isdisjoint(KEPT_TOPICS):
            self._board[KEPT] += 1

    def roll_back(self) -> None:
        """See ``Engine.roll_back``."""
        if self._opened is not None and self._opened.in_transaction:
            self._opened.run("ROLLBACK")

    def answered(self) -> None:
        """See ``Engine.answered``."""
        if self._opened is not None:
            self._board[LOG_WAITS] = self._checkpointer.committed(self._opened)

    def close(self) -> None:
        """See ``Engine.close``."""
        if self._opened is not None:
            self._opened.close()


class WritingStore(ReadingStore):
    """An open database, of the one process that may write. Close it, or the log is left to the next start."""

    def __init__(self, path: Path, lock: WriterLock, clock: Clock, board: memoryview) -> None:
        super().__init__(path, board)
        self._lock = lock
        self._checkpointer = Checkpointer(path)
        engine = _Engine(path, clock, board, self._checkpointer, newest_time(self._loop_connection))
        self._closed = False
        self._writer = Writer(engine, self._before_answers)

    def _before_answers(self) -> None:
        if not self._closed:
            self.end_reading()

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:
        """See ``Store.write``."""
        return await self._writer.write(work, bulk=bulk)

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:
        """See ``Store.write_jointly``."""
        return await self._writer.write_jointly(work, part, rows)

    async def write_apart(self, work: Apart[T]) -> T:
        """What ``work`` gives, which has another process write to the file as one transaction, at the time it is given,
        while this one writes nothing. It is a bulk unit without topics."""
        return await self._writer.write_apart(work)

    async def empty_log(self) -> bool:
        """See ``Store.empty_log``."""
        self._board[EMPTYING] += 1
        try:
            self.end_reading()
            return await asyncio.to_thread(self._checkpointer.empty)
        finally:
            self._board[EMPTYING] -= 1

    def listen(self, listener: Listener) -> None:
        """See ``Store.listen``."""
        self._writer.listen(listener)

    def figures(self) -> WriterFigures:
        """See ``Store.figures``."""
        return WriterFigures(self._board[COMMITS], self._writer.units, self._writer.waiting)

    def workload(self) -> Workload:
        """See ``Store.workload``."""
        writer = self._writer
        return Workload(writer.commits, writer.units, writer.waiting, writer.busy_s, {"scan": self._scanners.figures()})

    def close(self) -> None:
        """See ``Store.close``."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        super().close()
        self._checkpointer.close()
        self._lock.release()


def open_sqlite(path: Path, clock: Clock, board: memoryview | None = None) -> WritingStore:
    """Opens (or makes) the database for the one process that may write, its schema brought up to date.

    ``board``: where other processes of the server see what it does.
    Raises ``lock.DatabaseInUse`` when another process writes to it, ``migrate.SchemaTooNew`` when a newer version
    made it, ``StorageUnavailable`` when it cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.acquire(path)
    try:
        path.touch(mode=0o600)  # SQLite gives its log the same rights
        migrate(path)
        return WritingStore(path, lock, clock, own_board() if board is None else board)
    except BaseException:
        lock.release()
        raise
