"""The server process: sockets, uvicorn's configuration, the sweep of time-outs, a graceful stop."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, Protocol, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGI3Application

from threatcloud.domain.errors import DomainError
from threatcloud.http.protocol import HttpProtocol, ServerLimits

_log = structlog.get_logger("serve")
_ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

App = ASGI3Application | ASGIApp


class CannotListen(DomainError):
    """The address, the port or the TLS certificate cannot be used; the message says which and why."""

    code = "cannot_listen"


class Helpers(Protocol):
    """Processes that answer on the same port."""

    async def start(self, listen: Callable[[], list[socket.socket]]) -> None:
        """Returns when all answer. ``listen`` gives sockets for one of them, bound and not yet listening.

        Raises CannotListen when one cannot be started.
        """

    def stop(self) -> None:
        """Has them take no more connections and end once what they owe is answered."""


def run_server(
    app: App,
    *,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    on_started: Callable[[str], None],
    limits: ServerLimits | None = None,
) -> int:
    """Serve ``app`` until SIGTERM or SIGINT. Gives the exit code: 0, or 1 when the app failed to start or stop.

    A stop takes no new connections, lets requests in flight finish for ``stop_grace_s`` and then stops the app; a
    second SIGINT cuts that short, with exit code 1. ``on_started`` is called with the base URL
    (``http://127.0.0.1:4000``, the port as it is when 0 was asked for) once requests are answered.
    Raises CannotListen before anything of the app has run.
    """
    server = Server(
        app,
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        on_started=on_started,
        limits=limits,
    )
    server.run()
    return server.exit_code


class Server(uvicorn.Server):
    """One listening server; ``run`` returns when it has stopped. ``should_exit = True`` stops it, from any thread."""

    exit_code = 0

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        on_started: Callable[[str], None],
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        limits: ServerLimits | None = None,
        sockets: Sequence[socket.socket] = (),
        helpers: Helpers | None = None,
    ) -> None:
        self._limits = limits or ServerLimits()
        super().__init__(_config(app, tls_cert, tls_key, self._limits))
        self._on_started = on_started
        self._helpers = helpers
        self._sockets = list(sockets) or _listen(host, port, is_shared=helpers is not None)
        self._url = _base_url("https" if tls_cert else "http", host, self._sockets[0].getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        _allow_open_files(2 * self._limits.connections)
        try:
            super().run(sockets or self._sockets)
        finally:
            self._close_sockets()

    async def serve_here(self) -> int:
        """Serve in the running event loop until SIGTERM or SIGINT; gives the exit code as ``run_server`` does."""
        _allow_open_files(2 * self._limits.connections)
        try:
            await self.serve(self._sockets)
        finally:
            self._close_sockets()
        return self.exit_code

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.exit_code = 1
            self.should_exit = True
            return
        self.servers = [await self._serve_socket(sock) for sock in sockets or self._sockets]
        self.started = True
        self._sweep_due_s, self._has_paused = asyncio.get_running_loop().time(), False
        self._sweep()
        if self._helpers is not None:
            try:
                await self._helpers.start(self._bind_again)
            except CannotListen as error:
                _log.error(error.message)
                await self.shutdown(sockets)
                self.exit_code = 1
                self.should_exit = True
                return
        self._on_started(self._url)

    def _bind_again(self) -> list[socket.socket]:
        """Sockets for another process on the addresses of this one: the system deals out connections among them."""
        return [_bind_beside(sock) for sock in self._sockets]

    async def _serve_socket(self, sock: socket.socket) -> asyncio.Server:
        secure = self.config.ssl is not None
        return await asyncio.get_running_loop().create_server(
            self._new_connection,
            sock=sock,
            backlog=self.config.backlog,
            ssl=self.config.ssl,
            ssl_handshake_timeout=self._limits.header_s if secure else None,
            ssl_shutdown_timeout=self._limits.linger_s if secure else None,
        )

    def _new_connection(self) -> HttpProtocol:
        return cast(type[HttpProtocol], self.config.http_protocol_class)(
            self.config, self.server_state, self.lifespan.state
        )

    def _sweep(self) -> None:
        """Has every connection look at its time-outs. After a pause of the server, only the next time: what clients
        sent meanwhile is to be read first."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        has_paused = now_s > self._sweep_due_s + self._limits.sweep_s and not self._has_paused
        self._sweeper = loop.call_later(self._limits.sweep_s, self._sweep)
        self._sweep_due_s, self._has_paused = now_s + self._limits.sweep_s, has_paused
        if has_paused:
            return
        for connection in tuple(self.server_state.connections):
            cast(HttpProtocol, connection).check(now_s)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._helpers is not None:
            self._helpers.stop()
        await super().shutdown(sockets)
        self._sweeper.cancel()
        self.exit_code = int(self.lifespan.should_exit or self.force_exit)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop as uvicorn does, but do not die of the signal in the end: a stop asked for is a success."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def _config(app: App, tls_cert: Path | None, tls_key: Path | None, limits: ServerLimits) -> uvicorn.Config:
    protocol = type("LimitedHttpProtocol", (HttpProtocol,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=limits.stop_grace_s,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    if tls_key is not None and tls_cert is None:
        raise CannotListen("A TLS key needs its certificate.")
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise CannotListen(f"The TLS certificate {tls_cert} cannot be used: {error}.") from error
    return config


def _listen(host: str, port: int, *, is_shared: bool) -> list[socket.socket]:
    """A bound socket for each address of ``host``, all on one port; ``::`` takes IPv4, too.

    An address that this machine lacks (``localhost`` names ::1 where IPv6 is off) is left out if another remains.
    ``is_shared``: other processes of this server can bind the same.
    """
    sockets: list[socket.socket] = []
    problems: list[OSError] = []
    for family, address in _addresses(host, port):
        try:
            if is_shared:  # else two servers of one user would silently share a port
                port = _probe(family, (address, port))
            sockets.append(_bind(family, (address, port), is_shared=is_shared))
        except OSError as error:
            problems.append(error)
        else:
            port = sockets[0].getsockname()[1]
    if not sockets or any(problem.errno not in _ABSENT for problem in problems):
        for sock in sockets:
            sock.close()
        raise _cannot_listen(host, port, problems[0])
    return sockets


def _bind_beside(listening: socket.socket) -> socket.socket:
    """A socket on the address of another, which gets connections once it listens, and not before."""
    sock = socket.socket(listening.family, listening.type)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        only = listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    sock.bind(listening.getsockname())
    return sock


def _bind(family: socket.AddressFamily, address: tuple[str, int], *, is_shared: bool) -> socket.socket:
    both = family == socket.AF_INET6 and address[0] == "::"
    return socket.create_server(address, family=family, dualstack_ipv6=both, reuse_port=is_shared)


def _probe(family: socket.AddressFamily, address: tuple[str, int]) -> int:
    """The port, once it is known that nobody has it."""
    with _bind(family, address, is_shared=False) as sock:
        return int(sock.getsockname()[1])


def _addresses(host: str, port: int) -> Sequence[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    reason = (error.strerror or str(error)).lower()
    return CannotListen(f"Cannot listen on {host} port {port}: {reason}.")


def _base_url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _allow_open_files(count: int) -> None:
    """Every connection is an open file; the usual soft limit of 1,024 would leave none for the database."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
