"""The store: the only transactions. ``read`` for point reads, ``scan`` for longer ones, ``write`` for units of work."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from threatcloud.storage.driver import JointWork, P, Read, T, Work
from threatcloud.storage.pool import PoolFigures

#: Gives the current time in UTC milliseconds.
Clock = Callable[[], int]
#: Is told the topics of a commit.
Listener = Callable[[set[str]], None]


class WriterFigures(NamedTuple):
    """What the writer has done since it started: commits, units, and how many wait now."""

    commits: int
    units: int
    waiting: int


class ReplicaFigures(NamedTuple):
    """Whether a replica is asked, for how many seconds it has lacked a commit that is known, how many reads it has
    answered, and how many the primary answered because it was behind, or because it was away."""

    is_used: bool = False
    lag_s: float = 0.0
    answered: int = 0
    behind: int = 0
    away: int = 0


class Workload(NamedTuple):
    """What this process has done since it started, and does: its commits, their units of work, how many units wait,
    for how many seconds the writer was at work, its pools of threads by name, and how a replica is used."""

    commits: int
    units: int
    waiting: int
    busy_s: float
    pools: dict[str, PoolFigures]
    replica: ReplicaFigures = ReplicaFigures()


class Queries(Protocol):
    """What those need of a store who only look something up."""

    async def read(self, fn: Read[T]) -> T:
        """See ``Store.read``. Of what other nodes acknowledged in the last two seconds something may be missing."""

    async def scan(self, fn: Read[T]) -> T:
        """See ``Store.scan``. As ``read``."""

    def figures(self) -> WriterFigures:
        """See ``Store.figures``."""


class Store(Protocol):
    """An open database, whichever engine it is of (``opening.py``)."""

    async def read(self, fn: Read[T]) -> T:
        """The answer of a point read, which sees the database as of one commit, and all that was acknowledged."""

    async def scan(self, fn: Read[T]) -> T:
        """The answer of a read that may take over a millisecond, from a thread with a connection of its own.

        All statements of ``fn`` see the database as of the same commit.
        """

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:
        """The result of the unit once it is durable. Raises what the unit raised, with nothing of it stored.

        ``bulk``: many rows, sent several units at a time; it goes after whatever else waits. Raises Busy when too many
        units wait already.
        """

    async def write_jointly(self, work: JointWork[P, T], part: P, rows: int = 1) -> T:
        """As ``write``, for work that takes the parts of many units at once and answers each: those that wait are done
        in one call, up to some hundred ``rows``. If it raises, each is done alone: one cannot spoil it for others."""

    async def empty_log(self) -> bool:
        """Brings all that was committed into the database file, so that the log keeps nothing of what is gone; False
        when somebody reads from the log for too long: it then goes with a later checkpoint."""

    def listen(self, listener: Listener) -> None:
        """Has the listener called, in another thread, with the topics of each commit that announced any."""

    def end_stale_reading(self) -> None:
        """Lets go of what was read before the last commit. To be called now and then where nobody may ask for long."""

    @property
    def queries(self) -> Queries:
        """The same for those who only look something up: a replica may answer them, from which nothing is missing that
        this node acknowledged or has heard of."""

    def figures(self) -> WriterFigures:
        """How much was committed and, where that is of this process, how much has yet to be."""

    def workload(self) -> Workload:
        """What this process alone does, for metrics."""

    @property
    def kept_version(self) -> int:
        """Grows with each commit that changed what processes keep in memory: keys, and the roles of reporters."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may write to the same database."""

    @property
    def leads(self) -> bool:
        """Whether this node is the one that does what one does for all: runs the jobs, renders the lists."""

    def close(self) -> None:
        """Runs every unit that was accepted, then closes."""
