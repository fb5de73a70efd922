"""How the writer thread of a node commits to PostgreSQL: one node at a time (docs/adr/0015)."""

import random
import time
from functools import partial
from typing import Final

from threatcloud.storage.driver import Connection, StorageUnavailable, TryAgain
from threatcloud.storage.names import Names
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_reach import Reach
from threatcloud.storage.store import Clock
from threatcloud.storage.writer import KEPT_TOPICS

CHANNEL: Final = "threatcloud"
#: Each statement sees what was committed before it: all there is, once it is this node's turn.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
#: Waits until no other node is within a commit, and gives the time of this one, who made the last, and when what nodes
#: keep in memory changed last.
_TAKE_TURN: Final = (
    "UPDATE commit_clock SET at = CASE WHEN at < ? THEN ? ELSE at + 1 END "
    "RETURNING at, node, kept_at, pg_current_xact_id()::text"
)
_SIGN: Final = "UPDATE commit_clock SET node = ?, kept_at = CASE WHEN ? = 1 THEN at ELSE kept_at END"
_TELL: Final = "SELECT pg_notify(?, ?)"
_OUTCOME: Final = "SELECT pg_xact_status(?::xid8)"
#: How long after it was sent the outcome of a commit is asked for whose connection was lost.
_ASKING_S: Final = 8.0


class PostgresEngine:
    """See ``writer.Engine``. ``names``: what is kept in line with what other nodes write."""

    def __init__(self, url: str, clock: Clock, newest: int, node: str, names: Names | None, reach: Reach) -> None:
        self._open_one = partial(PostgresConnection, url)
        self._reach = reach
        self._clock = clock
        self._node = node
        self._names = names
        self._connection: PostgresConnection | None = None
        self._now = self._transaction = 0
        self._kept_at: int | None = None
        #: The time of the last commit of this node.
        self.newest = newest
        #: How many commits changed what is kept in memory.
        self.kept = 0

    def begin(self) -> tuple[Connection, int]:
        """See ``Engine.begin``."""
        self._reach.check()  # who waits for a server that is known not to answer is refused, not tried again
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = self._open()
        connection.wire.forget()
        at_least = max(self._clock(), self.newest + 1)
        connection.run(_BEGIN)
        turn = connection.row(_TAKE_TURN, (at_least, at_least))
        assert turn is not None
        self._now, node, kept_at, self._transaction = turn
        if node != self._node:
            self._follow(connection, kept_at)
        self._kept_at = kept_at
        return connection, self._now

    def _open(self) -> PostgresConnection:
        """A new connection in place of one that is lost."""
        self.close()
        self._connection = self._reach.open(self._open_one)
        return self._connection

    def _follow(self, connection: Connection, kept_at: int) -> None:
        """Learns what other nodes have added since this one wrote."""
        if self._names is not None:
            if kept_at != self._kept_at:
                self._names.reload(connection)
            self._names.follow_all(connection)

    def commit(self, topics: set[str]) -> None:
        """See ``Engine.commit``."""
        assert self._connection is not None
        changes_kept = not topics.isdisjoint(KEPT_TOPICS)
        self._connection.run(_TELL, (CHANNEL, " ".join([self._node, str(self._now), *sorted(topics)])))
        self._connection.run(_SIGN, (self._node, changes_kept))
        give_up_at_s = time.monotonic() + _ASKING_S
        try:
            self._connection.control("COMMIT")
        except TryAgain:
            if not self._connection.is_lost or not self._was_committed(give_up_at_s):
                raise
        self.newest = self._now
        self.kept += changes_kept
        if changes_kept:
            self._kept_at = self._now

    def _was_committed(self, give_up_at_s: float) -> bool:
        """Whether the commit took place whose connection was lost. Raises StorageUnavailable where nobody can tell."""
        while time.monotonic() < give_up_at_s:
            try:
                row = self._open().row(_OUTCOME, (str(self._transaction),))
            except StorageUnavailable:
                row = ("in progress",)
            if row is None or row[0] is None:
                break
            if row[0] != "in progress":
                return bool(row[0] == "committed")
            time.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - so that nodes do not come all at once
        raise StorageUnavailable("the database was lost within a commit, and does not say whether it took place")

    def roll_back(self) -> None:
        """See ``Engine.roll_back``. What cannot be rolled back any more ends with its connection."""
        connection = self._connection
        if connection is not None and not connection.is_lost:
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


def told(payload: str) -> tuple[str, int, set[str]]:
    """Who committed, at what time, and the topics."""
    node, at, *topics = payload.split()
    return node, int(at), set(topics)
