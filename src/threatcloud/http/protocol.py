"""HTTP/1.1 on a connection: uvicorn's httptools protocol with limits, time-outs and our own envelope.

uvicorn answers broken HTTP in plain text, keeps a request line of any length and waits for ever for the rest. Here
every size and wait has a bound (`ServerLimits`), and a refusal is the failure envelope, which clients get to read.

Time-outs cost nothing per request: a connection only notes that it enters a phase, and `check`, called for every one by
the server's periodic sweep, measures how long that lasts (so they come up to two sweeps late).
"""

import asyncio
import urllib.parse
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from inspect import CORO_CREATED, getcoroutinestate
from types import SimpleNamespace
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from threatcloud.http.eager import is_eager, run_until_it_waits
from threatcloud.http.errors import failure
from threatcloud.http.joining import JoiningWriter
from threatcloud.http.request_id import request_id

SECURITY_HEADERS: Final[list[tuple[bytes, bytes]]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_HEADERS_TOO_LARGE: Final = (431, "headers_too_large", "The request's headers are too many or too large.")
_TIMED_OUT: Final = (408, "request_timeout", "The request did not arrive in time.")

# What the parser is in. DEAF: whatever else arrives is discarded, the connection is about to end.
_IDLE, _HEAD, _BODY, _DEAF = range(4)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may take: sizes in bytes, waits in seconds, to the precision of ``sweep_s``.

    Of the connections over the limit, ``turned_away`` are told so and any more dropped. Of a body nobody wants
    ``discard_bytes`` are read to keep the connection usable. Where a connection ends with an answer, ``linger_bytes``
    are read for up to ``linger_s``, so that the answer arrives.
    """

    connections: int = 1_000
    turned_away: int = 64
    pipelined_requests: int = 100
    target_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    header_count: int = 100
    header_s: float = 10.0
    keep_alive_s: float = 30.0
    body_stall_s: float = 15.0
    body_total_s: float = 60.0
    body_bytes_per_extra_s: int = 100 * 1024
    body_bytes_per_s: int = 500
    write_stall_s: float = 30.0
    discard_bytes: int = 64 * 1024
    linger_bytes: int = 8 * 1024 * 1024
    linger_s: float = 5.0
    stop_grace_s: int = 10
    sweep_s: float = 0.5


@dataclass(eq=False)
class Refusal(Exception):
    """An answer of the protocol's own, after which the connection ends."""

    status: int
    code: str
    message: str

    def answer(self, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body: the failure envelope, and the end of the connection."""
        body = failure(self.status, self.code, self.message, request_id).body
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode("ascii")),
            *SECURITY_HEADERS,
        ]
        return headers + [(b"retry-after", b"1")] * (self.status == 503), body


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's ``X-Request-Id`` where it is a sane one (1 to 64 of ``A-Za-z0-9._-``), else a new one."""
    sent = next((value for name, value in headers if name == b"x-request-id"), b"")
    return request_id(sent)


def _refusal(error: httptools.HttpParserError) -> Refusal:
    """What a parser error means to the client. An error of our own inside a callback is raised again."""
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if isinstance(cause, httptools.HttpParserInvalidURLError):
        return Refusal(400, "bad_request", "The request target is not a valid URL.")
    if isinstance(error, httptools.HttpParserCallbackError):
        raise error
    return Refusal(400, "bad_request", f"The request is not valid HTTP: {error}.")


@lru_cache(maxsize=4)
def _lines_of(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The lines of the headers every answer has; they change once a second, with the date."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


#: Where an app finds how to answer at once in its scope.
AT_ONCE: Final = "threatcloud.at_once"
#: Where an app leaves what is to be called when the server stops, in the scope of an answer without end.
ON_STOP: Final = "threatcloud.on_stop"
#: Takes status, header lines and body of a whole answer; whether it was sent (if not, it has to go by ``send``).
AnswerAtOnce = Callable[[int, bytes, bytes], bool]


class Cycle(RequestResponseCycle):
    """One request and its answer; an app that fails without answering gets the envelope, too."""

    def at_once(self, status: int, lines: bytes, body: bytes) -> bool:
        """Sends a whole answer with its length declared, unless the client is slow to read or the connection ends."""
        if self.flow.write_paused or self.disconnected or not self.keep_alive or b"connection: close" in lines:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%b%b%b\r\n" % (STATUS_LINE[status], _lines_of(tuple(self.default_headers)), lines))
        self.transport.write(body)
        self.message_event.set()
        self.on_response()
        return True

    async def send_500_response(self) -> None:
        request_id = request_id_of(self.scope["headers"])
        self.logger.error("request %s failed", request_id)
        headers, body = Refusal(500, "internal", "The server failed to answer.").answer(request_id)
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class Http10Cycle(Cycle):
    """HTTP/1.0 knows no chunks: a body of unknown length ends with the connection (RFC 9112, section 6.3)."""

    is_unbounded = False

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self.is_unbounded = all(name.lower() != b"content-length" for name, _ in message.get("headers", []))
            if self.is_unbounded:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self.is_unbounded:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class HttpProtocol(HttpToolsProtocol):
    """One connection. A subclass sets ``limits``; what is not said here is as in uvicorn."""

    limits: ClassVar[ServerLimits] = ServerLimits()

    _phase = _IDLE
    _since: float | None = None  # the phase lasts, as of the first sweep that saw it
    _active: RequestResponseCycle | None = None  # the one being answered; self.cycle is the newest
    _task: asyncio.Task[None] | None = None  # of the active cycle, if that is run as a task from its beginning
    _runs_eagerly = False  # what starts now is run as soon as what arrived is parsed
    _ready: RequestResponseCycle | None = None  # the one that waits for that
    _last_words: bytes | None = None  # a refusal that waits for the answers before it
    _outlet: Any  # what a cycle sees of the transport: to close it is up to us
    _chunk_bytes = _body_bytes = _discarded = 0
    _head_bytes = _head_room = 0  # received while in this head, and before it in the same chunk; and how much may be
    _bare_bytes = 0  # received since the last byte of content: chunk extensions, trailers
    _progress = (0, 0)  # bytes not yet sent, bytes of the body, as of the sweep at _moved
    _moved = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_eager = is_eager(self.app)
        self._writer = JoiningWriter(transport, self.loop)
        self._outlet = SimpleNamespace(write=self._writer.write, is_closing=transport.is_closing, close=self._close)
        surplus = len(self.connections) - self.limits.connections
        if surplus > self.limits.turned_away:
            transport.abort()
        elif surplus > 0:
            self._refuse(Refusal(503, "busy", "Too many connections; try again in a second."))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()
        self._outlet.close = self.transport.close  # leaves no reference cycle to the collector

    def shutdown(self) -> None:
        """Called when the server stops: end now, or after the answers that are owed."""
        if self._active is not None and self._busy():
            self.cycle.keep_alive = False
            on_stop: Callable[[], None] | None = self._active.scope.get(ON_STOP)  # type: ignore[assignment]
            if on_stop is not None:
                on_stop()
        else:
            self._writer.flush()
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._is_eager:
            self._parse(data)
            return
        self._runs_eagerly = self._writer.holds = True
        self._parse(data)
        while self._ready is not None:
            cycle, self._ready = self._ready, None
            rest = run_until_it_waits(cycle.run_asgi(self.app))
            if rest is not None:
                self._keep(self.loop.create_task(rest))
        self._runs_eagerly = self._writer.holds = False
        self._writer.flush()

    def _parse(self, data: bytes) -> None:
        if self._phase >= _BODY:
            self._count(len(data))
            if self._phase == _DEAF:
                return
        while True:
            self._chunk_bytes = len(data)
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(_refusal(error))
                return
        if self._phase == _HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self._head_room:
                self._refuse(Refusal(*_HEADERS_TOO_LARGE))

    def _count(self, size: int) -> None:
        """Account for what arrives outside heads, and end a connection that sends too much to no purpose."""
        if self._phase == _DEAF or self.cycle.response_complete:
            self._discarded += size
            if self._discarded > self.limits.linger_bytes:
                self.transport.abort()
            elif self._phase == _BODY and self._discarded > self.limits.discard_bytes:
                self._linger()
        elif self._bare_bytes > self.limits.header_bytes:
            self._refuse(Refusal(400, "bad_request", "The body has more framing than content."))
        else:
            self._bare_bytes += size

    def _busy(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def on_message_begin(self) -> None:
        self._phase = _HEAD
        self._since = None
        self._head_bytes = 0
        self._head_room = self._chunk_bytes + self.limits.target_bytes + self.limits.header_bytes
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes:
            raise Refusal(414, "uri_too_long", f"Path and query are over {self.limits.target_bytes} bytes.")

    def on_headers_complete(self) -> None:
        parser = self.parser
        self._check_head()
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise Refusal(400, "bad_request", "This is no proxy.")
            return  # HttpParserUpgrade follows
        scope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        target = httptools.parse_url(self.url)
        scope["raw_path"] = target.path or b"/"  # an absolute-form target may have none
        path = scope["raw_path"].decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["query_string"] = target.query or b""
        self.headers = []  # trailers, should any come, are no headers of the request
        self._begin(parser.get_http_version(), parser.should_keep_alive())
        self._phase = _BODY
        self._since = None
        self._body_bytes = self._bare_bytes = self._discarded = 0

    def _check_head(self) -> None:
        size = self._head_bytes + self._chunk_bytes  # at most
        if size > self.limits.header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes or len(self.headers) > self.limits.header_count:
            raise Refusal(*_HEADERS_TOO_LARGE)
        if len(self.pipeline) >= self.limits.pipelined_requests:
            raise Refusal(503, "busy", "Too many requests at once on one connection.")

    def _begin(self, version: str, keep_alive: bool) -> None:
        if version not in ("1.1", "1.0"):
            raise Refusal(400, "bad_request", f"HTTP/{version} is not spoken here.")
        self.scope["http_version"] = version
        new_cycle = Cycle if version == "1.1" else Http10Cycle
        self.cycle = cycle = new_cycle(
            scope=self.scope,
            transport=self._outlet,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive and version == "1.1",
            on_response=self.on_response_complete,
        )
        if version == "1.1":
            self.scope[AT_ONCE] = cycle.at_once  # type: ignore[typeddict-unknown-key]
        if self._busy():
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start(cycle)

    def _start(self, cycle: RequestResponseCycle) -> None:
        self._active, self._task = cycle, None
        if self._runs_eagerly:
            self._ready = cycle
            return
        self._task = self.loop.create_task(cycle.run_asgi(self.app))
        self._keep(self._task)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Has the server know of a task for as long as it runs."""
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._bare_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._phase == _HEAD:
            return  # the parser skips the rest of an Upgrade; it is parsed again without
        self._phase = _IDLE
        self._since = None
        super().on_message_complete()

    def _head_without_upgrade(self) -> bytes:
        """The head just parsed, for a new parser: to llhttp what follows an Upgrade is another protocol."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, b"".join(lines))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head

    def on_response_complete(self) -> None:
        if self._active is not None:
            # Scope and cycle would hold each other until the collector comes, and it would come often.
            self._active.scope.pop(AT_ONCE, None)  # type: ignore[typeddict-item]
        self.server_state.total_requests += 1
        if self.transport.is_closing() or (self._phase == _DEAF and self._last_words is None):
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
        elif self._last_words is not None:
            self._linger(self._last_words)
        elif self._phase == _BODY and self.expect_100_continue:
            self._linger()  # the client may send the body or not: nobody can tell what it is that follows
        elif self._phase != _HEAD:
            self._since = None

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with the envelope and end, after the answers still owed; an answer begun is cut short."""
        in_body = self._phase == _BODY
        words = b"" if in_body and self.cycle.response_started else self._words(refusal)
        self._phase = _DEAF
        if in_body:
            self._abandon(self.cycle)
        if self._busy():
            self._last_words = words
            self.flow.pause_reading()
        else:
            self._linger(words)

    def _words(self, refusal: Refusal) -> bytes:
        headers, body = refusal.answer(request_id_of(self.scope["headers"] if self._phase in (_HEAD, _BODY) else ()))
        lines = [b"%s: %s\r\n" % header for header in [*self.server_state.default_headers, *headers]]
        return b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body])

    def _abandon(self, cycle: RequestResponseCycle) -> None:
        """To its app, a request that breaks off is a client that left; an app not yet begun never sees it."""
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if cycle is not self._active:
            self.pipeline.popleft()
            return
        self._active = self._ready = None
        if self._task is not None and getcoroutinestate(cast(Any, self._task.get_coro())) == CORO_CREATED:
            self._task.cancel()

    def _close(self) -> None:
        if self._phase == _IDLE and not self.pipeline:
            self._writer.flush()
            self.transport.close()
        else:
            self._linger()

    def _linger(self, words: bytes = b"") -> None:
        """Say no more after ``words``, but read on for a bounded while: to close over unread data would reset
        the connection, and lose what the client has not read yet (RFC 9112, section 9.6)."""
        self._phase = _DEAF
        self._active = self._last_words = self._since = None
        self.flow.resume_reading()
        self._writer.flush()
        self.transport.write(words)
        with suppress(OSError, NotImplementedError):  # the client may be gone; TLS cannot end one way alone
            self.transport.write_eof()

    def check(self, now: float) -> None:
        """Called by every sweep, ``now`` in seconds of a steady clock: end what has waited too long."""
        progress = (self.transport.get_write_buffer_size(), self._body_bytes)
        if progress != self._progress:
            self._progress, self._moved = progress, now
        still = now - self._moved
        if progress[0] > 0:
            self._since = None  # whatever else is waited for counts from when the client has read its answer
            if still > self.limits.write_stall_s:
                self.transport.abort()
        elif self._since is None:
            self._since = now
        elif not self.transport.is_closing():
            self._check_phase(now - self._since, still)

    def _check_phase(self, waited: float, still: float) -> None:
        if self._phase == _HEAD:
            if waited > self.limits.header_s:
                self._refuse(Refusal(*_TIMED_OUT))
        elif self._phase == _IDLE:
            if waited > self.limits.keep_alive_s and not self._busy():
                self.transport.close()
        elif self._phase == _BODY and not self.cycle.response_complete:
            self._check_body(waited, still)
        elif waited > self.limits.linger_s and self._last_words is None:
            self.transport.abort()

    def _check_body(self, waited: float, still: float) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._since = None  # it is the app that has not asked for more
        elif waited > self.limits.body_stall_s:
            is_slow = self._body_bytes < waited * self.limits.body_bytes_per_s
            in_all_s = self.limits.body_total_s + self._body_bytes / self.limits.body_bytes_per_extra_s
            if is_slow or still > self.limits.body_stall_s or waited > in_all_s:
                self._refuse(Refusal(*_TIMED_OUT))
