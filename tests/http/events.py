"""A follower of the stream, as a browser's EventSource reads it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx


class Heard(NamedTuple):
    """An event: its id, its kind, its data."""

    id: str
    kind: str
    data: dict[str, Any]

    @property
    def value(self) -> str:
        """The value of the indicator it is about."""
        return str(self.data["ioc"]["value"])


class Ear:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.last_id = ""
        self.heartbeats = 0
        self.status = 0
        self.headers: httpx.Headers = httpx.Headers()
        self.open = threading.Event()
        self.ended = threading.Event()

    def take(self, block: list[str]) -> None:
        """Takes what stands between two empty lines."""
        fields = dict(line.split(": ", 1) for line in block if not line.startswith(":") and ": " in line)
        self.heartbeats += any(line.startswith(":") for line in block)
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.heard.append(Heard(fields["id"], fields["event"], json.loads(fields["data"])))

    def wait_for(self, count: int, seconds: float = 15.0) -> list[Heard]:
        """The events, once there are so many."""
        until = time.monotonic() + seconds
        while len(self.heard) < count:
            assert time.monotonic() < until, f"{len(self.heard)} of {count} events: {self.heard}"
            time.sleep(0.02)
        return self.heard

    def values(self, kind: str) -> list[str]:
        """The values of the events of a kind."""
        return [item.value for item in self.heard if item.kind == kind]


def read_all(client: httpx.Client, last_id: str | None = None, **params: Any) -> Ear:
    """What there is now after a place."""
    ear = Ear()
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with client.stream("GET", "/api/stream", params={**params, "follow": "false"}, headers=headers) as answer:
        _read(answer, ear)
    return ear


@contextmanager
def listening(client: httpx.Client, last_id: str | None = None, **params: Any) -> Iterator[Ear]:
    """A follower in a thread of its own; it is there once the context begins."""
    ear = Ear()
    headers = {"Last-Event-ID": last_id} if last_id else {}
    stop = threading.Event()

    def run() -> None:
        try:
            with client.stream("GET", "/api/stream", params=params, headers=headers, timeout=60) as answer:
                _read(answer, ear, stop)
        except httpx.TransportError:
            pass
        ear.open.set()
        ear.ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ear.open.wait(15)
    try:
        yield ear
    finally:
        stop.set()


def _read(answer: httpx.Response, ear: Ear, stop: threading.Event | None = None) -> None:
    ear.status, ear.headers = answer.status_code, answer.headers
    block: list[str] = []
    for line in answer.iter_lines():
        if line:
            block.append(line)
            continue
        if stop is not None and stop.is_set():
            return
        ear.take(block)
        ear.open.set()
        block = []
