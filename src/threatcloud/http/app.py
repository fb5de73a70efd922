"""The one layer between the server and the handlers: every request passes here in the order

route, caller, rate limit, scope, body, query, handler, coding, headers, figures.

It is one ASGI application and no stack of middleware: each layer costs, and the order matters.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import DomainError, Forbidden, RateLimited, TooLarge, Unauthenticated, WrongMediaType
from threatcloud.http import metrics
from threatcloud.http.answer import Answer
from threatcloud.http.auth import Gate, client_address
from threatcloud.http.context import Services
from threatcloud.http.cors import preflight
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.errors import Render, answer_error, failure
from threatcloud.http.exchange import Exchange
from threatcloud.http.forms import check_media
from threatcloud.http.local import ENDPOINTS as LOCAL_ENDPOINTS
from threatcloud.http.rate_limit import Allowance
from threatcloud.http.request_id import request_id as request_id_of
from threatcloud.http.routes import Found, Route, RouteTable
from threatcloud.http.sending import Sender
from threatcloud.http.shared_limits import SharedLimiter
from threatcloud.services.access import LOCAL_OPERATOR
from threatcloud.setting_values import Networks

_log = structlog.get_logger("http")
#: What the ledger enters in aggregate; a look-up in bulk is a POST and a read all the same.
_READS: Final = frozenset({RateClass.READ, RateClass.FEED})


class Gateway:
    """Answers every HTTP request.

    With ``local`` it serves the socket that only this machine's operator can open: every call is the operator's,
    without key or limit, and the routes of the command line are there too.
    """

    def __init__(self, services: Services, *, local: bool = False) -> None:
        settings = services.settings
        self._services = services
        self._local = local
        self._table = RouteTable((*services.endpoints, *LOCAL_ENDPOINTS) if local else services.endpoints)
        self._gate = Gate(
            services.ring, public_read=settings.public_read, anonymous_upload=settings.allow_anonymous_upload
        )
        self._limiter = services.limiter
        self._shared = None if local else services.shared_limiter
        self._limits = {
            RateClass.READ: settings.rate_limit_read,
            RateClass.WRITE: settings.rate_limit_write,
            RateClass.FEED: settings.rate_limit_feed,
        }
        self._sender = Sender(settings.cors_origins, is_tls=settings.tls_cert is not None)
        self._trusted_proxies = settings.trusted_proxies
        self._logs_requests = settings.log_level == "debug"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, whatever happens."""
        started_s = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))
        exchange = Exchange(scope, headers, request_id)
        try:
            answer = await self._answer(exchange, receive)
        except DomainError as error:
            answer = answer_error(error, request_id, _render(exchange))
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001 - logged whole; the client gets the generic sentence
            _log.exception("request failed", request_id=request_id, route=exchange.route_name)
            message = "The server failed to answer; tell its operator the requestId."
            answer = _render(exchange)(500, "internal", message, request_id, (), {})
        if exchange.dialect is not None:
            answer.headers |= exchange.dialect.allowance(exchange.allowance)
        if answer.status >= 400 and exchange.leaves_much_unread():
            answer.headers["Connection"] = "close"  # said, so that no client sends its next request into the end
        if answer.stream is None:
            await self._sender.send(exchange, answer, send)
        seconds = time.perf_counter() - started_s  # of a stream until it begins
        self._services.requests.note(exchange.route_name, exchange.method, answer.status, seconds)
        if self._logs_requests:
            _log.debug(
                "request",
                route=exchange.route_name,
                method=exchange.method,
                status=answer.status,
                ms=round(seconds * 1000, 2),
                request_id=request_id,
                address=exchange.address,
            )
        if answer.stream is not None:
            await self._sender.stream(exchange, answer, receive, send)

    async def _answer(self, exchange: Exchange, receive: Receive) -> Answer:
        services, scope = self._services, exchange.scope
        exchange.address = _address(scope, self._trusted_proxies)
        way = self._way(exchange) if self._shared is None else await self._counted_way(exchange, self._shared)
        if isinstance(way, Answer):
            return way
        route, params, caller = way
        endpoint = route.endpoint
        call = Call(services, caller, exchange.headers, exchange.request_id)
        call.params = params
        call.query = route.query.read(scope["query_string"])
        if route.body is not None:
            media = exchange.headers.get(b"content-type", endpoint.takes[0].encode()).decode("latin-1")
            check_media(media, endpoint.takes)
            call.raw_body = await _read_body(exchange.headers, receive, endpoint.max_body_bytes)
            exchange.has_read_body = True
            call.body = route.body.read(call.raw_body, media)
        elif endpoint.streams_body:
            call.stream = _stream_body(exchange, receive, endpoint.max_body_bytes)
        if endpoint.streams:
            call.may_still = partial(self._may_still, exchange, endpoint)
        answer = await endpoint.handler(call)
        if endpoint.access is not Access.OPEN and endpoint.rate in _READS:
            services.auditing.note_read(endpoint.path, caller)
        return answer

    def _way(self, exchange: Exchange) -> tuple[Route, dict[str, str], Caller] | Answer:
        """Where the request leads and who sent it, or what it is answered at once."""
        found = self._table.find(exchange.scope["raw_path"])
        if found is None:
            return self._no_route(exchange)
        method = exchange.method
        route = found.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            return self._wrong_method(exchange, found)
        exchange.route_name, exchange.dialect = route.endpoint.path, route.endpoint.dialect
        return route, found.params, self._admit(exchange, route.endpoint)

    async def _counted_way(
        self, exchange: Exchange, shared: SharedLimiter
    ) -> tuple[Route, dict[str, str], Caller] | Answer:
        """As ``_way``, counted by all nodes, too."""
        try:
            return self._way(exchange)
        finally:
            if exchange.taken is not None:
                rate_class, key, limit = exchange.taken
                allowance = await shared.take(rate_class, key, exchange.address, limit)
                if allowance is not None:
                    exchange.allowance = allowance
                    if allowance.retry_after_s:
                        raise self._refusal(rate_class, allowance)

    def _admit(self, exchange: Exchange, endpoint: Endpoint) -> Caller:
        """The caller, once its key, its rate and its scope are in order."""
        if self._local:
            return LOCAL_OPERATOR
        now_s = time.monotonic()
        try:
            sent, now = exchange.credential(), self._services.clock()
            caller = self._gate.identify(sent, endpoint.access, exchange.address, now)
        except Unauthenticated:
            self._take(exchange, "failed authentication", "", now_s)
            raise
        if endpoint.rate is not RateClass.NONE:
            if caller.mask:
                self._take(exchange, endpoint.rate, caller.reporter, now_s)
            else:
                self._take(exchange, "anonymous", "", now_s)
        self._gate.authorise(caller, endpoint.access)
        return caller

    def _may_still(self, exchange: Exchange, endpoint: Endpoint) -> bool:
        """Whether a caller that was let in would be let in again."""
        if self._local:
            return True
        try:
            sent, now = exchange.credential(), self._services.clock()
            self._gate.authorise(self._gate.identify(sent, endpoint.access, exchange.address, now), endpoint.access)
        except (Unauthenticated, Forbidden):
            return False
        return True

    def _take(self, exchange: Exchange, rate_class: str, key: str, now_s: float) -> None:
        if self._local:
            return
        limit = self._limits.get(rate_class, self._services.settings.rate_limit_anonymous)  # type: ignore[call-overload]
        allowance = self._limiter.take(rate_class, key, exchange.address, limit, now_s)
        exchange.allowance = allowance
        if allowance.retry_after_s:
            raise self._refusal(rate_class, allowance)
        if self._shared is not None:
            exchange.taken = (rate_class, key, limit)

    def _refusal(self, rate_class: str, allowance: Allowance) -> RateLimited:
        """What is said where a limit has nothing left; it is counted."""
        self._services.requests.note_refusal(rate_class)
        wait_s = allowance.retry_after_s
        said = f"more than {allowance.limit} requests a minute ({rate_class}); try again in {wait_s} s"
        return RateLimited(said, wait_s)

    def _no_route(self, exchange: Exchange) -> Answer:
        self._take(exchange, "anonymous", "", time.monotonic())
        return failure(404, "not_found", "There is no such route; GET /openapi.json lists them.", exchange.request_id)

    def _wrong_method(self, exchange: Exchange, found: Found) -> Answer:
        methods = sorted(found.routes.keys() | ({"HEAD"} if "GET" in found.routes else set()))
        origins = self._services.settings.cors_origins
        if exchange.method == "OPTIONS" and (answer := preflight(exchange.headers, origins, methods)):
            return answer
        self._take(exchange, "anonymous", "", time.monotonic())
        message = f"{exchange.method} is not possible here; {', '.join(methods)} is."
        return failure(405, "method_not_allowed", message, exchange.request_id, (), {"Allow": ", ".join(methods)})


def _address(scope: Scope, trusted_proxies: Networks) -> str:
    """The client's address. A proxy may add a header line of its own: together they are one list (RFC 9110 5.3)."""
    peer = scope["client"][0] if scope["client"] else ""
    if not trusted_proxies:
        return str(peer)
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client_address(peer, forwarded.decode("latin-1"), trusted_proxies)


def _render(exchange: Exchange) -> Render:
    """How a refusal of this request is told."""
    return failure if exchange.dialect is None else exchange.dialect.failure


async def _read_body(headers: dict[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    """The whole body; TooLarge once it passes the limit of the route; WrongMediaType when it is in a coding."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise WrongMediaType("a body with a Content-Encoding is not taken; send it plain")
    too_large = TooLarge(f"the body is over {max_bytes} bytes; send it in parts")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise too_large
        more = message.get("more_body", False)
    return b"".join(chunks)


def _stream_body(exchange: Exchange, receive: Receive, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces. WrongMediaType at once for a form; TooLarge when it says it is over the limit, or is."""
    media = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media.startswith(b"multipart/"):
        raise WrongMediaType("the body must be the file itself, not a form: curl --data-binary @FILE")
    if exchange.headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b"gzip", b"zstd"):
        raise WrongMediaType("a body is taken plain, or packed with gzip or zstd")
    too_large = TooLarge(f"the body is over {max_bytes} bytes; send it in parts")
    length = exchange.headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large

    async def pieces() -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message.get("body", b"")
            size += len(piece)
            if size > max_bytes:
                raise too_large
            more = message.get("more_body", False)
            exchange.has_read_body = not more
            yield piece

    return pieces()


def make_metrics_app(services: Services) -> ASGIApp:
    """The application of the metrics port: the figures, whatever is asked."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        body = metrics.render(services.requests, services)
        headers = [(b"content-type", metrics.MEDIA.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def make_local_app(services: Services) -> ASGIApp:
    """The ASGI application of the local socket."""
    return Gateway(services, local=True)


def make_app(gateway: ASGIApp, lifespan: Callable[[], AbstractAsyncContextManager[None]]) -> ASGIApp:
    """The ASGI application: a gateway, and a lifespan that starts and stops what runs beside requests."""

    @asynccontextmanager
    async def run(_app: Any) -> AsyncIterator[None]:
        async with lifespan():
            yield

    beside = Router(lifespan=run)

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (gateway if scope["type"] == "http" else beside)(scope, receive, send)

    app.eager = True  # type: ignore[attr-defined] # nothing in it asks for the current task (see http/eager.py)
    return app
