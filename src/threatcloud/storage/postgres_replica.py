"""Reading from a replica, which has what the primary has some milliseconds later (docs/adr/0027).

A read is answered there only where it sees the newest commit that this node made or knows of: the clock of commits is a
row like any other, so a snapshot tells how new it is. Whatever the replica cannot answer the primary does.
"""

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

import psycopg
import structlog

from threatcloud.domain.errors import Busy
from threatcloud.storage.driver import Connection, Read, StorageUnavailable, T
from threatcloud.storage.names import Names
from threatcloud.storage.pool import PoolFigures
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_pool import LoopReaders, Reading, ReadingConnection, ThreadReaders
from threatcloud.storage.postgres_reach import Reach
from threatcloud.storage.store import Queries, ReplicaFigures, WriterFigures

#: A replica that is further behind is not asked until it has caught up.
MAX_LAG_S: Final = 2.0
#: How long it may say nothing to a question that costs nothing: shorter than a primary, there is who answers instead.
_SILENCE_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.5
#: While it has not replayed all that was known when it was looked at last.
_LOOK_AGAIN_S: Final = 0.05
_SCAN_THREADS: Final = 3
#: More commits than this are not followed one by one: the oldest says how far it is behind.
_MOST_AWAITED: Final = 1_000
_ORIGIN: Final = (
    "(SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid::bigint FROM pg_database WHERE datname = current_database())"
)
_CLOCK: Final = "SELECT at FROM commit_clock"
_STANDING: Final = f"SELECT at, {_ORIGIN}, (SELECT max(number) FROM schema_version) FROM commit_clock"
_log = structlog.get_logger("replica")

#: The newest commit that a read has to see; None where that is not known.
Wanted = Callable[[], int | None]


class Origin(NamedTuple):
    """Which database it is, whichever server has it, and the number of its schema."""

    system: int
    database: int
    schema: int


def origin_of(connection: Connection) -> Origin:
    """What a replica of this database must say of itself."""
    row = connection.row(_STANDING)
    assert row is not None
    return Origin(*row[1:])


class _Behind(Exception):
    """The server does not have yet what a read has to see, or is no replica."""


def _clock_of(row: tuple[int, ...] | None, origin: Origin) -> int:
    """The newest commit that a server has. Raises _Behind where it is no replica, or lacks what the schema needs."""
    if row is None or row[1:3] != origin[:2]:
        raise _Behind("it is no replica of this database")
    if row[3] < origin.schema:
        raise _Behind("it has yet to replay the migrations")
    return row[0]


class _FreshReading(Reading):
    """Reads that see what they have to. A server only goes on: what a connection has seen once it sees always."""

    def __init__(self, names: Names | None, wanted: Wanted, origin: Origin) -> None:
        super().__init__(names)
        self._wanted = wanted
        self._origin = origin

    def _known(self, connection: ReadingConnection, fn: Read[T], way: Callable[[ReadingConnection, Read[T]], T]) -> T:
        wanted = self._wanted()
        if wanted is None:
            raise _Behind
        if connection.seen >= wanted:
            return super()._known(connection, fn, way)
        return super()._known(connection, partial(self._checked, connection, wanted, fn), ReadingConnection.within)

    def _checked(self, connection: ReadingConnection, wanted: int, fn: Read[T], db: Connection) -> T:
        """The answer within a snapshot that is new enough."""
        if connection.seen:
            row = db.row(_CLOCK)
            assert row is not None
            connection.seen = row[0]
        else:
            connection.seen = _clock_of(db.row(_STANDING), self._origin)
        if connection.seen < wanted:
            raise _Behind
        return fn(db)


class _Watch:
    """A thread that always asks how far the replica is, so that nobody waits for one that is away or far behind."""

    def __init__(self, url: str, wanted: Wanted, origin: Origin, reach: Reach) -> None:
        self._url = url
        self._wanted = wanted
        self._origin = origin
        self._reach = reach
        self._connection: PostgresConnection | None = None
        #: When this node knew first of commits that the replica is not known to have.
        self._awaited: deque[tuple[float, int]] = deque()
        self._behind_since_s: float | None = None
        #: Why it is not asked; empty where it is.
        self.aside = "it was not asked yet"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    @property
    def lag_s(self) -> float:
        """For how long it has lacked a commit."""
        since_s = self._behind_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _run(self) -> None:
        pause_s = 0.0
        while not self._ending.wait(pause_s):
            aside = self._look()
            if aside != self.aside:
                self._tell(aside)
            self.aside = aside
            pause_s = _LOOK_AGAIN_S if self._awaited and not aside else _LOOK_EVERY_S
        self._close()

    def _look(self) -> str:
        """Why it is not to be asked; empty where it is."""
        self._await()
        try:
            if self._connection is None:
                self._connection = PostgresConnection(self._url, self._reach.wait)
            clock = _clock_of(self._connection.row(_STANDING), self._origin)
        except _Behind as error:
            return str(error)
        except (StorageUnavailable, psycopg.Error) as error:
            self._close()
            self._reach.lose()
            return str(error)
        self._reach.find()
        while self._awaited and self._awaited[0][1] <= clock:
            self._awaited.popleft()
        self._behind_since_s = self._awaited[0][0] if self._awaited else None
        return f"it is more than {MAX_LAG_S:g} s behind" if self.lag_s > MAX_LAG_S else ""

    def _await(self) -> None:
        wanted = self._wanted()
        newest = self._awaited[-1][1] if self._awaited else 0
        if wanted is not None and wanted > newest and len(self._awaited) < _MOST_AWAITED:
            self._awaited.append((time.monotonic(), wanted))
            self._behind_since_s = self._awaited[0][0]

    def _tell(self, aside: str) -> None:
        if aside:
            _log.warning("reads go to the primary, the replica cannot serve", reason=aside)
        else:
            _log.info("reads go to the replica")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Ends the thread."""
        self._ending.set()
        self._thread.join()


class Replica:
    """Reads of a store that a replica answers where it can. ``wanted``: the newest commit that a read has to see."""

    def __init__(
        self, url: str, pool: int, names: Names | None, wanted: Wanted, origin: Origin, primary: Queries
    ) -> None:
        reach, reading = Reach(_SILENCE_S), _FreshReading(names, wanted, origin)
        self._primary = primary
        self._points = LoopReaders(url, pool, reading, reach)
        self._scanners = ThreadReaders(url, _SCAN_THREADS, reading, reach)
        self._watch = _Watch(url, wanted, origin, reach)
        self._answered = self._behind = self._away = 0
        self._watch.start()

    async def read(self, fn: Read[T]) -> T:
        """See ``Queries.read``."""
        return await self._ask(fn, self._points.run, self._primary.read)

    async def scan(self, fn: Read[T]) -> T:
        """See ``Queries.scan``."""
        return await self._ask(fn, self._scanners.run, self._primary.scan)

    async def _ask(
        self, fn: Read[T], there: Callable[[Read[T]], Awaitable[T]], here: Callable[[Read[T]], Awaitable[T]]
    ) -> T:
        if self._watch.aside:
            self._away += 1
            return await here(fn)
        try:
            answer = await there(fn)
        except _Behind:
            self._behind += 1
        except (Busy, psycopg.Error):  # whatever is wrong there: if it is of the read it will be wrong here, too
            self._away += 1
        else:
            self._answered += 1
            return answer
        return await here(fn)

    def figures(self) -> WriterFigures:
        """See ``Queries.figures``."""
        return self._primary.figures()

    def usage(self) -> ReplicaFigures:
        """Whether it is asked, how far it is behind, and who answered how often."""
        return ReplicaFigures(not self._watch.aside, self._watch.lag_s, self._answered, self._behind, self._away)

    def pools(self) -> dict[str, PoolFigures]:
        """How its connections are used."""
        return {"replica read": self._points.figures(), "replica scan": self._scanners.figures()}

    def close(self) -> None:
        """Lets the reads that run end, then closes the connections."""
        self._points.close()
        self._scanners.close()
        self._watch.close()
