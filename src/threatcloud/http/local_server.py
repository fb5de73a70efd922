"""The local socket: the command line's way to the one writer, open to the database's owner only (mode 0600)."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

#: The length of a socket's path is bounded by the system (108 on Linux, 104 elsewhere).
_MAX_PATH_BYTES: Final = 100


def socket_path(database: Path) -> Path:
    """Where the server of a database listens for the command line."""
    path = database.resolve().with_name(database.name + ".sock")
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"threat-cloud-{name}.sock"


@asynccontextmanager
async def serve_local_socket(app: ASGIApp, path: Path) -> AsyncIterator[None]:
    """Serves the application on a socket at ``path`` as long as the context is open; it is removed at the end."""
    path.unlink(missing_ok=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False)
    config.load()
    state = ServerState()
    before = os.umask(0o177)
    try:
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: HttpToolsProtocol(config, state, {}), str(path)
        )
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.shutdown()
        path.unlink(missing_ok=True)
