"""What a node learns of the others: their commits, by NOTIFY and by looking, and whether it is the one that leads: that
does what one does for all (docs/adr/0018)."""

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg
import structlog

from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage import feeds, rules
from threatcloud.storage.driver import StorageUnavailable
from threatcloud.storage.names import Names
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_reach import Reach
from threatcloud.storage.postgres_writing import CHANNEL, told
from threatcloud.storage.writer import KEPT_TOPICS

#: How often it looks, how long a lost connection is left alone, and how long a lease holds.
LOOK_EVERY_S: Final = 0.8
_PAUSE_S: Final = 0.3
#: A server that refuses connections is waited for so long, as writes are; one that says nothing, no longer.
_REFUSED_S: Final = 6.0
LEASE_S: Final = 5.0
#: Who has not seen the clock for so long does not know what others committed.
_DEAF_S: Final = 2.0
#: How much earlier than the server a node takes its lease to be over: it may have been slow to hear of it.
_MARGIN_S: Final = 1.0
_FEEDS: Final = (feeds.PUBLISHED, feeds.ERASED, *map(feeds.feed_topic, IndicatorType))
ALL_TOPICS: Final = frozenset({*KEPT_TOPICS, rules.TOPIC, *_FEEDS})
_log = structlog.get_logger("database")
_CLOCK: Final = "SELECT at FROM commit_clock"
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_LEASE: Final = (
    f"INSERT INTO lease (name, node, until) VALUES ('jobs', ?, {_NOW} + ?) ON CONFLICT (name) DO UPDATE "
    f"SET node = excluded.node, until = excluded.until WHERE lease.node = excluded.node OR lease.until < {_NOW} "
    "RETURNING 1"
)
_END_LEASE: Final = "DELETE FROM lease WHERE node = ?"

#: A lease that is lost with the server is taken again; not to wait for the disk, nor for a standby.
_SESSION: Final = {"synchronous_commit": "off", "lock_timeout": "1s"}

#: Is told that another node committed, and the topics.
OnCommit = Callable[[set[str]], None]


class Following:
    """A thread with a connection of its own that hears of commits, looks whether it missed one, and holds the lease.

    Since it always asks it is who finds that the server does not answer, and that it does again.
    """

    def __init__(self, url: str, node: str, names: Names | None, own_newest: Callable[[], int], reach: Reach) -> None:
        self._url = url
        self._reach = reach
        self._node = node
        self._names = names
        self._own_newest = own_newest
        self._leads_until_s = 0.0
        self._on_commit: OnCommit
        self._ending = False
        self._bell, self._ring = socket.socketpair()
        self._connection = self._connect()
        #: The time of the last commit of another node that was heard of, and of one that was seen and not heard of yet.
        self.newest = self._unheard = 0
        #: The time of the last commit that a look has seen, and when that began.
        self._seen, self._seen_s = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)

    def start(self, on_commit: OnCommit) -> None:
        """Begins to hear: also of what was committed since it was made."""
        self._on_commit = on_commit
        self._look()
        self._thread.start()

    @property
    def leads(self) -> bool:
        """Whether this node is the one that does what one does for all."""
        return time.monotonic() < self._leads_until_s

    def known(self) -> int | None:
        """The time of the newest commit that this node made or knows of: it knows of all that others made up to two
        seconds ago. None while it does not."""
        if time.monotonic() > self._seen_s + _DEAF_S:
            return None
        return max(self.newest, self._seen, self._own_newest())

    def _connect(self) -> PostgresConnection:
        connection = PostgresConnection(self._url, self._reach.wait, _SESSION)
        try:
            connection.row(f"LISTEN {CHANNEL}")
        except (StorageUnavailable, psycopg.Error):
            connection.close()
            raise
        return connection

    def _run(self) -> None:
        look_at_s = 0.0
        while not self._ending:
            try:
                if time.monotonic() >= look_at_s:
                    look_at_s = time.monotonic() + LOOK_EVERY_S
                    self._look()
                self._hear(look_at_s - time.monotonic())
            except (StorageUnavailable, psycopg.Error) as error:
                _log.warning("the database was lost", reason=str(error))
                self._reconnect()
        self._end()

    def _hear(self, patience_s: float) -> None:
        """Tells of what comes, until it is time to look."""
        pgconn = self._connection.raw.pgconn
        poll = select.poll()
        for wanted in (pgconn.socket, self._bell.fileno()):
            poll.register(wanted, select.POLLIN)
        poll.poll(max(0.0, patience_s * 1000))
        pgconn.consume_input()
        self._tell_all()

    def _tell_all(self) -> None:
        topics: set[str] = set()
        commits = 0
        while notice := self._connection.raw.pgconn.notifies():
            node, at, of_it = told(notice.extra.decode())
            self._unheard = 0
            if node != self._node:
                self.newest = max(self.newest, at)
                topics |= of_it
                commits += 1
        if commits:
            self._learn()
            self._on_commit(topics)

    def _learn(self) -> None:
        if self._names is not None:
            self._names.follow_all(self._connection)

    def _look(self) -> None:
        """Whether something was committed that this node did not hear of, twice in a row; and the lease."""
        asked_s = time.monotonic()
        if self._connection.row(_LEASE, (self._node, int(LEASE_S * 1000))):
            self._leads_until_s = asked_s + LEASE_S - _MARGIN_S
        row = self._connection.row(_CLOCK)
        assert row is not None
        self._seen, self._seen_s = row[0], asked_s
        self._tell_all()
        known = max(self.newest, self._own_newest())
        if row[0] <= known:
            self._unheard = 0
        elif self._unheard:
            self._take_all_to_be_changed(row[0])
        else:
            self._unheard = row[0]

    def _take_all_to_be_changed(self, at: int) -> None:
        self._unheard, self.newest = 0, max(self.newest, at)
        self._learn()
        self._on_commit(set(ALL_TOPICS))

    def _reconnect(self) -> None:
        self._connection.close()
        refused_at_s = time.monotonic() + _REFUSED_S
        while not self._ending:
            if select.select([self._bell], [], [], _PAUSE_S)[0]:
                return
            try:
                self._connection = self._connect()
                self._reach.find()
                _log.info("the database is there again")
                self._take_all_to_be_changed(0)
            except (StorageUnavailable, psycopg.Error) as error:
                self._connection.close()
                if time.monotonic() > refused_at_s or isinstance(error.__cause__, psycopg.errors.ConnectionTimeout):
                    self._reach.lose()
            else:
                return

    def _end(self) -> None:
        if not self._connection.is_lost:
            with suppress(StorageUnavailable):  # else it ends by itself
                self._connection.row(_END_LEASE, (self._node,))
        self._connection.close()
        self._bell.close()

    def close(self) -> None:
        """Gives up the lease and ends the thread."""
        self._ending = True
        self._ring.close()
        self._thread.join()
