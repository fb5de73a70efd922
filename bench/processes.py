"""Servers in processes of their own, pinned to the first core, and wrk pinned to the second."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SERVER_CORE, LOAD_CORE = "0", "1"
SERVER = (sys.executable, "-m", "threatcloud", "serve")
_FIGURES = re.compile(r"Requests/sec:\s+([\d.]+)")
_QUANTILE = r"{}%\s+([\d.]+)(us|ms|s)"
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Load(NamedTuple):
    """What wrk saw: requests a second, median and 99th percentile, answers that were not 2xx or 3xx."""

    requests_a_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def require_tools() -> None:
    """Ends with a clear message when wrk or taskset is missing."""
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is needed (Debian: apt-get install wrk util-linux)")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def pinned(arguments: Sequence[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """A server process on its core; gives its pid once it accepts connections."""
    with running(["taskset", "-c", SERVER_CORE, sys.executable, *arguments], port, environment) as pid:
        yield pid


@contextmanager
def running(command: Sequence[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """A server process, wherever the system puts it; gives its pid once it accepts connections."""
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"bench: the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except urllib.error.HTTPError:
            return  # a floor may answer anything
        except OSError:
            time.sleep(0.05)
    sys.exit("bench: the server did not start")


def wrk(port: int, script: Path, seconds: int, connections: int = 16, core: str | None = LOAD_CORE) -> Load:
    """Loads a server with a Lua script of requests, from a core of its own or from wherever the system puts it."""
    pin = ["taskset", "-c", core] if core else []
    command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    text = subprocess.run(
        [*command, "-s", str(script), f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True
    ).stdout
    rate = _FIGURES.search(text)
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    assert rate is not None
    return Load(float(rate[1]), _quantile_ms(text, 50), _quantile_ms(text, 99), int(errors[1]) if errors else 0)


def _quantile_ms(text: str, percent: int) -> float:
    found = re.search(_QUANTILE.format(percent), text)
    assert found is not None
    return float(found[1]) * _UNITS_MS[found[2]]
