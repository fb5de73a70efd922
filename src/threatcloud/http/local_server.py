"""Beside the public port: the command line's socket (mode 0600: the database's owner only), and the metrics port."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from threatcloud.config import SettingError

#: The length of a socket's path is bounded by the system (108 on Linux, 104 elsewhere).
_MAX_PATH_BYTES: Final = 100


def socket_path(database: Path, ending: str = ".sock") -> Path:
    """Where the server of a database listens for the command line, or with another ending for its own processes."""
    path = database.resolve().with_name(database.name + ending)
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"threat-cloud-{name}.sock"


@asynccontextmanager
async def serve_local_socket(
    app: ASGIApp, path: Path, protocol: type[HttpToolsProtocol] = HttpToolsProtocol
) -> AsyncIterator[None]:
    """Serves the application on a socket at ``path`` as long as the context is open; it is removed at the end."""
    path.unlink(missing_ok=True)
    make, state = _connections(app, protocol)
    before = os.umask(0o177)
    try:
        server = await asyncio.get_running_loop().create_unix_server(make, str(path))
    finally:
        os.umask(before)
    try:
        yield
    finally:
        _end(server, state)
        path.unlink(missing_ok=True)


@asynccontextmanager
async def serve_loopback_port(app: ASGIApp, port: int) -> AsyncIterator[None]:
    """Serves the application on a port that only this machine reaches; on none when the port is 0."""
    if not port:
        yield
        return
    make, state = _connections(app)
    try:
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port)
    except OSError as error:
        raise SettingError(f"TC_METRICS_PORT: got {port}, which cannot be listened on: {error.strerror}") from error
    try:
        yield
    finally:
        _end(server, state)


def _connections(
    app: ASGIApp, protocol: type[HttpToolsProtocol] = HttpToolsProtocol
) -> tuple[Callable[[], HttpToolsProtocol], ServerState]:
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False)
    config.load()
    state = ServerState()
    return lambda: protocol(config, state, {}), state


def _end(server: asyncio.Server, state: ServerState) -> None:
    server.close()
    for connection in tuple(state.connections):
        connection.shutdown()
