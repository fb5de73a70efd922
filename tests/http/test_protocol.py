"""The protocol on real sockets: what uvicorn leaves to the client's good will, ours bounds and answers."""

import asyncio
import json
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from threatcloud.http.protocol import ServerLimits
from threatcloud.http.serve import CannotListen, Server, run_server

PATIENT = ServerLimits(sweep_s=0.02, linger_s=60)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class App:
    """Answers with what it was asked; some paths misbehave as their names say. ``served`` lists the paths."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.stopped = False

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
    app, started, urls = App(), threading.Event(), list[str]()

    def on_started(url: str) -> None:
        urls.append(url)
        started.set()

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


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@pytest.fixture(scope="module")
def site(loop: str) -> Iterator[Site]:
    with running(PATIENT, loop) as site:
        yield site


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


BROKEN = {
    "garbage": b"\x00\xff\xfe garbage",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
    "no protocol": b"GET / FTP/1.1\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "relative target": b"GET foo HTTP/1.1\r\n\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\n\r\n",
    "impossible port": b"GET http://a:99999/ HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "header without colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "space in a header name": b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n",
    "unknown coding": b"DELETE / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "bad chunk size": b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=BROKEN.keys())
def test_broken_http_gets_the_envelope_and_never_reaches_the_app(site: Site, request_: bytes) -> None:
    site.app.served.clear()
    assert_refused(site.refusal(request_), 400, "bad_request")
    assert site.app.served == []


def test_a_body_that_breaks_off_is_a_client_that_left_to_the_app(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Request-Id: mine\r\n\r\n1\r\na\r\n")
        assert client.is_silent()
        client.send(b"zz\r\n")
        answers = client.read_all()
    assert [answer.status for answer in answers] == [400]
    assert_refused(answers[0], 400, "bad_request")
    assert answers[0].headers["x-request-id"] == "mine"


def test_an_app_that_asks_for_a_broken_body_late_does_not_write_after_the_end(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connection() as client:
        client.send(b"POST /late HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.is_silent()
        client.send(b"zz\r\n")
        assert [answer.status for answer in client.read_all()] == [400]
        wait_until(lambda: site.tasks == 0)
    assert caplog.records == []


def test_an_answer_already_begun_is_cut_short_by_a_broken_body(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /begin HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        client.send(b"zz\r\n")
        assert client.file.read().endswith(b"5\r\nbegun\r\n")


def test_refusals_wait_for_the_answers_owed(site: Site) -> None:
    slow = b"GET /slow HTTP/1.1\r\n\r\n"
    for broken in (b"nonsense\r\n\r\n", BROKEN["bad chunk size"]):
        answers = site.ask(slow + GET + broken)
        assert [answer.status for answer in answers] == [200, 200, 400]
        assert answers[0].body == b"slow"
        assert_refused(answers[2], 400, "bad_request")


def test_pipelined_requests_are_answered_in_order_up_to_a_bound(loop: str) -> None:
    with running(ServerLimits(pipelined_requests=3, sweep_s=0.02), loop) as site:
        paths = [f"/{n}" for n in range(6)]
        answers = site.ask(b"".join(b"GET %s HTTP/1.1\r\n\r\n" % path.encode() for path in paths))
        assert [answer.envelope["path"] for answer in answers[:-1]] == paths[:4]
        assert_refused(answers[-1], 503, "busy")


def test_a_client_that_leaves_has_left_for_the_app_that_answers_it(site: Site) -> None:
    with site.connection() as client:
        client.send(b"GET /begin HTTP/1.1\r\n\r\n" + GET)
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    wait_until(lambda: site.tasks == 0)


@pytest.mark.parametrize("size", [8 * 1024 + 1, 1024 * 1024])
@pytest.mark.parametrize("ends", [True, False])
def test_an_over_long_target_is_414(site: Site, size: int, ends: bool) -> None:
    line = b"GET /" + b"a" * (size - 1) + (b" HTTP/1.1\r\n\r\n" if ends else b"")
    assert_refused(site.refusal(line), 414, "uri_too_long")
    pieces = [line[at : at + 5_000] for at in range(0, len(line), 5_000)]
    assert_refused(site.refusal(*pieces), 414, "uri_too_long")


def test_a_target_of_8_kib_is_served(site: Site) -> None:
    query = b"q=" + b"a" * (8 * 1024 - 4)
    answers = site.ask(b"GET /?%s HTTP/1.1\r\nConnection: close\r\n\r\n" % query)
    assert answers[0].envelope["query_string"] == query.decode()


TOO_LARGE = {
    "one header": b"A: " + b"a" * 33_000 + b"\r\n\r\n",
    "many bytes in many headers": b"".join(b"A%d: %s\r\n" % (n, b"a" * 1000) for n in range(40)) + b"\r\n",
    "too many": b"".join(b"A%d: a\r\n" % n for n in range(101)) + b"\r\n",
    "one that never ends": b"A: " + b"a" * 1024 * 1024,
    "a name that never ends": b"A" * 1024 * 1024,
    "headers that never end": b"A: a\r\n" * 200_000,
}


@pytest.mark.parametrize("headers", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@pytest.mark.parametrize("piece", [4_000, 2**30])
def test_too_many_or_too_large_headers_are_431(site: Site, headers: bytes, piece: int) -> None:
    request = b"GET / HTTP/1.1\r\n" + headers
    pieces = [request[at : at + piece] for at in range(0, len(request), piece)]
    assert_refused(site.refusal(*pieces), 431, "headers_too_large")


def test_headers_at_the_bounds_are_served(site: Site) -> None:
    many = b"".join(b"A%d: a\r\n" % n for n in range(99))
    large = b"B: " + b"a" * 30_000 + b"\r\n"
    for headers in (many, large):
        answers = site.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n" + headers + b"\r\n")
        assert [answer.status for answer in answers] == [200]


def test_a_head_that_follows_a_large_body_in_one_piece_has_all_its_room(site: Site) -> None:
    with site.connection() as client, site.connection() as other:
        other.send(b"GET /block HTTP/1.1\r\n\r\n")
        assert other.is_silent()  # so that all of this is there when the server reads on
        client.send(b"POST /echo HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000) + b"GET / HTT")
        assert client.answer().status == 200
        client.send(b"P/1.1\r\n\r\n")
        assert client.answer().status == 200


def test_trailers_are_bounded_and_no_headers(site: Site) -> None:
    post = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answers = site.ask(post, b"1\r\na\r\n0\r\nAuthorization: b\r\n\r\n")
    assert (answers[0].status, answers[0].body) == (200, b"a")
    assert "authorization" not in answers[0].headers["x-names"]
    endless = [b"T%d: a\r\n" % n * 500 for n in range(100)]
    assert_refused(site.refusal(post, b"1\r\na\r\n0\r\n", *endless), 400, "bad_request")


@pytest.mark.parametrize("split", [1, 2, 7, 40])
def test_requests_in_pieces_are_whole_to_the_app(site: Site, split: int) -> None:
    requests = (
        GET
        + b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        + b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
        + GET_AND_CLOSE
    )
    answers = site.ask(*(requests[at : at + split] for at in range(0, len(requests), split)))
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.body for answer in answers[1:3]] == [b"hello", b"hello"]


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/a%2Fb/c", "/a/b/c", "/a%2Fb/c", ""),
        (
            "/http%3A%2F%2Fexample.com%2F?q=%31",
            "/http://example.com/",
            "/http%3A%2F%2Fexample.com%2F",
            "q=%31",
        ),
        ("http://example.com/a%20b?q", "/a b", "/a%20b", "q"),
        ("http://example.com?q", "/", "/", "q"),
        ("http://example.com", "/", "/", ""),
        ("*", "*", "*", ""),
    ],
)
def test_the_target_is_given_decoded_and_raw(site: Site, target: str, path: str, raw_path: str, query: str) -> None:
    [answer] = site.ask(f"OPTIONS {target} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    asked = answer.envelope
    assert (asked["path"], asked["raw_path"], asked["query_string"]) == (path, raw_path, query)


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_an_upgrade_is_an_ordinary_request(site: Site, upgrade: str, caplog: pytest.LogCaptureFixture) -> None:
    head = f"HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nX-Mine: 1\r\n".encode()
    answers = site.ask(
        b"GET /a?b " + head + b"\r\n" + b"POST /echo " + head + b"Content-Length: 5\r\n\r\nhel",
        b"lo",
        GET_AND_CLOSE,
    )
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert (answers[0].envelope["raw_path"], answers[0].envelope["query_string"]) == ("/a", "b")
    assert answers[0].envelope["headers"]["x-mine"] == "1"
    assert answers[1].body == b"hello"
    assert caplog.records == []


def test_http_1_0_ends_with_the_connection_and_gets_no_chunks(site: Site) -> None:
    [mirror] = site.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert (mirror.status, mirror.envelope["http_version"]) == (200, "1.0")
    [stream] = site.ask(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert "transfer-encoding" not in stream.headers
    assert stream.body == b"in pieces"
    [modern, _] = site.ask(b"GET /stream HTTP/1.1\r\n\r\n" + GET_AND_CLOSE)
    assert modern.headers["transfer-encoding"] == "chunked"
    assert modern.body == b"in pieces"


def test_an_app_that_fails_is_a_500_in_the_envelope(site: Site) -> None:
    [answer] = site.ask(b"GET /crash HTTP/1.1\r\nX-Request-Id: abc\r\n\r\n")
    assert_refused(answer, 500, "internal")
    assert answer.headers["x-request-id"] == "abc"


def test_continue_is_sent_only_when_the_app_asks_for_the_body(site: Site) -> None:
    head = b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with site.connection() as client:
        client.send(b"POST /echo" + head)
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.send(b"hello")
        answer = client.answer()
        assert answer.body == b"hello"
        client.send(b"POST /early" + head)  # the client may now send the body or not: nothing may be served after
        assert [answer.status for answer in client.read_all()] == [413]


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
def test_an_answer_given_early_is_read_by_a_client_that_sends_first(site: Site, connection: bytes) -> None:
    size = 5 * 1024 * 1024
    head = b"POST /early HTTP/1.1\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n" % (connection, size)
    assert [answer.status for answer in site.ask(head, bytes(size))] == [413]


def test_after_an_early_answer_a_small_body_keeps_the_connection(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /early HTTP/1.1\r\nContent-Length: 30000\r\n\r\n")
        answer = client.answer()
        assert answer.status == 413
        client.send(b"GET /evil HTTP/1.1\r\n\r\n" + bytes(30_000 - 22) + GET_AND_CLOSE)
        assert [answer.envelope["path"] for answer in client.read_all()] == ["/"]


def test_a_connection_serves_no_more_after_connection_close(site: Site) -> None:
    answers = site.ask(GET_AND_CLOSE + b"GET /later HTTP/1.1\r\n\r\n" * 10)
    assert [answer.envelope["path"] for answer in answers] == ["/"]


# Clients that take their time

IMPATIENT = ServerLimits(
    header_s=0.2,
    keep_alive_s=0.2,
    body_stall_s=0.2,
    write_stall_s=0.2,
    linger_s=0.2,
    sweep_s=0.02,
)


@pytest.fixture(scope="module")
def hurried(loop: str) -> Iterator[Site]:
    with running(IMPATIENT, loop) as site:
        yield site


def dribble(client: Client, piece: bytes) -> list[Answer]:
    """Send ``piece`` over and over until the server answers or ends; what it said in all."""
    ends = time.monotonic() + 10
    while not select.select([client.sock], [], [], 0.02)[0]:
        assert time.monotonic() < ends
        client.send(piece)
    return client.read_all()


def wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("start", "piece"),
    [(b"G", b""), (b"GET / HTTP/1.1\r\nA: b", b""), (b"GET / HTTP/1.1\r\nA: ", b"a"), (GET + b"GET /", b"a")],
)
def test_a_head_that_does_not_arrive_in_time_is_408(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        began = time.monotonic()
        client.send(start)
        if start.startswith(GET):
            assert client.answer().status == 200
        answers = dribble(client, piece)
        assert time.monotonic() - began >= 0.2
    [answer] = answers
    assert_refused(answer, 408, "request_timeout")


@pytest.mark.parametrize("start", [b"", GET, b"GET /slow HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("piece", [b"", b"\r\n"])
def test_an_idle_connection_is_closed_without_a_word(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        client.send(start)
        if start:
            assert client.answer().status == 200
        began = time.monotonic()
        with suppress(ConnectionResetError):  # what it sent last may not have been read
            assert dribble(client, piece) == []
        assert time.monotonic() - began >= 0.15


POST = b"POST /echo HTTP/1.1\r\nX-Request-Id: b1\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(("start", "piece"), [(b"", b""), (b"", b"a"), (bytes(30_000), b"")])
def test_a_body_that_does_not_arrive_in_time_is_408(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        client.send(POST)
        client.send(start)
        [answer] = dribble(client, piece)
    assert_refused(answer, 408, "request_timeout")
    assert answer.headers["x-request-id"] == "b1"


def test_a_body_may_not_take_for_ever_at_any_speed(loop: str) -> None:
    with running(replace(IMPATIENT, body_total_s=0.4), loop) as site, site.connection() as client:
        client.send(POST)
        [answer] = dribble(client, b"a" * 1000)
    assert_refused(answer, 408, "request_timeout")


def test_a_body_nobody_wants_is_not_waited_for(hurried: Site) -> None:
    with hurried.connection() as client:
        client.send(b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        assert client.answer().status == 413
        with suppress(ConnectionResetError):  # what it sent last may not have been read
            assert dribble(client, b"a") == []


@pytest.mark.parametrize("size", [300_000, 3])
def test_an_app_may_take_longer_than_any_client(hurried: Site, size: int) -> None:
    head = b"POST /late HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n" % size
    body = bytes(size)
    assert [answer.body for answer in hurried.ask(head + b"\r\n", body)] == [body]
    with hurried.connection() as client:
        client.send(head + b"Expect: 100-continue\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        client.file.readline()
        client.send(body)
        assert [answer.body for answer in client.read_all()] == [body]


def test_a_pause_of_the_server_is_not_counted_against_its_clients(hurried: Site) -> None:
    with hurried.connection() as client, hurried.connection() as other:
        client.send(GET[:9])
        assert client.is_silent()
        other.send(b"GET /block HTTP/1.1\r\n\r\n")
        assert client.is_silent()
        client.send(GET[9:])
        assert client.answer().status == 200


@pytest.mark.parametrize("head", [b" HTTP/1.1\r\n\r\n", b" HTTP/1.1\r\nConnection: close\r\n\r\n"])
@pytest.mark.parametrize("path", [b"/flood", b"/torrent"])
def test_a_client_that_does_not_read_is_dropped(hurried: Site, path: bytes, head: bytes) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"GET " + path + head)
        wait_until(lambda: hurried.connections == 1)
        wait_until(lambda: hurried.connections == 0)
        assert len(client.file.read()) < 32 * 1024 * 1024


def test_a_client_that_reads_slowly_is_served(hurried: Site) -> None:
    with hurried.connection() as client:
        client.send(b"GET /flood HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = 0
        while data := client.sock.recv(1024 * 1024, socket.MSG_WAITALL):
            received += len(data)
            time.sleep(0.02)
    assert received > 32 * 1024 * 1024


def test_a_refused_client_that_stays_is_dropped(hurried: Site) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"nonsense\r\n\r\n")
        assert_refused(client.answer(), 400, "bad_request")
        assert client.read() is None
        wait_until(lambda: hurried.connections == 0)


def test_a_client_that_stays_after_half_an_answer_is_dropped(hurried: Site) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"POST /half HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        wait_until(lambda: hurried.connections == 0)


def test_a_refused_client_that_sends_on_and_on_is_dropped(loop: str) -> None:
    with running(ServerLimits(linger_bytes=100_000, linger_s=60), loop) as site, site.connection() as client:
        with pytest.raises(ConnectionError):
            client.send(b"nonsense\r\n\r\n" + bytes(64 * 1024 * 1024))
        wait_until(lambda: site.connections == 0)


# Start, limit, stop


def test_connections_over_the_limit_are_turned_away(loop: str) -> None:
    limits = ServerLimits(connections=2, turned_away=1, sweep_s=0.02)
    with running(limits, loop) as site, site.connection() as first:
        with site.connection() as second:
            for client in (first, second):
                client.send(GET)
                assert client.answer().status == 200
            answer = site.refusal(GET)
            assert_refused(answer, 503, "busy")
            assert answer.headers["retry-after"] == "1"
            wait_until(lambda: site.connections == 2)
            with site.connection() as third, site.connection() as fourth:
                assert third.answer().status == 503
                with suppress(ConnectionResetError):
                    assert fourth.file.read() == b""
            assert first.is_silent()
        wait_until(lambda: site.connections == 1)
        assert [answer.status for answer in site.ask(GET_AND_CLOSE)] == [200]


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
    command = f"from tests.http.test_protocol import serve_in_this_process as serve; serve({grace_s})"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        try:
            assert child.stdout is not None
            yield child, Site(child.stdout.readline().strip(), App())
        finally:
            child.kill()


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully(signal_: signal.Signals) -> None:
    with process(10) as (child, site), site.connection() as idle, site.connection() as busy:
        idle.send(GET)
        assert idle.answer().status == 200
        busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
        assert busy.is_silent()
        child.send_signal(signal_)
        assert idle.read() is None
        wait_until(lambda: site.refuses_connections)
        answer = busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"slow", "close")
        assert busy.read() is None
        assert child.communicate(timeout=10) == ("stopped\n", "")
        assert child.returncode == 0


@pytest.mark.parametrize("path", ["stuck", "begin", "torrent"])
def test_requests_that_outlast_the_grace_do_not_hold_the_stop(path: str) -> None:
    with process(0) as (child, site), site.connection() as client:
        client.send(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
        assert client.is_silent() == (path == "stuck")
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=10)[0] == "stopped\n"
        assert child.returncode == 0


def test_no_connection_outlives_the_server(loop: str) -> None:
    with running(ServerLimits(stop_grace_s=0), loop) as site, site.connection() as client:
        client.send(b"GET /torrent HTTP/1.1\r\n\r\n")
        assert not client.is_silent()
        site.stop()
        wait_until(lambda: site.app.stopped and site.connections == 0)


def test_a_stop_does_not_wait_for_clients_that_were_answered(loop: str) -> None:
    with running(PATIENT, loop) as site, site.connection() as refused, site.connection() as cut_short:
        refused.send(b"nonsense\r\n\r\n")
        cut_short.send(b"POST /half HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        for client in (refused, cut_short):
            assert client.file.read() != b""
        site.stop()
        wait_until(lambda: site.app.stopped)


def test_every_connection_may_be_an_open_file() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running(ServerLimits(connections=200)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_cannot_be_listened_on_is_told_before_the_app_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1 port {port}: address already in use"):
            run_server(App(), **settings(port=port))
    with pytest.raises(CannotListen, match="cannot assign requested address"):
        run_server(App(), **settings(host="192.0.2.1"))
    with pytest.raises(CannotListen, match=r"absent\.pem cannot be used"):
        run_server(App(), **settings(tls_cert=tmp_path / "absent.pem"))
    with pytest.raises(CannotListen, match="needs its certificate"):
        run_server(App(), **settings(tls_key=tmp_path / "key.pem"))


def test_an_app_that_does_not_start_is_exit_code_1() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    assert run_server(app, **settings()) == 1


def test_an_app_that_does_not_stop_well_is_exit_code_1() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no"})

    def stop(_: str) -> None:
        signal.raise_signal(signal.SIGTERM)

    assert run_server(app, **settings(on_started=stop)) == 1


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6_is_listened_on_and_the_wildcard_takes_both(loop: str) -> None:
    for host, reached in (("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("localhost", ["127.0.0.1"])):
        with running(PATIENT, loop, host=host) as site:
            for site.host in reached:
                assert [answer.status for answer in site.ask(GET_AND_CLOSE)] == [200]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls(loop: str, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", cert, *names], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=cert)
    limits = ServerLimits(header_s=0.2, linger_s=0.2, sweep_s=0.02)
    with running(limits, loop, tls_cert=cert, tls_key=key) as site:

        @contextmanager
        def secure() -> Iterator[Client]:
            with (
                site.connection() as plain,
                context.wrap_socket(plain.sock, server_hostname="127.0.0.1") as sock,
            ):
                client = Client(sock)
                with client.file:
                    yield client

        with secure() as client:
            client.send(GET + b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
            assert [answer.status for answer in client.read_all()] == [200, 413]
        with secure() as client:
            client.send(b"nonsense\r\n\r\n")
            assert_refused(client.answer(), 400, "bad_request")
        with site.connection() as silent:
            assert silent.file.read() == b""
        with secure() as idle:  # it does not answer the end of TLS: the stop must not wait for it
            idle.send(GET)
            assert idle.answer().status == 200
            site.stop()
            wait_until(lambda: site.app.stopped)
