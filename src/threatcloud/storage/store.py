"""The store: the only transactions. ``read`` for point reads, ``scan`` for longer ones, ``write`` for units of work.

Here is what every process of a server can do, which is to read; ``writer.py`` adds what only one may.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from threatcloud.storage.board import COMMITS, EMPTYING, KEPT, LOG_WAITS
from threatcloud.storage.driver import Connection, JointWork, P, Read, T, Work
from threatcloud.storage.sqlite import SQLiteConnection

_SCAN_THREADS: Final = 3
_ONLY_READS: Final = "this process only reads: what writes is for the one that holds the lock"

#: Gives the current time in UTC milliseconds.
Clock = Callable[[], int]


class WriterFigures(NamedTuple):
    """What the writer has done since it started: commits, units, and how many wait now."""

    commits: int
    units: int
    waiting: int


class Store:
    """An open database, to read.

    ``board`` is the writer's (``board.py``). ``on_begin`` is called at the start of every transaction, in it.
    """

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
        self._scanners = ThreadPoolExecutor(_SCAN_THREADS, thread_name_prefix="scan")
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
        """Lets go of what was read before the last commit. To be called now and then where nobody may ask for long."""
        board = self._board
        if self._read_at_commit != board[COMMITS] or board[LOG_WAITS] or board[EMPTYING]:
            self.end_reading()

    async def scan(self, fn: Read[T]) -> T:
        """The answer of a read that may take over a millisecond, from a thread with a connection of its own.

        All statements of ``fn`` see the database as of the same commit.
        """
        return await asyncio.get_running_loop().run_in_executor(self._scanners, self._scan, fn)

    def _scan(self, fn: Read[T]) -> T:
        connection: SQLiteConnection | None = getattr(self._scan_connections, "connection", None)
        if connection is None:
            connection = self._connect()
            self._scan_connections.connection = connection
            self._scan_opened.append(connection)
        return self._read_within(connection, fn)

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:  # noqa: ARG002 - see writer.py
        """The result of the unit once it is durable. Raises what the unit raised, with nothing of it stored.

        ``bulk``: many rows, sent several units at a time; it goes after whatever else waits. Raises Busy when too many
        units wait already.
        """
        raise RuntimeError(_ONLY_READS)

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:  # noqa: ARG002 - see writer.py
        """As ``write``, for work that takes the parts of many units at once and answers each: those that wait are done
        in one call, up to some hundred ``rows``. If it raises, each is done alone: one cannot spoil it for others."""
        raise RuntimeError(_ONLY_READS)

    async def empty_log(self) -> bool:
        """Brings all that was committed into the database file, so that the log keeps nothing of what is gone; False
        when somebody reads from the log for too long: it then goes with a later checkpoint."""
        raise RuntimeError(_ONLY_READS)

    def listen(self, listener: Callable[[set[str]], None]) -> None:  # noqa: ARG002 - see writer.py
        """Has the listener called in the writer thread with the topics of each commit that announced any."""
        raise RuntimeError(_ONLY_READS)

    def figures(self) -> WriterFigures:
        """How much the writer has done and, where it is of this process, has yet to do."""
        return WriterFigures(self._board[COMMITS], 0, 0)

    @property
    def kept_version(self) -> int:
        """Grows with each commit that changed what processes keep in memory: keys, and the roles of reporters."""
        return int(self._board[KEPT])

    def close(self) -> None:
        """Closes the connections."""
        self._scanners.shutdown(wait=True, cancel_futures=True)
        for connection in (*self._scan_opened, self._loop_connection):
            connection.close()
