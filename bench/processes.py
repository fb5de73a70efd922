"""Processes pinned to a core: the server and what it is held against on the first, the load on the second."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench.figures import NotMeasured

SERVER_CORE, LOAD_CORE = "0", "1"
_START_S = 120
_STOP_S = 60


def require_tools() -> None:
    """Ends with a clear message when wrk, taskset or chrt is missing, or a second core."""
    for tool in ("wrk", "taskset", "chrt"):
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is needed (Debian: apt-get install wrk util-linux)")
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: two cores are needed, one for the server and one for the load")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def pinned(core: str | None, arguments: Sequence[str], *, stands_back: bool = False) -> list[str]:
    """The command that runs Python with these arguments on a core (None: wherever the system puts it).

    ``stands_back``: whenever nothing else wants the core (``SCHED_IDLE``). What shares it with the load by niceness
    alone holds that up for a tick of 4 ms at a time, which is then seen as the server's.
    """
    return [*on(core), *(["chrt", "-i", "0"] if stands_back else []), sys.executable, *arguments]


def on(core: str | None) -> list[str]:
    """What goes before a command that is to run on a core."""
    return ["taskset", "-c", core] if core else []


@contextmanager
def serving(
    arguments: Sequence[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    core: str | None = SERVER_CORE,
) -> Iterator[int]:
    """A server on its core; gives its pid once it answers."""
    process = subprocess.Popen(
        pinned(core, arguments), env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise NotMeasured(f"the server ended with {process.returncode}")
        if _answers(port):
            return
        time.sleep(0.01)
    raise NotMeasured("the server did not start")


def _answers(port: int) -> bool:
    """Whether anything at all comes back from /health."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(1) != b""
    except OSError:
        return False


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; NotMeasured where it fails."""
    settings = {**os.environ, **(environment or {})}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout
