"""Servers on real sockets with an app that misbehaves on request, and a simple client of them."""

import asyncio
import json
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from threatcloud.http.protocol import ServerLimits
from threatcloud.http.serve import Server, run_server

PATIENT = ServerLimits(sweep_s=0.02, linger_s=60)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class App:
    """Answers with what it was asked; some paths misbehave as their names say. ``served`` lists the paths."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.stopped = False
        self.eager = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        self.served.append(scope["path"])
        answer = getattr(self, scope["path"].strip("/"), self.mirror)
        await answer(scope, receive, send)

    async def live(self, receive: Any, send: Any) -> None:
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})
        self.stopped = True

    async def mirror(self, scope: Any, receive: Any, send: Any) -> None:
        asked = {name: scope[name] for name in ("method", "path", "http_version")}
        asked |= {name: scope[name].decode() for name in ("raw_path", "query_string")}
        asked["headers"] = {name.decode(): value.decode() for name, value in scope["headers"]}
        await respond(send, 200, json.dumps(asked).encode())

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        trailers = str([name for name, _ in scope["headers"]]).encode()
        await respond(send, 200, body, [(b"x-names", trailers)])

    async def early(self, scope: Any, receive: Any, send: Any) -> None:
        await respond(send, 413, b"too much")

    async def slow(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        await respond(send, 200, b"slow")

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in ", "more_body": True})
        await send({"type": "http.response.body", "body": b"pieces"})

    async def begin(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def late(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4)
        await self.echo(scope, receive, send)

    async def stuck(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    async def block(self, scope: Any, receive: Any, send: Any) -> None:
        threading.Event().wait(0.5)
        await respond(send, 200, b"")

    async def torrent(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(512):
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def flood(self, scope: Any, receive: Any, send: Any) -> None:
        await respond(send, 200, bytes(32 * 1024 * 1024))

    async def half(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def crash(self, scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError


async def respond(send: Any, status: int, body: bytes, headers: Any = ()) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> Any:
        return json.loads(self.body)


class Site:
    """Ways to talk to a running server."""

    def __init__(self, url: str, app: App, server: Server | None = None) -> None:
        self.app, self.server = app, server
        self.host, _, port = url.partition("://")[2].rpartition(":")
        self.port = int(port)

    @property
    def connections(self) -> int:
        assert self.server is not None
        return len(self.server.server_state.connections)

    @contextmanager
    def connection(self) -> Iterator["Client"]:
        with socket.create_connection((self.host.strip("[]"), self.port), timeout=10) as sock:
            client = Client(sock)
            with client.file:
                yield client

    @property
    def tasks(self) -> int:
        assert self.server is not None
        return len(self.server.server_state.tasks)

    def stop(self) -> None:
        assert self.server is not None
        self.server.should_exit = True

    @property
    def refuses_connections(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((self.host, self.port)) != 0

    def ask(self, *pieces: bytes) -> list[Answer]:
        """Everything answered to ``pieces`` until the server ends the connection."""
        with self.connection() as client:
            for piece in pieces:
                client.send(piece)
            return client.read_all()

    def refusal(self, *pieces: bytes) -> Answer:
        answers = self.ask(*pieces)
        assert len(answers) == 1
        return answers[0]


class Client:
    """One connection, read as a simple client reads: by Content-Length, chunks or the end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> Answer | None:
        """The next answer; None at the clean end of the connection."""
        status_line = self.file.readline()
        if not status_line:
            return None
        lines = iter(self.file.readline, b"\r\n")
        headers = dict(line.decode().rstrip("\r\n").split(": ", 1) for line in lines)
        return Answer(int(status_line.split()[1]), headers, self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return self.file.read(int(headers["content-length"]))
        if "transfer-encoding" not in headers:
            return self.file.read()
        body = b""
        while size := int(self.file.readline(), 16):
            body += self.file.read(size + 2)[:-2]
        self.file.readline()
        return body

    def answer(self) -> Answer:
        answer = self.read()
        assert answer is not None
        return answer

    def read_all(self) -> list[Answer]:
        return list(iter(self.read, None))

    def is_silent(self) -> bool:
        return not select.select([self.sock], [], [], 0.1)[0]


def settings(**changes: Any) -> Any:
    base: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "tls_cert": None, "tls_key": None}
    return base | {"on_started": pytest.fail} | changes


@contextmanager
def running(limits: ServerLimits, loop: str = "auto", **changes: Any) -> Iterator[Site]:
    """A server on an event loop, with an app that is ``eager`` where the loop's name says so."""
    loop, _, eager = loop.partition(" ")
    app, started, urls = App(), threading.Event(), list[str]()

    def on_started(url: str) -> None:
        urls.append(url)
        started.set()

    app.eager = eager == "eager"
    server = Server(app, limits=limits, **settings(on_started=on_started, **changes))
    server.config.loop = loop
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(10)
        yield Site(urls[0], app, server)
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
        assert app.stopped


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.envelope["code"] == code
    assert set(answer.envelope) == {"ok", "error", "code", "details", "requestId"}
    assert (answer.envelope["ok"], answer.envelope["details"]) == (False, [])
    headers = answer.headers
    assert headers["x-request-id"] == answer.envelope["requestId"] != ""
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
    assert "server" not in headers


def wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def serve_in_this_process(grace_s: int) -> None:
    """What the tests of signals run in a process of its own."""
    app = App()
    code = run_server(
        app,
        host="127.0.0.1",
        port=0,
        tls_cert=None,
        tls_key=None,
        on_started=lambda url: print(url, flush=True),
        limits=ServerLimits(stop_grace_s=grace_s),
    )
    print("stopped" if app.stopped else "died", flush=True)
    sys.exit(code)


@contextmanager
def process(grace_s: int) -> Iterator[tuple["subprocess.Popen[str]", Site]]:
    command = f"from tests.http.protocol.sites import serve_in_this_process as serve; serve({grace_s})"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as child:
        try:
            assert child.stdout is not None
            yield child, Site(child.stdout.readline().strip(), App())
        finally:
            child.kill()
