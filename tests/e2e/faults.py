"""Nodes behind HAProxy that can break, and clients that go on until they are answered."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Place, Server
from tests.e2e.processes import ENVIRON, KEY, NONE, wait_until
from tests.e2e.test_nodes import report
from tests.engines import outside

#: How soon after the end of what was wrong all is as before.
RECOVERY_S: Final = 10.0
#: What is written between one fault and the next, at least.
BETWEEN: Final = 40
#: What everybody looks up: the first that the first writer tells of.
KNOWN: Final = "91.200.0.2"
#: A client gives up on an answer after this, and tries again.
_PATIENCE_S: Final = 5.0
_CONFIG: Final = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
_STORED: Final = "SELECT i.value, count(*) FROM sighting s JOIN indicator i ON i.pk = s.indicator GROUP BY i.value"


def free_port() -> int:
    """A port nobody has."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def port_of(server: Server) -> int:
    """Where it listens."""
    return urlsplit(server.url).port or 0


class Site:
    """A node for each address of the database, and HAProxy before them; ``port`` is its port."""

    def __init__(self, stack: ExitStack, folder: Path, urls: Sequence[str], environ: Mapping[str, str] = NONE) -> None:
        self._environs = [{**ENVIRON, **environ, "TC_DATABASE_URL": url} for url in urls]
        self._places = [Place(folder / f"node{number}") for number in range(len(urls))]
        for place in self._places:
            place.folder.mkdir()
            stack.callback(place.end)
        started = [self._start(number, 0) for number in range(len(urls))]
        self.nodes = [Server(process) for process in started]
        self.port = stack.enter_context(_proxy(folder, self.nodes))

    def _start(self, number: int, port: int) -> "subprocess.Popen[bytes]":
        return self._places[number].start("serve", "--port", str(port), environ=self._environs[number])

    def kill(self, number: int) -> None:
        """As a machine does that loses its power."""
        self.nodes[number].stop(signal.SIGKILL)

    def start_again(self, number: int) -> None:
        """Starts a node that ended where it was."""
        self.nodes[number] = Server(self._start(number, port_of(self.nodes[number])))


@contextmanager
def _proxy(folder: Path, nodes: list[Server]) -> Iterator[int]:
    """HAProxy as it is deployed, without TLS; gives its port."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    port = free_port()
    text = _CONFIG.read_text().replace("bind :8080", f"bind 127.0.0.1:{free_port()}")
    text = re.sub(r"bind :8443 .*", f"bind 127.0.0.1:{port}", text)
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"node{number}:4000", urlsplit(node.url).netloc)
    config = folder / "haproxy.cfg"
    config.write_text(text)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


class Client:
    """Writes with an Idempotency-Key, or looks up, one request after the other, each until it goes well."""

    def __init__(self, port: int, number: int, *, writes: bool) -> None:
        self._port, self._number, self.writes = port, number, writes
        self.done: list[str] = []
        self.errors: Counter[str] = Counter()
        self.last_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sent = 0
        while not self._ending.is_set():
            sent += 1
            value = f"91.{200 + self._number}.{sent // 250}.{sent % 250 + 1}"
            while not self._send(value):
                if self._ending.wait(0.1):
                    return
            self.done.append(value)
            self.last_s = time.monotonic()
            time.sleep(0.01)

    def _send(self, value: str) -> bool:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": value}
        try:
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)) as line:
                if self.writes:
                    line.request("POST", "/api/threats", json.dumps(report(value)), headers)
                else:
                    line.request("GET", f"/api/iocs/{KNOWN}", headers=headers)
                answer = line.getresponse()
                answer.read()
        except (OSError, HTTPException) as error:
            self.errors[type(error).__name__] += 1
            return False
        if answer.status not in {200, 201}:
            self.errors[str(answer.status)] += 1
        return answer.status in {200, 201}

    def end(self) -> None:
        """Stops after the request that is on its way, however that ends."""
        self._ending.set()
        self._thread.join()


class Load:
    """Clients of a site, from when the first write was acknowledged to the end of the block."""

    def __init__(self, port: int, *, writers: int, readers: int) -> None:
        self.clients = [Client(port, 0, writes=True)]
        wait_until(lambda: bool(self.clients[0].done), "the first write is acknowledged")
        self.clients += [Client(port, number, writes=number < writers) for number in range(1, writers + readers)]

    def recovery_s(self) -> float:
        """How long until each client has been answered again; then lets them go on for a while."""
        since_s = time.monotonic()
        wait_until(lambda: all(client.last_s > since_s for client in self.clients), "clients are served again")
        took_s = time.monotonic() - since_s
        assert took_s < RECOVERY_S
        enough = len(self.acknowledged()) + BETWEEN
        wait_until(lambda: len(self.acknowledged()) >= enough, "clients write on")
        return took_s

    def acknowledged(self) -> list[str]:
        """What was reported and acknowledged."""
        return [value for client in self.clients if client.writes for value in client.done]

    def errors(self) -> Counter[str]:
        """What clients met so far, by status or by what became of the connection."""
        return sum((client.errors for client in self.clients), Counter[str]())

    def end(self) -> None:
        """Has all clients stop."""
        for client in self.clients:
            client.end()

    def check(self, database: str, took_s: Mapping[str, float]) -> None:
        """What was acknowledged is stored, and once; no client met an error that does not pass. Says what happened."""
        stored: dict[str, int] = dict(outside(database, _STORED))
        written, errors = self.acknowledged(), self.errors()
        lost = [value for value in written if value not in stored]
        doubled = [value for value, count in stored.items() if count > 1]
        looked_up = sum(len(client.done) for client in self.clients if not client.writes)
        print(f"acknowledged {len(written)}, lost {len(lost)}, doubled {len(doubled)}, looked up {looked_up}")
        print(f"errors {dict(errors)}; seconds { ({name: round(value, 2) for name, value in took_s.items()}) }")
        assert not lost
        assert not doubled
        assert {name for name in errors if name.isdigit()} <= {"502", "503", "504"}
