"""Requests to servers that operators name: every address is checked, and the one that was checked is connected to.

A name is resolved once for each request, here, and the connection goes to an address of that answer: another answer a
moment later (DNS rebinding) has no say. The name still goes into the Host header, and the certificate must be its own.
No proxy of the environment is used, and no connection is kept: a kept one could serve another name of its address.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin

from threatcloud.domain.address import Network
from threatcloud.domain.errors import DomainError
from threatcloud.domain.outbound import Destination, OutboundRefused, destination, refusal

if TYPE_CHECKING:  # a tenth of a second of every start, of servers that never need it
    import httpx

USER_AGENT: Final = "threat-cloud"
MAX_REDIRECTS: Final = 5
MAX_ADDRESSES: Final = 8
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

#: Gives the addresses of a host name for a port; raises OSError when there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Unreachable(DomainError):
    """The other side did not answer, not in time, or with too much; the message says which."""

    code = "unreachable"


class Limits(NamedTuple):
    """How long a whole request may take, how long a connection, and how large its answer may be."""

    total_s: float
    connect_s: float
    answer_bytes: int


class Reply(NamedTuple):
    """An answer without its body: header names in lower case, and where redirects have led."""

    status: int
    headers: Mapping[str, str]
    url: str


class Order(NamedTuple):
    """A request: ``follows``: whether a GET goes where redirects lead, each hop checked as the first."""

    method: str
    url: str
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes = b""
    follows: bool = False


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """What the system says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Outbound:
    """Sends requests. ``allowed``: networks beside the internet that may be reached."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve = system_resolve) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()

    def check(self, url: str) -> Destination:
        """Where a URL leads, as far as it says so itself; OutboundRefused when that can never be connected to.

        What a name resolves to is looked at when it is connected to.
        """
        found = destination(url)
        if found.address is not None:
            self._check_address(found.host, found.address)
        return found

    def _check_address(self, host: str, address: str) -> None:
        reason = refusal(address, self._allowed)
        if reason is not None:
            shown = address if host == address else f"{host} is {address}, which"
            raise OutboundRefused(
                f"{shown} {reason}; TC_OUTBOUND_ALLOW names networks that may be reached all the same"
            )

    async def send(self, order: Order, limits: Limits, take: Callable[[bytes], object]) -> Reply:
        """Sends a request; the body of the answer goes to ``take`` as it arrives, as it was sent (a
        Content-Encoding is not undone). Raises OutboundRefused, Unreachable.
        """
        try:
            async with asyncio.timeout(limits.total_s):
                return await self._send(order, limits, take)
        except TimeoutError:
            raise Unreachable(f"no whole answer within {limits.total_s:g} s") from None

    async def _send(self, order: Order, limits: Limits, take: Callable[[bytes], object]) -> Reply:
        url = order.url
        for _ in range(MAX_REDIRECTS + 1):
            found = self.check(url)
            reply, location = await self._ask(order, found, limits, take)
            if location is None:
                return reply
            url = _next(found, location)
        raise Unreachable(f"over {MAX_REDIRECTS} redirects")

    async def _ask(
        self, order: Order, found: Destination, limits: Limits, take: Callable[[bytes], object]
    ) -> tuple[Reply, str | None]:
        """The answer of one server, or where it sends us."""
        import httpx

        timeout = httpx.Timeout(limits.total_s, connect=limits.connect_s)
        once = httpx.Limits(max_keepalive_connections=0)
        problem: Exception | None = None
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout, limits=once) as http:
            for address in await self._addresses(found):
                try:
                    return await self._exchange(http, _request(order, found, address), order, found, limits, take)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    problem = error
                except httpx.HTTPError as error:
                    raise Unreachable(f"{found.host}: {str(error) or type(error).__name__}") from error
        raise Unreachable(f"{found.host} cannot be connected to: {problem or 'no address'}") from problem

    async def _addresses(self, found: Destination) -> Sequence[str]:
        """The addresses to try, all of which may be connected to: one that may not spoils the rest, since a name that
        leads inwards and outwards at once is up to no good."""
        if found.address is not None:
            return [found.address]
        try:
            addresses = await self._resolve(found.host, found.port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{found.host} has no address: {error}") from error
        for address in addresses:
            self._check_address(found.host, address)
        return addresses[:MAX_ADDRESSES]

    async def _exchange(
        self,
        http: "httpx.AsyncClient",
        request: "httpx.Request",
        order: Order,
        found: Destination,
        limits: Limits,
        take: Callable[[bytes], object],
    ) -> tuple[Reply, str | None]:
        response = await _sent(http, request)
        try:
            location = response.headers.get("location")
            headers = {name.lower(): value for name, value in response.headers.items()}
            reply = Reply(response.status_code, headers, found.url)
            if order.follows and response.status_code in _REDIRECTS and location:
                return reply, location
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > limits.answer_bytes:
                    raise Unreachable(f"the answer is over {limits.answer_bytes:,} bytes")
                take(piece)
            return reply, None
        finally:
            await response.aclose()


async def _sent(http: "httpx.AsyncClient", request: "httpx.Request") -> "httpx.Response":
    """The head of the answer. Raises httpx.HTTPError."""
    import httpx

    try:
        return await http.send(request, stream=True)
    except AttributeError as error:
        # Where the other side hangs up as soon as we are there, uvloop has no socket any more whose address anyio asks.
        if error.name != "getpeername":
            raise
        raise httpx.ReadError("the connection was closed at once") from error


def _request(order: Order, found: Destination, address: str) -> "httpx.Request":
    """The request to the address; the name is in the Host header, and what the certificate must be for."""
    import httpx

    host = f"[{address}]" if ":" in address else address
    url = f"{found.scheme}://{host}:{found.port}{found.target}"
    headers = {"Host": found.authority, "User-Agent": USER_AGENT, "Accept": "*/*", **order.headers}
    return httpx.Request(
        order.method, url, headers=headers, content=order.body or None, extensions={"sni_hostname": found.host}
    )


def _next(found: Destination, location: str) -> str:
    """Where a redirect leads. Not from https to http: what was to be private would no longer be."""
    url = urljoin(found.url, location)
    if found.scheme == "https" and not url.startswith("https:"):
        raise OutboundRefused("redirects from https to http are not followed")
    return url
