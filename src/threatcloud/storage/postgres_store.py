"""The store over PostgreSQL: reads on the loop and in threads, one writer thread a node, and word of other nodes.

Over all nodes one group commits at a time (docs/adr/0015): whoever holds the row of ``commit_clock``. So times grow and
numbers follow each other in the order of commits, as they do with one writer.
"""

import os
import secrets
import socket
from typing import Final

from threatcloud.storage.driver import JointWork, P, Read, T, Work
from threatcloud.storage.names import Names
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_following import Following
from threatcloud.storage.postgres_migrate import migrate_postgres
from threatcloud.storage.postgres_pool import LoopReaders, Reading, ThreadReaders
from threatcloud.storage.postgres_reach import Reach
from threatcloud.storage.postgres_replica import Origin, Replica, origin_of
from threatcloud.storage.postgres_writing import PostgresEngine
from threatcloud.storage.store import Clock, Listener, Queries, ReplicaFigures, Workload, WriterFigures
from threatcloud.storage.writer import KEPT_TOPICS, Writer, newest_time

_SCAN_THREADS: Final = 3


class PostgresStore:
    """An open database of one node. ``names`` is kept in line with what other nodes add."""

    is_shared = True

    def __init__(
        self,
        url: str,
        clock: Clock,
        newest: int,
        names: Names | None,
        pool: int,
        replica: tuple[str, Origin] | None = None,
    ) -> None:
        node = _node_name()
        reading = Reading(names)
        reach = Reach()
        self._heard = self._heard_kept = 0
        self._points = LoopReaders(url, pool, reading, reach)
        self._scanners = ThreadReaders(url, _SCAN_THREADS, reading, reach)
        self._engine = PostgresEngine(url, clock, newest, node, names, reach)
        self._following = Following(url, node, names, lambda: self._engine.newest, reach)
        self._writer = Writer(self._engine)
        self._closed = False
        self._following.start(self._hear)
        self._replica = Replica(replica[0], pool, names, self._following.known, replica[1], self) if replica else None

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

    @property
    def queries(self) -> Queries:
        """See ``Store.queries``."""
        return self._replica or self

    def figures(self) -> WriterFigures:
        """See ``Store.figures``. Commits of other nodes count."""
        return WriterFigures(self._writer.commits + self._heard, self._writer.units, self._writer.waiting)

    def workload(self) -> Workload:
        """See ``Store.workload``."""
        writer, pools = self._writer, {"read": self._points.figures(), "scan": self._scanners.figures()}
        usage = ReplicaFigures()
        if self._replica is not None:
            pools, usage = {**pools, **self._replica.pools()}, self._replica.usage()
        return Workload(writer.commits, writer.units, writer.waiting, writer.busy_s, pools, usage)

    @property
    def kept_version(self) -> int:
        """See ``Store.kept_version``."""
        return self._engine.kept + self._heard_kept

    @property
    def leads(self) -> bool:
        """See ``Store.leads``."""
        return self._following.leads

    def close(self) -> None:
        """See ``Store.close``."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._points.close()
        self._scanners.close()
        if self._replica is not None:
            self._replica.close()
        self._following.close()  # last: while somebody waits for the server, it sees whether that answers


def _node_name() -> str:
    """A name that no other node has, and that tells an operator who looks at ``lease`` which it is."""
    host = "".join(socket.gethostname().split())
    return f"{host}/{os.getpid()}/{secrets.token_hex(4)}"


def open_postgres(
    url: str, clock: Clock, names: Names | None = None, pool: int = 8, replica: str | None = None
) -> PostgresStore:
    """Opens the database at an address, its schema made or brought up to date.

    ``names``: kept in line with what other nodes add. ``pool``: connections for point reads at most. ``replica``:
    the address of a server that follows, or of several.
    Raises ``migrate.SchemaTooNew`` when a newer version made it, ``StorageUnavailable`` when it cannot be opened.
    """
    connection = PostgresConnection(url)
    try:
        migrate_postgres(connection, now=clock())
        newest = newest_time(connection)
        followed = (replica, origin_of(connection)) if replica else None
    finally:
        connection.close()
    return PostgresStore(url, clock, newest, names, pool, followed)
