"""The one way commands read and write: as a client of the HTTP API.

It is reached over TCP (``--url``), over the local socket of the server that runs on the database, or, when none runs,
inside this process, which opens the database for as long as the command lasts.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import note
from threatcloud.config import Settings, local_settings, unknown_variables
from threatcloud.http.local_server import socket_path
from threatcloud.storage.lock import DatabaseInUse

if TYPE_CHECKING:  # a tenth of a second of every start, of commands that never need it and of the server's
    import httpx

    from threatcloud.bootstrap import Node

T = TypeVar("T")
_TIMEOUT_S: Final = 120.0
_CONNECT_TIMEOUT_S: Final = 10.0
#: How long a server that starts or stops may hold the database without answering.
PATIENCE_S: Final = 5.0
_RETRY_S: Final = 0.2
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_CODES: Final = {
    400: ExitCode.USAGE,
    401: ExitCode.AUTH,
    403: ExitCode.AUTH,
    404: ExitCode.NOT_FOUND,
    429: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
}
_NEXT_STEPS: Final = {
    401: "; set TC_API_KEY or give --api-key-file",
    403: "; ask the operator for a key that has it (threat-cloud key create NAME --scope …)",
}


class Target(NamedTuple):
    """Where a command goes, as the command line says; None is not said."""

    url: str | None = None
    api_key_file: Path | None = None
    db_path: Path | None = None


class Refused(CommandFailed):
    """The API answered with a failure; ``retry_after_s`` is how long it asks to wait, or None."""

    def __init__(self, response: "httpx.Response") -> None:
        body = _decoded(response)
        reason = body.get("error") or f"answered {response.status_code} {response.reason_phrase}"
        self.status = response.status_code
        self.details: list[dict[str, Any]] = body.get("details") or []
        wait = response.headers.get("retry-after", "")
        self.retry_after_s = float(wait) if wait.isdigit() else None
        super().__init__(
            str(reason).rstrip(".") + _NEXT_STEPS.get(self.status, ""), _CODES.get(self.status, ExitCode.FAILED)
        )


class Api:
    """The API of one system. ``is_local``: every call is the operator's, and the local socket's routes are there."""

    def __init__(self, http: "httpx.AsyncClient", *, is_local: bool) -> None:
        self._http = http
        self.is_local = is_local

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> "httpx.Response":
        """The answer; a 404 that says ``ok`` (an indicator nobody reported) is one. ``body`` is encoded unless bytes.

        Raises Refused for every failure the API answers with, CommandFailed when it does not answer.
        """
        import httpx

        sent = dict(headers or {})
        content: bytes | None = None
        if body is not None:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        params = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params or None, content=content, headers=sent)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error
        if response.status_code >= 400 and not _decoded(response).get("ok"):
            raise Refused(response)
        return response

    async def get(self, path: str, **query: object) -> Any:
        """The ``data`` of a GET; parameters that are None are left out."""
        return _decoded(await self.send("GET", path, query=query))["data"]

    async def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The ``data`` of any other call."""
        return _decoded(await self.send(method, path, body=body, query=query))["data"]

    async def collect(self, path: str, limit: int, **query: object) -> list[Any]:
        """The first ``limit`` items of a collection, as many pages as that takes."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            size = min(200, limit - len(items))
            reply = _decoded(await self.send("GET", path, query={**query, "limit": size, "cursor": cursor}))
            items += reply["data"]
            cursor = reply["pagination"]["nextCursor"]
            if cursor is None:
                break
        return items


def segment(value: str) -> str:
    """A value as one segment of a path."""
    return quote(value, safe="")


async def patiently(send: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None) -> T:
    """The result of a call, made again as long as the server asks to wait; raises the refusal once ``stop`` is set."""
    while True:
        try:
            return await send()
        except Refused as refused:
            if refused.retry_after_s is None or (stop and stop.is_set()):
                raise
            await _sleep(max(1.0, refused.retry_after_s), stop)
            if stop and stop.is_set():
                raise


async def _sleep(seconds: float, stop: asyncio.Event | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await (stop or asyncio.Event()).wait()
    except TimeoutError:
        return


@asynccontextmanager
async def connect(
    target: Target, *, creates: bool = False, publishes: bool = False, needs_server: bool = False
) -> AsyncIterator[Api]:
    """The API the command line names.

    ``creates``: make the database where there is none yet. ``publishes``: where this process opens it, bring the
    published lists up to date first. ``needs_server``: never open it here, where it would be in the way of one that
    starts later. Raises CommandFailed when nothing answers there.
    """
    import httpx

    if target.url and target.db_path:
        raise CommandFailed("--url and --db-path name two different systems; give one of them", ExitCode.USAGE)
    url = target.url or (None if target.db_path else os.environ.get("TC_URL"))
    if url:
        headers = _authorization(target)
        async with httpx.AsyncClient(base_url=_checked(url), headers=headers, timeout=_timeout()) as http:
            yield Api(http, is_local=False)
        return
    settings = local_settings(target.db_path)
    for said in unknown_variables():
        note(said)
    if not creates and settings.database_url is None and not settings.db_path.exists():
        raise CommandFailed(
            f"there is no database at {settings.db_path}: start one with threat-cloud serve, or say where it is with "
            "--db-path FILE or --url URL",
            ExitCode.NOT_FOUND,
        )
    if needs_server and not _answers(socket_path(settings.db_path)):
        raise CommandFailed(
            f"no server runs on {settings.db_path}: start one with threat-cloud serve, or say --url URL",
            ExitCode.UNAVAILABLE,
        )
    found = await _reach(settings)
    if isinstance(found, Path):
        async with _client(httpx.AsyncHTTPTransport(uds=str(found))) as http:
            yield Api(http, is_local=True)
    else:
        async with _in_process(found, publishes) as http:
            yield Api(http, is_local=True)


async def _reach(settings: Settings) -> "Path | Node":
    """The socket of the server that has the database open; where none has, the database opened here."""
    path = socket_path(settings.own_path)
    give_up_at_s = time.monotonic() + PATIENCE_S
    while not _answers(path):
        from threatcloud.bootstrap import open_node
        from threatcloud.footprint import tune_collector
        from threatcloud.http.logs import configure_logs
        from threatcloud.services.loading import LateScreener

        configure_logs("warning", "auto")
        try:
            node = await open_node(settings, LateScreener(settings))
        except DatabaseInUse as error:
            if time.monotonic() > give_up_at_s:
                raise CommandFailed(
                    f"{error}, which does not answer on {path}; wait until it has ended, or stop it: kill {error.pid}",
                    ExitCode.UNAVAILABLE,
                ) from error
        else:
            tune_collector()
            return node
        await asyncio.sleep(_RETRY_S)
    return path


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PATIENCE_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@asynccontextmanager
async def _in_process(node: "Node", publishes: bool) -> "AsyncIterator[httpx.AsyncClient]":
    """A client of the system opened here; what it has to write is written at the end."""
    import httpx

    services = node.services
    try:
        if publishes:
            await services.publisher.start()
        async with _client(httpx.ASGITransport(node.local_app())) as http:
            yield http
        if publishes:
            await services.publisher.save()
    finally:
        try:
            await services.auditing.flush()
        finally:
            node.close()


def _client(transport: "httpx.AsyncBaseTransport") -> "httpx.AsyncClient":
    import httpx

    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=_timeout())


def _timeout() -> "httpx.Timeout":
    import httpx

    return httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandFailed(f"--url: got {url!r}, wants an address such as http://127.0.0.1:4000", ExitCode.USAGE)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        note(f"threat-cloud: warning: the API key travels unencrypted to {parts.hostname}; use https")
    return url


def _authorization(target: Target) -> dict[str, str]:
    if target.api_key_file:
        key = target.api_key_file.read_text("utf-8").strip()
    else:
        key = os.environ.get("TC_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CommandFailed("the API key must be printable ASCII without spaces; look at where it comes from")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _unreachable(url: "httpx.URL", error: "httpx.TransportError") -> CommandFailed:
    reason = str(error) or type(error).__name__
    return CommandFailed(
        f"{url} does not answer: {reason}; see that it runs (threat-cloud serve) and that the address is right",
        ExitCode.UNAVAILABLE,
    )


def _decoded(response: "httpx.Response") -> dict[str, Any]:
    try:
        found = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
