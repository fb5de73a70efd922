"""How an answer goes out: its coding, its header lines, and in one piece where the server below can take it so."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from starlette.types import Receive, Send

from threatcloud.http.answer import Answer
from threatcloud.http.compression import IDENTITY, MIN_BYTES, choose_coding, compress
from threatcloud.http.cors import cors_headers
from threatcloud.http.exchange import Exchange
from threatcloud.http.protocol import AT_ONCE, ON_STOP, SECURITY_HEADERS, AnswerAtOnce

_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_VARY: Final = b"vary: accept-encoding\r\n"
_KEPT_LINES: Final = 256
_WITHOUT_CONTENT: Final = frozenset({204, 304})


class Sender:
    """Sends answers, with the headers that all of them have."""

    def __init__(self, cors_origins: Sequence[str], *, is_tls: bool) -> None:
        self._cors_origins = cors_origins
        self._fixed = [*SECURITY_HEADERS, *([_HSTS] if is_tls else [])]
        self._fixed_lines = _lines(self._fixed)
        #: Who polls a list is told the same each time: a fifth of what such an answer costs.
        self._own_lines = lru_cache(maxsize=_KEPT_LINES)(self._make_own_lines)

    async def send(self, exchange: Exchange, answer: Answer, send: Send) -> None:
        """Sends one answer. Header lines are made as text: ASGI's list of fields costs as much as a small query."""
        body, lines = answer.body, b""
        if answer.status not in _WITHOUT_CONTENT:
            body, lines = _content(exchange, answer)
        head = lines + self._common_lines(exchange, answer)
        if exchange.method == "HEAD":
            body = b""
        at_once: AnswerAtOnce | None = exchange.scope.get(AT_ONCE)
        if at_once is not None and at_once(answer.status, head, body):
            return
        fields = [line.split(b": ", 1) for line in head.splitlines()]
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    async def stream(self, exchange: Exchange, answer: Answer, receive: Receive, send: Send) -> None:
        """Sends an answer piece by piece, until it ends, the client has gone, or the server stops."""
        pieces = answer.stream
        assert pieces is not None
        head = b"content-type: %b\r\n" % answer.media.encode() + self._common_lines(exchange, answer)
        fields = [line.split(b": ", 1) for line in head.splitlines()]
        exchange.scope[ON_STOP] = pieces.close
        gone = asyncio.ensure_future(_when_gone(receive, pieces.close))
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": fields})
            if exchange.method != "HEAD":
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            pieces.close()
            exchange.scope.pop(ON_STOP, None)

    def _common_lines(self, exchange: Exchange, answer: Answer) -> bytes:
        lines = b"x-request-id: %b\r\n" % exchange.request_id.encode()
        allowance = exchange.allowance
        if allowance.limit:
            lines += b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % allowance[:3]
        if b"origin" in exchange.headers:
            lines += _lines(cors_headers(exchange.headers, self._cors_origins))
        if not answer.headers:
            return lines + self._fixed_lines
        return lines + self._own_lines(tuple(answer.headers.items()))

    def _make_own_lines(self, headers: tuple[tuple[str, str], ...]) -> bytes:
        """The lines of an answer's own headers, and those of the fixed ones that it does not replace."""
        own = {name.lower().encode(): value.encode() for name, value in headers}
        return _lines([*own.items(), *(field for field in self._fixed if field[0] not in own)])


async def _when_gone(receive: Receive, close: Callable[[], None]) -> None:
    """Closes a stream once its client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    close()


def _content(exchange: Exchange, answer: Answer) -> tuple[bytes, bytes]:
    """The body in the coding it goes out in, and the lines that describe it."""
    body, coding, vary = answer.body, answer.coding, b""
    if coding is None and len(body) > MIN_BYTES:
        coding, vary = choose_coding(exchange.headers.get(b"accept-encoding", b"").decode("latin-1")), _VARY
        body = compress(body, coding)
    lines = b"content-type: %b\r\ncontent-length: %d\r\n" % (answer.media.encode(), len(body)) + vary
    if coding is not None and coding != IDENTITY:
        lines += b"content-encoding: %b\r\n" % coding.encode()
    return body, lines


def _lines(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])
