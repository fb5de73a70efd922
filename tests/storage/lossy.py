"""A way to a PostgreSQL server on which the answer to a commit can be lost."""

import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class LossyWay:
    """Carries what is said to a server and back. Once ``losing`` is set, the answer to the next commit is lost, and the
    connection with it."""

    def __init__(self, url: str) -> None:
        settings = conninfo_to_dict(url)
        self._server = f"{settings['host']}/.s.PGSQL.{settings.get('port', 5432)}"
        self._folder = tempfile.TemporaryDirectory()
        self.url = make_conninfo(url, host=self._folder.name, port=5432)
        self.losing = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._ends = [self._listening]
        self._lost: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listening.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        self._listening.listen()
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
                self._start(self._carry, client, server)
                self._start(self._carry, server, client)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if target in self._lost:  # the commit has taken place, since here is the answer
                    break
                if b"COMMIT\0" in data and self.losing.is_set():
                    self.losing.clear()
                    self._lost.add(source)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()
        self._folder.cleanup()
