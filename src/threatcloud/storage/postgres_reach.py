"""Whether the database answers this node. Where it says nothing, whoever waits for it is let go, and nobody begins to.

A way that is cut says nothing: whoever waits in it would wait for as long as TCP goes on trying. What a statement takes
is not bounded, so no time of one tells that the way is cut. That a question which costs nothing has no answer does, and
one thread of a node always asks (``postgres_following``).
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar
from weakref import WeakSet

from threatcloud.storage.driver import StorageUnavailable, TryAgain
from threatcloud.storage.postgres import PostgresConnection
from threatcloud.storage.postgres_wire import waited

#: How long the answer to a question that costs nothing may take.
SILENCE_S: Final = 3.0

C = TypeVar("C", bound=PostgresConnection)


class Reach:
    """The connections of a node to one server, which all end once it is known not to answer."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._silence_s = silence_s
        self._connections: WeakSet[PostgresConnection] = WeakSet()
        self._lock = threading.Lock()
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the server is known not to answer."""
        return self._is_lost

    def check(self) -> None:
        """Raises StorageUnavailable where the server is known not to answer."""
        if self._is_lost:
            raise StorageUnavailable("the database does not answer, and is asked again every moment")

    def open(self, make: Callable[[], C]) -> C:
        """A new connection. Raises StorageUnavailable, at once where the server is known not to answer."""
        self.check()
        connection = make()
        with self._lock:
            self._connections.add(connection)
        return connection

    def wait(self, socket: int, writing: bool) -> None:
        """Waits in this thread for what costs the server nothing; raises TryAgain where it says nothing to that."""
        if not waited(socket, writing, self._silence_s):
            self.lose()
            raise TryAgain(f"the database said nothing for {self._silence_s:g} s")

    def lose(self) -> None:
        """The server does not answer: ends every connection, in whatever thread somebody waits for it."""
        self._is_lost = True
        with self._lock:
            for connection in self._connections:
                connection.sever()

    def find(self) -> None:
        """The server answers."""
        self._is_lost = False
