"""The store over PostgreSQL: reads in threads, one writer thread a node, and word of what other nodes commit.

Over all nodes one group commits at a time (docs/adr/0015): whoever holds the row of ``commit_clock``. So times grow and
numbers follow each other in the order of commits, as they do with one writer.
"""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg

from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage import feeds, rules
from threatcloud.storage.driver import Connection, JointWork, P, Read, StorageUnavailable, T, Work
from threatcloud.storage.pool import Pool, PoolFigures
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_migrate import migrate_postgres
from threatcloud.storage.store import Clock, Listener, Workload, WriterFigures
from threatcloud.storage.writer import KEPT_TOPICS, Writer, newest_time

#: A point read waits for the network more than it works: these wait side by side.
_READ_THREADS: Final = 8
_SCAN_THREADS: Final = 3
_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: Each statement sees what was committed before it: all there is, once it is this node's turn.
_WRITING: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
#: Waits until no other node is within a commit, and gives the time of this one.
_TAKE_TURN: Final = "UPDATE commit_clock SET at = CASE WHEN at < ? THEN ? ELSE at + 1 END RETURNING at"
_CHANNEL: Final = "threatcloud"
_TELL: Final = "SELECT pg_notify(?, ?)"
#: How long a lost connection is left alone, and how soon the end is noticed where no server can tell of it.
_PAUSE_S: Final = 1.0
_ALL_TOPICS: Final = {*KEPT_TOPICS, rules.TOPIC, *map(feeds.feed_topic, IndicatorType)}

OnBegin = Callable[[Connection], None]


def _no_more(_: Connection) -> None:
    """What is done at the start of a transaction where nothing is asked for."""


def _begun(known: PostgresConnection | None, url: str, begin: str) -> PostgresConnection:
    """A connection in a new transaction: the known one, or a new one where that was lost while nobody used it."""
    if known is not None and not known.is_lost:
        try:
            known.control(begin)
        except StorageUnavailable:
            if not known.is_lost:
                raise
        else:
            return known
    connection = PostgresConnection(url)
    connection.control(begin)
    return connection


class _Readers:
    """Threads to read in, each with a connection of its own, which it opens anew when it is lost."""

    def __init__(self, url: str, threads: int, name: str, on_begin: OnBegin) -> None:
        self._url = url
        self._on_begin = on_begin
        self._own = threading.local()
        self._opened: set[PostgresConnection] = set()
        self._threads = Pool(threads, name)

    async def run(self, fn: Read[T]) -> T:
        """The answer of a read, in a transaction of its own."""
        return await self._threads.run(self._run, fn)

    def _run(self, fn: Read[T]) -> T:
        connection = self._begin()
        try:
            self._on_begin(connection)
            return fn(connection)
        finally:
            if connection.in_transaction:
                connection.control("COMMIT")

    def _begin(self) -> PostgresConnection:
        known: PostgresConnection | None = getattr(self._own, "connection", None)
        connection = _begun(known, self._url, _READING)
        if connection is not known:
            self._own.connection = connection
            self._opened.add(connection)
            if known is not None:
                self._opened.discard(known)
        return connection

    def figures(self) -> PoolFigures:
        """How its threads are used."""
        return self._threads.figures()

    def close(self) -> None:
        """Lets the reads that run end, then closes the connections."""
        self._threads.close()
        for connection in self._opened:
            connection.close()


class _Engine:
    """How the writer thread commits to PostgreSQL."""

    def __init__(self, url: str, clock: Clock, newest: int, node: str, on_begin: OnBegin) -> None:
        self._url = url
        self._clock = clock
        self._newest = newest
        self._node = node
        self._on_begin = on_begin
        self._connection: PostgresConnection | None = None
        #: How many commits changed what is kept in memory.
        self.kept = 0

    def begin(self) -> tuple[Connection, int]:
        """See ``Engine.begin``."""
        connection = self._connection = _begun(self._connection, self._url, _WRITING)
        at_least = max(self._clock(), self._newest + 1)
        turn = connection.row(_TAKE_TURN, (at_least, at_least))
        assert turn is not None
        self._on_begin(connection)
        return connection, int(turn[0])

    def commit(self, topics: set[str]) -> None:
        """See ``Engine.commit``."""
        assert self._connection is not None
        self._connection.run(_TELL, (_CHANNEL, " ".join([self._node, *sorted(topics)])))
        self._connection.control("COMMIT")
        self.kept += not topics.isdisjoint(KEPT_TOPICS)

    def roll_back(self) -> None:
        """See ``Engine.roll_back``. What cannot be rolled back any more ends with its connection."""
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.control("ROLLBACK")
            except StorageUnavailable:
                connection.close()

    def answered(self) -> None:
        """See ``Engine.answered``."""

    def close(self) -> None:
        """See ``Engine.close``."""
        if self._connection is not None:
            self._connection.close()


class _Listening:
    """Hears of the commits of other nodes, in a thread, and says the topics of each; all topics there are after the
    connection was lost: then nobody knows."""

    def __init__(self, url: str, node: str) -> None:
        self._url = url
        self._node = node
        self._ending = threading.Event()
        self._connection = self._connect()
        self._thread = threading.Thread(target=self._run, name="listening", daemon=True)
        self._on_commit: Listener

    def start(self, on_commit: Listener) -> None:
        """Begins to hear: also of what was committed since it was made."""
        self._on_commit = on_commit
        self._thread.start()

    def _connect(self) -> PostgresConnection:
        connection = PostgresConnection(self._url)
        connection.run(f"LISTEN {_CHANNEL}")
        return connection

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._hear()
            except psycopg.Error:
                self._reconnect()
        self._connection.close()

    def _hear(self) -> None:
        for notice in self._connection.raw.notifies(timeout=_PAUSE_S):
            node, *topics = notice.payload.split()
            if node != self._node:
                self._on_commit(set(topics))
            if self._ending.is_set():
                return

    def _reconnect(self) -> None:
        self._connection.close()
        while not self._ending.wait(_PAUSE_S):
            try:
                self._connection = self._connect()
            except StorageUnavailable:
                continue
            self._on_commit(_ALL_TOPICS)
            return

    def close(self) -> None:
        """Has it stop at the next thing it hears, or within a second where it can be told nothing."""
        self._ending.set()
        with suppress(StorageUnavailable):
            connection = PostgresConnection(self._url)
            connection.run(_TELL, (_CHANNEL, self._node))
            connection.close()
        self._thread.join()


class PostgresStore:
    """An open database of one node. ``on_begin`` is called at the start of every transaction, in it."""

    def __init__(self, url: str, clock: Clock, newest: int, on_begin: OnBegin) -> None:
        node = uuid.uuid4().hex
        self._listening = _Listening(url, node)
        self._heard = self._heard_kept = 0
        self._points = _Readers(url, _READ_THREADS, "read", on_begin)
        self._scanners = _Readers(url, _SCAN_THREADS, "scan", on_begin)
        self._engine = _Engine(url, clock, newest, node, on_begin)
        self._writer = Writer(self._engine)
        self._closed = False
        self._listening.start(self._hear)

    def _hear(self, topics: set[str]) -> None:
        self._heard += 1
        self._heard_kept += not topics.isdisjoint(KEPT_TOPICS)
        if topics:
            self._writer.tell(topics)

    async def read(self, fn: Read[T]) -> T:
        """See ``Store.read``."""
        return await self._points.run(fn)

    async def scan(self, fn: Read[T]) -> T:
        """See ``Store.scan``."""
        return await self._scanners.run(fn)

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:
        """See ``Store.write``."""
        return await self._writer.write(work, bulk=bulk)

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:
        """See ``Store.write_jointly``."""
        return await self._writer.write_jointly(work, part, rows)

    async def empty_log(self) -> bool:
        """See ``Store.empty_log``. The engine keeps its log and dead rows as its operator has it; nothing is done."""
        return False

    def listen(self, listener: Listener) -> None:
        """See ``Store.listen``. Also with those of other nodes, in another thread and soon after they committed."""
        self._writer.listen(listener)

    def end_stale_reading(self) -> None:
        """See ``Store.end_stale_reading``. Nothing is held between reads."""

    def figures(self) -> WriterFigures:
        """See ``Store.figures``. Commits of other nodes count."""
        return WriterFigures(self._writer.commits + self._heard, self._writer.units, self._writer.waiting)

    def workload(self) -> Workload:
        """See ``Store.workload``."""
        writer, pools = self._writer, {"read": self._points.figures(), "scan": self._scanners.figures()}
        return Workload(writer.commits, writer.units, writer.waiting, writer.busy_s, pools)

    @property
    def kept_version(self) -> int:
        """See ``Store.kept_version``."""
        return self._engine.kept + self._heard_kept

    def close(self) -> None:
        """See ``Store.close``."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._listening.close()
        self._points.close()
        self._scanners.close()


def open_postgres(url: str, clock: Clock, on_begin: OnBegin = _no_more) -> PostgresStore:
    """Opens the database at an address, its schema made or brought up to date.

    ``on_begin`` is called at the start of every transaction, in it.
    Raises ``migrate.SchemaTooNew`` when a newer version made it, ``StorageUnavailable`` when it cannot be opened.
    """
    connection = PostgresConnection(url)
    try:
        migrate_postgres(connection)
        newest = newest_time(connection)
    finally:
        connection.close()
    return PostgresStore(url, clock, newest, on_begin)
