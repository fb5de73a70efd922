"""The seam between our SQL and an engine: what every statement in this package may rely on."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from threatcloud.domain.errors import Busy

T = TypeVar("T")
P = TypeVar("P")
Params = Sequence[Any]
Row = tuple[Any, ...]


class StorageUnavailable(Busy):
    """The database does not answer or cannot be written (a full disk, a lost server)."""

    code = "storage_unavailable"


class TryAgain(StorageUnavailable):
    """Nothing was stored, for a reason that passes: the same may go well in a moment."""


class Connection(Protocol):
    """One connection. SQL is written as SQLite has it, with ``?`` placeholders and ``keys()`` for a list of values.

    LIKE tells no capitals from small letters in ASCII. INDEXED BY and CROSS are for SQLite's planner: another engine
    chooses its own way, so a statement with an order says it, but for ``joined_lines``.
    """

    has_partitions: ClassVar[bool]
    """Whether sightings lie in partitions by time (``partitions.py``)."""

    def row(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows, in order; empty when there are none."""

    def rows_in(self, sql: str, keys: Sequence[bytes] | Sequence[int], params: Params = ()) -> list[Row]:
        """All rows of a statement whose one ``IN keys()``, or ``FROM keys() AS name`` with its one column ``key``,
        stands for the keys, which are its first parameter."""

    def joined_lines(self, text: str) -> str:
        """The aggregate of a text of each row in lines, as bytes, those of the least ``reputation`` and then ``pk``
        first: from SQLite as the rows come, so they have to come in that order."""

    def iso_time(self, column: str) -> str:
        """A time in milliseconds as text: ``2026-03-07T08:15:00.000Z``."""

    def json_member(self, column: str, name: str) -> str:
        """The text of a member of an object in JSON; NULL where it has none."""

    def run(self, sql: str, params: Params = ()) -> None:
        """Runs a statement whose rows, if any, do not matter. That it failed may only be raised by what comes next."""

    def run_many(self, sql: str, params: Iterable[Params]) -> None:
        """Runs a statement once for each set of parameters. As ``run``."""

    def settle(self) -> None:
        """Returns once all that was run is done; raises what went wrong."""


class Transaction:
    """What a unit of work writes through: the connection, the time, and topics to announce once it is committed.

    ``now`` is the same for all units of one commit and larger than in every commit before it, whatever the clock
    does: who has read up to a time has seen all of it.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self.db = connection
        self.now = now
        self.topics: set[str] = set()

    def announce(self, topic: str) -> None:
        """Tells listeners of the topic after the commit, and not at all when the unit rolls back."""
        self.topics.add(topic)


Read = Callable[[Connection], T]
Work = Callable[[Transaction], T]
#: Does the same for many, in their order: the answer of each, or the error that is its answer.
JointWork = Callable[[Transaction, Sequence[P]], list[T | Exception]]
