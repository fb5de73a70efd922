"""A real HTTP server on loopback, for what the server asks of others: it answers as a test says, notes what it got."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Got(NamedTuple):
    """A request that arrived; header names in lower case, and the port it came from."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: int


class Says(NamedTuple):
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Site:
    """A server; ``answer`` makes what it says of what it got, and can be replaced at any time."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], Says] = lambda _: Says()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.command, self.path, headers, body, self.client_address[1])
                site.got.append(got)
                said = site.answer(got)
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_POST = _handle  # noqa: N815 - the names http.server looks for

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def running_site() -> Iterator[Site]:
    """A site for as long as the context lasts."""
    site = Site()
    try:
        yield site
    finally:
        site.close()
