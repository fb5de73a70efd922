"""Ways to a PostgreSQL server on which something goes wrong."""

import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class _Way:
    """Carries what is said to a server and back, until the block ends."""

    def __init__(self, url: str, listening: socket.socket) -> None:
        settings = conninfo_to_dict(url)
        #: The address of the server itself.
        self.server_url = url
        self._server = f"{settings['host']}/.s.PGSQL.{settings.get('port', 5432)}"
        self._listening = listening
        self._ends = [listening]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                self._ends += [client, server]
                server.connect(self._server)
                self._start(self._carry_all, client, server)
                self._start(self._carry_all, server, client)

    def _carry_all(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._carry(data, source, target):
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _carry(self, data: bytes, source: socket.socket, target: socket.socket) -> bool:
        """Whether the connection goes on."""
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()


class LossyWay(_Way):
    """A way by a local socket. Once ``losing`` is set, the answer to the next commit is lost, and the connection with
    it."""

    def __init__(self, url: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.url = make_conninfo(url, host=self._folder.name, port=5432)
        self.losing = threading.Event()
        self._lost: set[socket.socket] = set()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        listening.listen()
        super().__init__(url, listening)

    def _carry(self, data: bytes, source: socket.socket, target: socket.socket) -> bool:
        if target in self._lost:  # the commit has taken place, since here is the answer
            return False
        if b"COMMIT\0" in data and self.losing.is_set():
            self.losing.clear()
            self._lost.add(source)
        target.sendall(data)
        return True

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()


class NetworkWay(_Way):
    """A way over TCP that can be cut as a network is, where nobody is told: connections are taken, nothing arrives, and
    nothing ends. What was sent meanwhile arrives once it is mended, as it does where TCP sends again."""

    def __init__(self, url: str) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        settings = conninfo_to_dict(url)
        port = listening.getsockname()[1]
        self.url = f"postgresql://{settings['user']}@127.0.0.1:{port}/{settings['dbname']}"
        self._whole = threading.Event()
        self._whole.set()
        super().__init__(url, listening)

    def cut(self) -> None:
        """From now on nothing arrives."""
        self._whole.clear()

    def mend(self) -> None:
        """What was sent arrives, and what will be."""
        self._whole.set()

    def _carry(self, data: bytes, source: socket.socket, target: socket.socket) -> bool:
        self._whole.wait()
        target.sendall(data)
        return True

    def __exit__(self, *_: object) -> None:
        self.mend()
        super().__exit__()
