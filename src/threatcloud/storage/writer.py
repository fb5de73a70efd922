"""The writer: one thread that commits units of work in groups, whatever the engine.

There is one writer thread. It takes every unit that waits, runs each in a savepoint inside one transaction, commits
once, then answers them all (group commit): a unit that fails rolls back alone, and nobody is answered before the
disk has the commit. Bulk units wait for all others, and share longer commits: nearly every page of an index over random
ids is written once a commit, however many rows it serves. Units of joint work (``write_jointly``) that wait together
are done as one: thirty statements for all of them in place of thirty for each. What another process is to write
(``write_apart``) has a turn like any other unit, in which nothing is written here.
"""

import asyncio
import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol

from threatcloud.domain.errors import Busy
from threatcloud.storage import keys, names
from threatcloud.storage.driver import Connection, JointWork, P, StorageUnavailable, T, Transaction, TryAgain, Work
from threatcloud.storage.store import Listener

MAX_WAITING_UNITS: Final = 1_000
MAX_GROUP_S: Final = 0.2
#: For as long as nobody but bulk units waits.
MAX_BULK_GROUP_S: Final = 0.8
#: How many rows are written jointly at most, give or take a unit: who came first must not wait for a crowd.
_MAX_JOINT_ROWS: Final = 500
#: How long it rests before what failed for a reason that passes is done again: some six seconds in all.
_PAUSES_S: Final = (0.02, 0.04, 0.08, 0.16, 0.32, *[0.5] * 14)
#: Topics of what other processes keep in memory.
KEPT_TOPICS: Final = {keys.TOPIC, names.TOPIC}


#: Has another process write as one transaction, at the time it is given; nothing it writes has a topic.
Apart = Callable[[int], T]


class _Unit(Generic[T]):
    """A unit of work and where its answer goes. With ``joint`` it may be done with others; with ``apart`` that is done,
    and no work here."""

    def __init__(
        self,
        work: Work[T],
        loop: asyncio.AbstractEventLoop,
        bulk: bool,
        joint: "_Joint[T] | None" = None,
        apart: Apart[T] | None = None,
    ) -> None:
        self.work = work
        self.loop = loop
        self.bulk = bulk
        self.joint = joint
        self.apart = apart
        self.answer: asyncio.Future[T] = loop.create_future()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.topics: set[str] = set()

    def deliver(self) -> None:
        """Answers the waiting coroutine; runs on its loop."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)  # type: ignore[arg-type]


class _Joint(NamedTuple, Generic[T]):
    """What may be done for many at once, and this unit's part in it."""

    work: JointWork[Any, T]
    part: Any
    rows: int


class _Turn(NamedTuple):
    """A place in the queue: bulk after the rest, then first come, first served. The last has no unit: it is the end."""

    rank: int
    number: int
    unit: _Unit[Any] | None = None


_ORDINARY, _BULK, _END = range(3)


class Engine(Protocol):
    """How groups are committed. Only the writer thread calls it."""

    def begin(self) -> tuple[Connection, int]:
        """Begins a transaction in which no other writer commits: the connection, and the time of all its units."""

    def commit(self, topics: set[str]) -> None:
        """Makes the transaction durable, and tells other processes of it."""

    def roll_back(self) -> None:
        """Ends a transaction that failed, if one is open."""

    def answered(self) -> None:
        """Is told that nobody waits for the last commit any more: here is time for what can wait."""

    def close(self) -> None:
        """Closes its connection."""


class Writer:
    """The writer thread and its queue. ``before_answers`` is called on the loop of each who waited for a commit."""

    def __init__(self, engine: Engine, before_answers: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._before_answers = before_answers
        self._queue: queue.PriorityQueue[_Turn] = queue.PriorityQueue(MAX_WAITING_UNITS)
        self._turns = itertools.count()
        #: A turn that was taken out of the queue and waits for the next group; only the writer's.
        self._ahead: _Turn | None = None
        self._listeners: list[Listener] = []
        self._closed = False
        #: Commits and units since the start.
        self.commits = self.units = 0
        #: For how many seconds it has been at work.
        self.busy_s = 0.0
        self._thread = threading.Thread(target=self._write_loop, name="writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:
        """See ``Store.write``."""
        return await self._submit(_Unit(work, asyncio.get_running_loop(), bulk))

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:
        """See ``Store.write_jointly``."""

        def alone(tx: Transaction) -> T:
            answer = work(tx, [part])[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        loop = asyncio.get_running_loop()
        return await self._submit(_Unit(alone, loop, bulk=False, joint=_Joint(work, part, rows)))

    async def write_apart(self, work: Apart[T]) -> T:
        """What ``work`` gives, which has another process commit, at the time it is given, while nobody does here."""
        return await self._submit(_Unit(_nothing, asyncio.get_running_loop(), bulk=True, apart=work))

    async def _submit(self, unit: _Unit[T]) -> T:
        if self._closed:
            raise Busy("the server is stopping", retry_after_s=5)
        try:
            self._queue.put_nowait(_Turn(_BULK if unit.bulk else _ORDINARY, next(self._turns), unit))
        except queue.Full:
            raise Busy("too many writes are waiting; try again") from None
        return await unit.answer

    def listen(self, listener: Listener) -> None:
        """Has the listener called in the writer thread with the topics of each commit that announced any."""
        self._listeners.append(listener)

    def tell(self, topics: set[str]) -> None:
        """Calls the listeners."""
        for listener in self._listeners:
            listener(topics)

    @property
    def waiting(self) -> int:
        """How many units wait."""
        return self._queue.qsize()

    def close(self) -> None:
        """Runs every unit that was accepted, then ends the thread."""
        self._closed = True
        self._queue.put(_Turn(_END, 0))
        self._thread.join()

    def _write_loop(self) -> None:
        while True:
            unit = (self._next_turn() or self._queue.get()).unit
            if unit is None:
                break
            began_s = time.monotonic()
            done = [self._have_committed(unit, unit.apart)] if unit.apart else self._commit_group(unit)
            self.busy_s += time.monotonic() - began_s
            topics = _topics(done)
            if topics:
                self.tell(topics)
            for loop in {unit.loop for unit in done}:
                self._deliver(loop, [unit for unit in done if unit.loop is loop])
            self._engine.answered()
        self._engine.close()

    def _commit_group(self, first: _Unit[Any]) -> list[_Unit[Any]]:
        """Commits the unit and what waits with it; returns those it answered. What failed for a reason that passes is
        done again."""
        taken = [self._together(first)]
        pauses_s = iter(_PAUSES_S)
        while isinstance(error := self._try_group(taken), TryAgain) and (pause_s := next(pauses_s, None)):
            time.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - so that nodes do not come all at once
        group = list(itertools.chain.from_iterable(taken))
        if error is None:
            self.commits += 1
            self.units += len(group)
        else:
            for unit in group:
                unit.error, unit.topics = error, set()
        return group

    def _try_group(self, taken: list[list[_Unit[Any]]]) -> Exception | None:
        """Runs in one transaction what was taken up and then, for a while, all that wait, which is taken up; gives why
        nothing of it was stored, or None."""
        started_s = time.monotonic()
        patience_s = MAX_BULK_GROUP_S
        try:
            connection, now = self._engine.begin()
            for units in taken:  # and those that are added to them meanwhile
                _run_units(connection, units, now)
                if not units[0].bulk:
                    patience_s = MAX_GROUP_S
                if units is taken[-1] and time.monotonic() < started_s + patience_s:
                    unit = self._next_unit()
                    taken += [self._together(unit)] if unit else []
            self._engine.commit(_topics(itertools.chain.from_iterable(taken)))
        except Exception as error:  # noqa: BLE001 - not hidden: it is raised again where the units are awaited
            self._engine.roll_back()
            return error
        return None

    def _have_committed(self, unit: _Unit[Any], apart: Apart[Any]) -> _Unit[Any]:
        """Runs a unit that another process commits; all that read see that something was committed."""
        try:
            _, now = self._engine.begin()
            self._engine.roll_back()
            unit.result = apart(now)
            self._engine.begin()
            self._engine.commit(set())
        except Exception as error:  # noqa: BLE001 - not hidden: it is raised again where the unit is awaited
            self._engine.roll_back()
            unit.error = error
        self.commits += 1
        self.units += 1
        return unit

    def _deliver(self, loop: asyncio.AbstractEventLoop, units: list[_Unit[Any]]) -> None:
        def deliver_all() -> None:
            self._before_answers()
            for unit in units:
                unit.deliver()

        try:
            loop.call_soon_threadsafe(deliver_all)
        except RuntimeError:
            return  # the loop has ended and nobody waits any more

    def _together(self, first: _Unit[Any]) -> list[_Unit[Any]]:
        """The unit, and those next in turn that can be done jointly with it."""
        found, joint = [first], first.joint
        rows = joint.rows if joint else _MAX_JOINT_ROWS
        while joint is not None and rows < _MAX_JOINT_ROWS:
            turn = self._next_turn()
            if turn is None:
                break
            other = turn.unit.joint if turn.unit else None
            if turn.unit is None or other is None or other.work != joint.work:
                self._ahead = turn
                break
            found.append(turn.unit)
            rows += other.rows
        return found

    def _next_unit(self) -> _Unit[Any] | None:
        turn = self._next_turn()
        if turn is None:
            return None
        if turn.unit is None or turn.unit.apart:
            self._ahead = turn
            return None
        return turn.unit

    def _next_turn(self) -> _Turn | None:
        """Whose turn it is, taken out of the queue; None when nobody waits."""
        turn, self._ahead = self._ahead, None
        try:
            return turn or self._queue.get_nowait()
        except queue.Empty:
            return None


def _nothing(_: Transaction) -> Any:
    """What is done here for a unit that is done apart."""


def _topics(units: Iterable[_Unit[Any]]) -> set[str]:
    return set().union(*(unit.topics for unit in units))


def newest_time(connection: Connection) -> int:
    """The latest time any commit can have used. Where rows are in commit order, the last one has it."""
    times = [
        connection.row("SELECT at FROM audit_entry ORDER BY seq DESC LIMIT 1"),
        connection.row("SELECT at FROM feed_change ORDER BY seq DESC LIMIT 1"),
        connection.row("SELECT at FROM release ORDER BY version DESC LIMIT 1"),
    ]
    times += [connection.row("SELECT max(updated_at) FROM indicator WHERE type = ?", (code,)) for code in range(1, 7)]
    return max((row[0] or 0) for row in times if row)


def _run_unit(connection: Connection, unit: _Unit[Any], now: int) -> None:
    """Runs one unit in its savepoint; whatever it raises is its own answer, unless the engine is in trouble."""
    transaction = Transaction(connection, now)
    connection.run("SAVEPOINT unit")
    unit.error, unit.topics = None, set()
    try:
        unit.result = unit.work(transaction)
        connection.settle()
    except StorageUnavailable:
        raise
    except BaseException as error:  # noqa: BLE001 - not hidden: it is raised again where the unit is awaited
        connection.run("ROLLBACK TO unit")
        unit.error = error
    else:
        unit.topics = transaction.topics
    connection.run("RELEASE unit")


def _run_units(connection: Connection, units: Sequence[_Unit[Any]], now: int) -> None:
    """Runs one unit, or several jointly; each alone where that fails."""
    joint = units[0].joint
    if joint is None or len(units) == 1 or not _run_jointly(connection, joint.work, units, now):
        for unit in units:
            _run_unit(connection, unit, now)


def _run_jointly(connection: Connection, work: JointWork[Any, Any], units: Sequence[_Unit[Any]], now: int) -> bool:
    """Runs several units in one savepoint; False, with nothing done, when it failed for all of them."""
    transaction = Transaction(connection, now)
    connection.run("SAVEPOINT unit")
    try:
        answers = work(transaction, [unit.joint.part for unit in units if unit.joint])
        connection.settle()
    except StorageUnavailable:
        raise
    except Exception:  # noqa: BLE001 - not hidden: each unit is run again alone, and raises its own
        connection.run("ROLLBACK TO unit")
        connection.run("RELEASE unit")
        return False
    connection.run("RELEASE unit")
    for unit, answer in zip(units, answers, strict=True):
        unit.error, unit.topics = None, set()
        if isinstance(answer, BaseException):
            unit.error = answer
        else:
            unit.result = answer
    units[0].topics = transaction.topics
    return True
