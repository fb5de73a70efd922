"""Reading from PostgreSQL: point reads on the event loop, where they wait for the server without a thread, and longer
reads in threads.

A read is a plain function. On the loop it runs in a greenlet, which steps aside whenever it waits: to hop to a thread
and back would cost more than the whole look-up. One statement alone needs no transaction, so a read is first tried
without.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any, Final, cast

import psycopg
from greenlet import getcurrent, greenlet
from psycopg.pq.abc import PGresult

from threatcloud.domain.errors import Busy
from threatcloud.storage.driver import Connection, Params, Read, StorageUnavailable, T, TryAgain
from threatcloud.storage.names import Names, UnknownName
from threatcloud.storage.pool import Pool, PoolFigures
from threatcloud.storage.postgres import BEGIN_READING, PostgresConnection
from threatcloud.storage.postgres_reach import Reach
from threatcloud.storage.postgres_wire import Wait, wait_here

#: How long a read waits for a connection that others use, and for an answer of the server.
POOL_WAIT_S: Final = 2.0
#: To send the end of a transaction by itself wakes the server for nothing else, which costs as much as a statement: it
#: waits so long for a next read to go with.
_SEND_AFTER_S: Final = 0.02
_ANSWER_WAIT_S: Final = 30.0
#: Of its session: nothing can be written, nor can a read that hangs hold on to what was deleted for ever.
_READING: Final = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "60s"}
#: How far experience with a read outweighs what it did last.
_MOST_TALLY: Final = 8


class _NotAlone(BaseException):
    """A read that was tried without a transaction has more than one statement."""


class ReadingConnection(PostgresConnection):
    """A connection that reads: one statement by itself, or any number in a transaction that sees one commit."""

    def __init__(self, url: str, wait: Wait = wait_here) -> None:
        #: Of the read that is or was the last.
        self.statements = 0
        #: The time of the newest commit that it is known to see; of a replica alone.
        self.seen = 0
        self._is_alone = False
        super().__init__(url, wait, _READING)

    def _result(self, text: bytes, params: Params) -> PGresult:
        if self._is_alone and self.statements:
            raise _NotAlone
        self.statements += 1
        return super()._result(text, params)

    def run(self, sql: str, params: Params = ()) -> None:
        """See ``driver.Connection.run``."""
        self.row(sql, params)

    def alone(self, fn: Read[T]) -> T:
        """The answer of a read of one statement. Raises _NotAlone when it has more."""
        self.statements = 0
        self._is_alone = True
        try:
            return fn(self)
        finally:
            self._is_alone = False

    def within(self, fn: Read[T]) -> T:
        """The answer of a read, in a transaction of its own, whose beginning and end cost no journey."""
        self.statements = 0
        self.wire.add(BEGIN_READING.encode())
        try:
            return fn(self)
        finally:
            if not self.is_lost:
                self.wire.end(b"COMMIT")


class Reading:
    """How a read is done over a connection, whatever thread it is in."""

    def __init__(self, names: Names | None) -> None:
        self._names = names
        #: Of each function: above 0 where it had one statement more often, below where it had several.
        self._tally: Counter[CodeType] = Counter()

    def read(self, connection: ReadingConnection, fn: Read[T]) -> T:
        """The answer of a point read, which may be tried twice."""
        return self._known(connection, fn, self._point)

    def scan(self, connection: ReadingConnection, fn: Read[T]) -> T:
        """The answer of a longer read."""
        return self._known(connection, fn, ReadingConnection.within)

    def _known(self, connection: ReadingConnection, fn: Read[T], way: Callable[[ReadingConnection, Read[T]], T]) -> T:
        """The answer, found with every name that it needs."""
        connection.wire.forget()
        try:
            return way(connection, fn)
        except UnknownName:
            if self._names is None:
                raise
            return connection.within(partial(_after_following, self._names, fn))

    def _point(self, connection: ReadingConnection, fn: Read[T]) -> T:
        code = _code_of(fn)
        tally = self._tally[code]
        try:
            answer = connection.alone(fn) if tally >= 0 else connection.within(fn)
        except _NotAlone:
            answer = connection.within(fn)
        tally += 1 if connection.statements < 2 else -1
        self._tally[code] = max(-_MOST_TALLY, min(tally, _MOST_TALLY))
        return answer


def _after_following(names: Names, fn: Read[T], db: Connection) -> T:
    """The answer of a read, once the names are known that its snapshot holds."""
    names.follow_all(db)
    return fn(db)


def _code_of(fn: Any) -> CodeType:
    """What all closures of one function have in common."""
    while isinstance(fn, partial):
        fn = fn.func
    return cast(CodeType, getattr(fn, "__func__", fn).__code__)


def wait_on_loop(socket: int, writing: bool) -> None:
    """Waits while the loop goes on: the greenlet steps aside."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    late = loop.call_later(_ANSWER_WAIT_S, _fail, ready)
    loop.add_reader(socket, _done, ready)
    if writing:
        loop.add_writer(socket, _done, ready)
    aside = getcurrent().parent
    assert aside is not None
    try:
        aside.switch(ready)
    finally:
        late.cancel()
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _fail(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_exception(StorageUnavailable("the database does not answer in time"))


async def in_greenlet(fn: Callable[[], T]) -> T:
    """The result of a function that waits by ``wait_on_loop``."""
    steps = greenlet(fn)
    found = steps.switch()
    while not steps.dead:
        try:
            await found
        except BaseException as error:  # noqa: BLE001 - not hidden: it is raised where the function waits
            found = steps.throw(error)
        else:
            found = steps.switch()
    return cast(T, found)


class LoopReaders:
    """Connections for point reads, opened as they are needed; who finds all in use waits a little."""

    def __init__(self, url: str, most: int, reading: Reading, reach: Reach) -> None:
        self._open_one = partial(reach.open, partial(ReadingConnection, url, wait_on_loop))
        self._reach = reach
        self._most = most
        self._reading = reading
        self._idle: list[ReadingConnection] = []
        self._opened = 0
        self._will_send = False
        self._waiting: deque[asyncio.Future[ReadingConnection | None]] = deque()

    def figures(self) -> PoolFigures:
        """How many there may be, how many are in use, and how many reads wait for one."""
        return PoolFigures(self._most, self._opened - len(self._idle), len(self._waiting))

    async def run(self, fn: Read[T]) -> T:
        """The answer of a read; once more over a new connection where the one it had was lost."""
        try:
            return await self._run(fn)
        except TryAgain:
            return await self._run(fn)

    async def _run(self, fn: Read[T]) -> T:
        connection = await self._take()
        try:
            answer = await in_greenlet(lambda: self._reading.read(connection, fn))
        except StorageUnavailable:  # be it in time: whatever comes yet is no answer to who is next
            self._give_back(connection, is_sound=False)
            raise
        except Exception:
            self._give_back(connection, is_sound=not connection.is_lost)
            raise
        except BaseException:  # cut off while it waited: its answer will come, and nobody is there to read it
            self._give_back(connection, is_sound=False)
            raise
        self._give_back(connection, is_sound=True)
        return answer

    async def _take(self) -> ReadingConnection:
        if self._idle:
            return self._idle.pop()
        if self._opened < self._most:
            return await self._open()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[ReadingConnection | None] = loop.create_future()
        self._waiting.append(turn)
        late = loop.call_later(POOL_WAIT_S, _too_late, turn)  # no ``asyncio.timeout``: there may be no task yet
        try:
            given = await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise
        finally:
            late.cancel()
        return given or await self._open()

    async def _open(self) -> ReadingConnection:
        self._opened += 1
        try:
            self._reach.check()  # without a thread
            return await asyncio.to_thread(self._open_one)
        except BaseException:
            self._opened -= 1
            self._pass_on(None)
            raise

    def _give_back(self, connection: ReadingConnection, *, is_sound: bool) -> None:
        if is_sound:
            self._pass_on(connection)
            return
        lost = connection.is_lost
        self._drop(connection)
        while lost and self._idle:  # a server that ended one session has ended the others
            self._drop(self._idle.pop())
        self._pass_on(None)

    def _drop(self, connection: ReadingConnection) -> None:
        self._opened -= 1
        connection.close()

    def _pass_on(self, connection: ReadingConnection | None) -> None:
        """To who waits longest: a connection, or leave to open one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is not None:
            self._idle.append(connection)
            if not self._will_send:
                self._will_send = True
                asyncio.get_running_loop().call_later(_SEND_AFTER_S, self._send)

    def _send(self) -> None:
        """Has the transactions end that nobody's next read has ended."""
        self._will_send = False
        for connection in self._idle:
            with suppress(psycopg.Error):  # the next who uses it will see
                connection.wire.send()

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        while self._idle:
            self._drop(self._idle.pop())


def _too_late(turn: "asyncio.Future[ReadingConnection | None]") -> None:
    if not turn.done():
        turn.set_exception(Busy("all connections to the database are in use; try again"))


class ThreadReaders:
    """Threads to read in, each with a connection of its own, which it opens anew when it is lost."""

    def __init__(self, url: str, threads: int, reading: Reading, reach: Reach) -> None:
        self._open_one = partial(reach.open, partial(ReadingConnection, url))
        self._reading = reading
        self._own = threading.local()
        self._opened: set[ReadingConnection] = set()
        self._threads = Pool(threads, "scan")

    async def run(self, fn: Read[T]) -> T:
        """The answer of a read; once more over a new connection where the one it had was lost."""
        return await self._threads.run(self._run, fn)

    def _run(self, fn: Read[T]) -> T:
        try:
            return self._scan(fn)
        except TryAgain:
            return self._scan(fn)

    def _scan(self, fn: Read[T]) -> T:
        connection = self._connection()
        try:
            return self._reading.scan(connection, fn)
        finally:
            with suppress(psycopg.Error):  # the next who uses it will see
                connection.wire.send()

    def _connection(self) -> ReadingConnection:
        known: ReadingConnection | None = getattr(self._own, "connection", None)
        if known is not None and not known.is_lost:
            return known
        if known is not None:
            self._opened.discard(known)
            known.close()
        connection = self._own.connection = self._open_one()
        self._opened.add(connection)
        return connection

    def figures(self) -> PoolFigures:
        """How its threads are used."""
        return self._threads.figures()

    def close(self) -> None:
        """Lets the reads that run end, then closes the connections."""
        self._threads.close()
        for connection in self._opened:
            connection.close()
