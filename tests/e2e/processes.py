"""A server of several processes, and a connection to each of them."""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tests.e2e.conftest import PATIENCE_S, Place, Server

KEY: Final = "a-key-for-this-test"
MANY: Final = "1000000"
ENVIRON: Final = {
    "TC_API_KEYS": f"{KEY}:read+write+audit+admin",
    "TC_RATE_LIMIT_WRITE": MANY,
    "TC_RATE_LIMIT_READ": MANY,
    "TC_RATE_LIMIT_FEED": MANY,
    "TC_RATE_LIMIT_ANONYMOUS": MANY,
}
NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Reply(NamedTuple):
    """An answer, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return json.loads(self.body)["data"]


class Line:
    """One connection, which stays with the process that took it."""

    def __init__(self, url: str, key: str | None = KEY, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port
        self._connection = (
            http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
            if context
            else http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        )
        self._key = key

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = NONE) -> Reply:
        """The answer; ``body`` is encoded unless it is bytes, or an iterator of them, which go as chunks."""
        sent = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if isinstance(body, dict | list):
            body = json.dumps(body)
        if body is not None:
            sent["Content-Type"] = "application/json"
        self._connection.request(method, path, body, {**sent, **headers})
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())

    def open(self, path: str) -> http.client.HTTPResponse:
        """An answer whose body has yet to be read."""
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {self._key}"})
        answer = self._connection.getresponse()
        assert answer.status == 200
        return answer

    def report(self, value: str) -> None:
        """Reports an address, which must be acknowledged."""
        item = {"type": "ip", "value": value, "source": "manual", "category": "scanner", "severity": "high"}
        reply = self.ask("POST", "/api/threats", {"threats": [item]})
        assert reply.status == 201, reply

    def process(self) -> str:
        """Which process it is: ids of requests that a process answers itself begin with a word of its own."""
        return self.ask("GET", "/health").headers["x-request-id"].partition("-")[0]

    def close(self) -> None:
        self._connection.close()


def home_of(url: str) -> str:
    """The process that writes: it answers this, whichever took the connection."""
    line = Line(url)
    found = line.ask("GET", "/api/agents").headers["x-request-id"].partition("-")[0]
    line.close()
    return found


@contextmanager
def lines_to_all(
    url: str, count: int, key: str | None = KEY, context: ssl.SSLContext | None = None
) -> Iterator[dict[str, Line]]:
    """A connection to each of so many processes."""
    found: dict[str, Line] = {}
    give_up_at_s = time.monotonic() + PATIENCE_S
    try:
        while len(found) < count:
            assert time.monotonic() < give_up_at_s, f"{len(found)} of {count} processes answer"
            line = Line(url, key, context)
            name = line.process()
            if name in found:
                line.close()
            else:
                found[name] = line
        yield found
    finally:
        for line in found.values():
            line.close()


def readers_of(server: Server) -> list[int]:
    """The processes that a server has started."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text("ascii")
    return [int(word) for word in text.split()]


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    return False


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Waits for something that must come true."""
    give_up_at_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at_s, what
        time.sleep(0.02)


def start(place: Place, workers: int, **changes: str) -> Server:
    """A server of so many processes."""
    return place.serve("--workers", str(workers), environ={**ENVIRON, **changes})
