"""Three nodes behind HAProxy, a primary and a synchronous standby: what breaks costs no acknowledged write."""

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
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.e2e.conftest import Place, Server
from tests.e2e.postgres import OwnPostgres, own_postgres
from tests.e2e.processes import ENVIRON, KEY, wait_until
from tests.e2e.test_nodes import report
from tests.engines import binaries, outside

RECOVERY_S: Final = 10.0
WRITERS, READERS = 4, 12
#: What is written between one fault and the next, at least.
BETWEEN: Final = 40
#: What everybody looks up: the first that the first writer tells of.
_KNOWN: Final = "91.200.0.2"
#: A client gives up on an answer after this, and tries again.
_PATIENCE_S: Final = 5.0
_CONFIG: Final = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
_STORED: Final = "SELECT i.value, count(*) FROM sighting s JOIN indicator i ON i.pk = s.indicator GROUP BY i.value"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def proxy(folder: Path, nodes: list[Server]) -> Iterator[int]:
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
        self._port, self._number, self._writes = port, number, writes
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
                time.sleep(0.1)
            self.done.append(value)
            self.last_s = time.monotonic()
            time.sleep(0.01)

    def _send(self, value: str) -> bool:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": value}
        try:
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)) as line:
                if self._writes:
                    line.request("POST", "/api/threats", json.dumps(report(value)), headers)
                else:
                    line.request("GET", f"/api/iocs/{_KNOWN}", headers=headers)
                answer = line.getresponse()
                answer.read()
        except (OSError, HTTPException) as error:
            self.errors[type(error).__name__] += 1
            return False
        if answer.status not in {200, 201}:
            self.errors[str(answer.status)] += 1
        return answer.status in {200, 201}

    def end(self) -> None:
        """Stops after the request that is on its way."""
        self._ending.set()
        self._thread.join()


def recovery_s(clients: list[Client]) -> float:
    """How long until each client has been answered again; then lets them go on for a while."""
    since_s = time.monotonic()
    wait_until(lambda: all(client.last_s > since_s for client in clients), "clients are served again")
    took_s = time.monotonic() - since_s
    assert took_s < RECOVERY_S
    enough = acknowledged(clients) + BETWEEN
    wait_until(lambda: acknowledged(clients) >= enough, "clients write on")
    return took_s


def acknowledged(clients: list[Client]) -> int:
    return sum(len(client.done) for client in clients[:WRITERS])


def hold_the_turn(primary: OwnPostgres) -> None:
    """A transaction that says nothing holds what every commit needs."""
    with psycopg.connect(primary.url) as idle:
        idle.execute("SELECT 1 FROM commit_clock FOR UPDATE")
        time.sleep(3)


def promote(standby: OwnPostgres) -> None:
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")


def test_no_acknowledged_write_is_lost_or_doubled_whatever_breaks(tmp_path: Path) -> None:
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no PostgreSQL with pg_basebackup")
    took_s: dict[str, float] = {}
    clients: list[Client] = []
    with ExitStack() as stack:
        primary = stack.enter_context(own_postgres())
        standby = stack.enter_context(own_postgres(primary))
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        in_step = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: bool(outside(primary.url, in_step)), "the standby is synchronous")
        hosts = ",".join(url.partition("host=")[2] for url in (primary.url, standby.url))
        url = f"postgresql://test@/postgres?host={hosts}&target_session_attrs=read-write"
        environ = {**ENVIRON, "TC_DATABASE_URL": url, "TC_DATABASE_POOL": "2"}
        nodes: list[Server] = []
        for number in range(3):
            place = Place(tmp_path / f"node{number}")
            place.folder.mkdir()
            stack.callback(place.end)
            nodes.append(Server(place.start("serve", "--port", "0", environ=environ)))
        port = stack.enter_context(proxy(tmp_path, nodes))
        try:
            clients.append(Client(port, 0, writes=True))
            wait_until(lambda: bool(clients[0].done), "the first write is acknowledged")
            clients += [Client(port, number, writes=number < WRITERS) for number in range(1, WRITERS + READERS)]
            recovery_s(clients)
            hold_the_turn(primary)
            took_s["pool and turn taken"] = recovery_s(clients)
            os.kill(nodes[0].pid, signal.SIGKILL)
            took_s["node killed"] = recovery_s(clients)
            primary.crash()
            time.sleep(0.5)
            primary.start()
            took_s["restart"] = recovery_s(clients)
            wait_until(lambda: bool(outside(primary.url, in_step)), "the standby is synchronous")
            primary.crash(signal.SIGKILL)
            promote(standby)
            took_s["promotion"] = recovery_s(clients)
        finally:
            for client in clients:
                client.end()
        stored: dict[str, Any] = dict(outside(standby.url, _STORED))
    written = [value for client in clients[:WRITERS] for value in client.done]
    looked_up = sum(len(client.done) for client in clients[WRITERS:])
    errors = sum((client.errors for client in clients), Counter[str]())
    print(f"acknowledged {len(written)}, looked up {looked_up}; errors {dict(errors)}; recovery in seconds {took_s}")
    assert {value: stored.get(value) for value in written} == dict.fromkeys(written, 1)
    statuses = {name for name in errors if name.isdigit()}
    assert statuses <= {"502", "503", "504"}
