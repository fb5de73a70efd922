"""Between the processes of one server: a process that only reads hands what it cannot answer to the one that writes.

They speak HTTP over a socket of mode 0600 beside the database. The first header of a request says what it is: that of a
client, with the client's address, or what the reader has counted. Only this socket believes it, and only a process of
the database's owner can open it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from threatcloud.http.app import Gateway
from threatcloud.http.context import Services
from threatcloud.http.errors import failure
from threatcloud.http.protocol import AT_ONCE, SECURITY_HEADERS, AnswerAtOnce, HttpProtocol, ServerLimits, request_id_of

_log = structlog.get_logger("relay")
_CLIENT: Final = b"x-threat-cloud-client"
_COUNTS: Final = b"x-threat-cloud-counts"
#: What concerns one connection only (RFC 9110, section 7.6.1); a 100-continue is up to the reader.
_OF_THE_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)
_OWN_LINES: Final = (b"date: ", b"connection: ")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PIECE_BYTES: Final = 64 * 1024
_MAX_IDLE: Final = 64


class HomeProtocol(HttpProtocol):
    """A connection of a reader. It is readers that guard against clients: nobody calls ``check`` here."""

    limits = ServerLimits(connections=1_000_000)


class Counts(msgspec.Struct, array_like=True):
    """What a reader has counted since it last said so: reads for the audit ledger, and figures of requests."""

    reads: list[tuple[int, str, str, str, int]]
    requests: list[tuple[str, str, int, int]]
    seconds: dict[str, list[float]]
    refusals: dict[str, int]


_decode_counts: Final = msgspec.msgpack.Decoder(Counts).decode


def take_counts(services: Services) -> Counts | None:
    """What was counted here, which is then no longer; None when that is nothing."""
    reads = [(*read, count) for read, count in services.auditing.take_reads().items()]
    requests, seconds, refusals = services.requests.take()
    counted = [(*key, count) for key, count in requests.items()]
    return Counts(reads, counted, seconds, refusals) if requests else None


def add_counts(services: Services, counts: Counts) -> None:
    """Counts what another process has counted."""
    services.auditing.add_reads({tuple(read): count for *read, count in counts.reads})  # type: ignore[misc]
    requests = {tuple(key): count for *key, count in counts.requests}
    services.requests.add(requests, counts.seconds, counts.refusals)  # type: ignore[arg-type]


def make_home_app(services: Services) -> ASGIApp:
    """The application of the socket that readers hand requests to."""
    gateway = Gateway(services)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name, value = scope["headers"].pop(0) if scope["headers"] else (b"", b"")
        if name == _CLIENT:
            scope["client"] = (value.decode("ascii"), 0)
            await gateway(scope, receive, send)
            return
        if name == _COUNTS:
            add_counts(services, _decode_counts(await _whole_body(receive)))
        status = 200 if name == _COUNTS else 400
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _whole_body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


class _Line(NamedTuple):
    """A connection to the process that writes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Head(NamedTuple):
    """The beginning of an answer; ``lines`` are the header lines as they go to the client."""

    status: int
    lines: bytes
    body_bytes: int
    is_last: bool


class Relay:
    """Hands requests to the process that writes, and its answers to the client piece by piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Line] = []

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has one request answered over there. Where that fails the client is told so."""
        try:
            line = await self._take()
        except OSError as error:
            await _fail(scope, send, f"cannot be reached: {error}", is_safe=True)
            return
        try:
            is_reusable = await _exchange(line, scope, receive, send)
        except (OSError, EOFError) as error:
            line.writer.transport.abort()
            await _fail(scope, send, f"has not answered: {error}", is_safe=scope["method"] in _SAFE)
        except BaseException:
            line.writer.transport.abort()
            raise
        else:
            self._give_back(line, is_reusable)

    async def hand_over(self, counts: Counts) -> bool:
        """Hands over what was counted; whether it has arrived."""
        body = msgspec.msgpack.encode(counts)
        head = b"POST / HTTP/1.1\r\n%b: 1\r\nhost: home\r\ncontent-length: %d\r\n\r\n" % (_COUNTS, len(body))
        try:
            line = await self._take()
            line.writer.write(head + body)
            found = await _read_head(line, "POST")
        except (OSError, EOFError):
            return False
        self._give_back(line, not found.is_last)
        return found.status == 200

    async def _take(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if not line.reader.at_eof() and not line.writer.is_closing():
                return line
            line.writer.close()
        return _Line(*await asyncio.open_unix_connection(str(self._path), limit=4 * _PIECE_BYTES))

    def _give_back(self, line: _Line, is_reusable: bool) -> None:
        if is_reusable and len(self._idle) < _MAX_IDLE:
            self._idle.append(line)
        else:
            line.writer.close()

    def close(self) -> None:
        """Closes the connections nobody uses."""
        for line in self._idle:
            line.writer.close()
        self._idle.clear()


async def _exchange(line: _Line, scope: Scope, receive: Receive, send: Send) -> bool:
    """One request and its answer; whether the connection can be used again. Raises OSError or EOFError when the other
    side breaks off before it has answered."""
    names = {name for name, _ in scope["headers"]}
    is_chunked = b"transfer-encoding" in names
    line.writer.write(_request_head(scope, is_chunked))
    has_body = is_chunked or b"content-length" in names
    pump = asyncio.ensure_future(_pump(line, receive, is_chunked)) if has_body else None
    try:
        head = await _read_head(line, scope["method"])
        await _pass_on(line, head, scope, send)
    finally:
        is_sent = pump is None or (pump.done() and not pump.cancelled() and pump.exception() is None)
        if pump is not None and not pump.done():
            pump.cancel()
    return is_sent and not head.is_last


def _request_head(scope: Scope, is_chunked: bool) -> bytes:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    address = (scope["client"][0] if scope["client"] else "").encode("ascii")
    fields: list[tuple[bytes, bytes]] = [(_CLIENT, address)]
    fields += [field for field in scope["headers"] if field[0] not in _OF_THE_CONNECTION]
    if is_chunked:
        fields.append((b"transfer-encoding", b"chunked"))
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (scope["method"].encode("ascii"), target, lines)


async def _pump(line: _Line, receive: Receive, is_chunked: bool) -> None:
    """Sends the body on as it arrives, as fast as it is taken."""
    more = True
    with suppress(ConnectionError):  # the other side has said what it had to say, or will not
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                line.writer.transport.abort()
                return
            body, more = message.get("body", b""), message.get("more_body", False)
            if body:
                line.writer.write(b"%x\r\n%b\r\n" % (len(body), body) if is_chunked else body)
            await line.writer.drain()
        if is_chunked:
            line.writer.write(b"0\r\n\r\n")


async def _read_head(line: _Line, method: str) -> _Head:
    """The head of an answer of ours: names in lower case, and always a length where there is a body."""
    first, *rest = (await line.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    status = int(first[9:12])
    is_last = b"connection: close" in rest
    length = next((int(item[16:]) for item in rest if item.startswith(b"content-length: ")), 0)
    kept = [item for item in rest if item and not item.startswith(_OWN_LINES)]
    if is_last:
        kept.append(b"connection: close")
    is_empty = method == "HEAD" or status in (204, 304)
    return _Head(status, b"\r\n".join([*kept, b""]), 0 if is_empty else length, is_last)


async def _pass_on(line: _Line, head: _Head, scope: Scope, send: Send) -> None:
    left = head.body_bytes
    body = await line.reader.readexactly(left) if left <= _PIECE_BYTES else b""
    at_once: AnswerAtOnce | None = scope.get(AT_ONCE)
    if left <= _PIECE_BYTES and at_once is not None and at_once(head.status, head.lines, body):
        return
    await send({"type": "http.response.start", "status": head.status, "headers": _fields(head.lines)})
    if left <= _PIECE_BYTES:
        await send({"type": "http.response.body", "body": body})
        return
    while left:
        piece = await line.reader.read(min(left, 4 * _PIECE_BYTES))
        if not piece:
            _log.warning("an answer broke off", path=scope["path"])
            line.writer.transport.abort()
            return
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


def _fields(lines: bytes) -> Sequence[Iterable[bytes]]:
    return [line.split(b": ", 1) for line in lines.splitlines()]


async def _fail(scope: Scope, send: Send, reason: str, *, is_safe: bool) -> None:
    """Tells the client: to try again where that does no harm, else that nobody knows what became of it."""
    _log.warning(f"the process that writes {reason}", path=scope["path"])
    request_id = request_id_of(scope["headers"])
    answer = (
        failure(503, "busy", "The server is starting or stopping; try again.", request_id, (), {"Retry-After": "1"})
        if is_safe
        else failure(500, "internal", "The server failed to answer; it may have stored the request.", request_id)
    )
    fields: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode("ascii")),
        *((name.lower().encode(), value.encode()) for name, value in answer.headers.items()),
        (b"connection", b"close"),
        *SECURITY_HEADERS,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
