"""A real server killed at random moments under load: what it acknowledged is there, once, and everything adds up."""

import http.client
import json
import random
import resource
import shutil
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import PATIENCE_S, Place, Server
from threatcloud.domain.audit import Verdict, verify_chain
from threatcloud.services.secrets import load_secret
from threatcloud.storage import ledger
from threatcloud.storage.sqlite import SQLiteConnection, check_database

KEY: Final = "a-key-for-this-test"
MANY: Final = "1000000"
ENVIRON: Final = {
    "TC_API_KEYS": f"{KEY}:read+write+audit",
    "TC_RATE_LIMIT_WRITE": MANY,
    "TC_RATE_LIMIT_READ": MANY,
    "TC_RATE_LIMIT_FEED": MANY,
    "TC_LOG_LEVEL": "error",
}
HEADERS: Final = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
SHARED: Final = "91.240.200.1"
REPORTERS: Final = 4
SIGHTERS: Final = 2
KILLS: Final = 4


class Load:
    """Threads that report and sight without a pause, through any number of restarts, and remember what was answered.

    Every fact carries a mark of its own in its metadata or context.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: set[str] = set()
        self.wrong: list[str] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._report, args=(number,)) for number in range(REPORTERS)]
        self._threads += [threading.Thread(target=self._sight, args=(number,)) for number in range(SIGHTERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when every thread has ended."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _report(self, thread: int) -> None:
        """Batches of three, each sent again under its Idempotency-Key until it is answered."""
        for number in self._numbers():
            marks = [f"report-{thread}-{number}-{item}" for item in range(3)]
            values = [SHARED, f"91.{241 + thread}.{number // 250}.{number % 250 + 1}", f"bad-{thread}-{number}.xyz"]
            kinds = ["ip", "ip", "domain"]
            said = [report(*item) for item in zip(kinds, values, marks, strict=True)]
            while not self._stopped.is_set():
                if self._post("/api/threats", {"threats": said}, {"Idempotency-Key": f"{thread}-{number}"}):
                    self.acknowledged.update(marks)
                    break

    def _sight(self, thread: int) -> None:
        """Sightings, each sent once."""
        for number in self._numbers():
            mark = f"sighting-{thread}-{number}"
            if self._post("/api/sightings", {"value": SHARED, "source": "manual", "context": {"mark": mark}}):
                self.acknowledged.add(mark)

    def _numbers(self) -> Iterator[int]:
        number = 0
        while not self._stopped.is_set():
            yield number
            number += 1

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> bool:
        """Whether it was acknowledged; anything but 201, 503 and a broken connection is wrong."""
        try:
            status, text = post(self.url, path, body, headers)
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
            return False
        if status not in (201, 503):
            self.wrong.append(f"{path}: {status} {text!r}")
        return status == 201


def report(kind: str, value: str, mark: str) -> dict[str, Any]:
    said = {"type": kind, "value": value, "source": "manual", "category": "scanner", "severity": "high"}
    return {**said, "metadata": {"mark": mark, "mitreId": "T1110"}}


def post(url: str, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), {**HEADERS, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a fresh reader finds in the database."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def counted(database: Path, sql: str) -> Counter[Any]:
    """Rows of a key and a count, without the zeros."""
    return Counter({row[:-1]: row[-1] for row in query(database, sql) if row[-1]})


SEEN: Final = "FROM sighting s JOIN indicator i ON i.pk = s.indicator WHERE s.kind = 'positive'"
CATEGORY: Final = "coalesce({}.category, 'uncategorized')"
#: A rollup, and the same counted from the facts and states it stands for.
EQUAL: Final = {
    "sightings by hour": (
        "SELECT hour, type, category, sightings FROM rollup_hour",
        f"SELECT s.observed_at / 3600000, i.type, {CATEGORY.format('s')}, count(*) {SEEN} GROUP BY 1, 2, 3",
    ),
    "indicators by hour": (
        "SELECT hour, type, category, indicators FROM rollup_hour",
        f"SELECT first_seen / 3600000, type, {CATEGORY.format('i')}, count(*) FROM indicator i GROUP BY 1, 2, 3",
    ),
    "last seen": (
        "SELECT hour, type, category, country, indicators FROM rollup_last_seen",
        f"SELECT last_seen / 3600000, type, {CATEGORY.format('i')}, coalesce(country, ''), count(*) FROM indicator i "
        "GROUP BY 1, 2, 3, 4",
    ),
    "techniques": (
        "SELECT hour, technique, sightings FROM rollup_technique",
        f"SELECT s.observed_at / 3600000, 'T1110', count(*) {SEEN} AND s.context LIKE '%T1110%' GROUP BY 1",
    ),
    "indicators": (
        "SELECT type, category, status, indicators FROM rollup_total",
        f"SELECT type, {CATEGORY.format('i')}, status, count(*) FROM indicator i GROUP BY 1, 2, 3",
    ),
    "sightings": (
        "SELECT type, category, status, sightings FROM rollup_total",
        f"SELECT type, {CATEGORY.format('i')}, status, sum(sightings) FROM indicator i GROUP BY 1, 2, 3",
    ),
    "sightings of each": (
        "SELECT pk, sightings FROM indicator",
        f"SELECT s.indicator, count(*) {SEEN} GROUP BY 1",
    ),
    "reports of each": (
        "SELECT pk, sightings FROM indicator",
        "SELECT indicator, sum(reports) FROM evidence GROUP BY 1",
    ),
    "lists": (
        "SELECT pk, listed FROM indicator",
        "SELECT indicator, sum(CASE change WHEN 'listed' THEN 1 ELSE -1 END) FROM feed_change "
        "WHERE change <> 'unshared' GROUP BY 1",
    ),
}


def check(place: Place, acknowledged: set[str]) -> None:
    """Everything acknowledged is there, nothing is there twice, and all that is derived follows from the facts.

    Looks at a copy of the files as they lie, so that it is the server that recovers them when it starts.
    """
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        for path in place.database.parent.glob("*.db*"):
            if path.suffix in (".db", ".db-wal", ".secret"):
                shutil.copy(path, folder)
        check_copy(Path(folder) / place.database.name, acknowledged)


def check_copy(database: Path, acknowledged: set[str]) -> None:
    marks = Counter(json.loads(row[0])["mark"] for row in query(database, "SELECT context FROM sighting"))
    assert check_database(database) is None
    assert [mark for mark in acknowledged if mark not in marks] == []
    assert [mark for mark, count in marks.items() if count > 1] == []
    for name, (derived, facts) in EQUAL.items():
        assert counted(database, derived) == counted(database, facts), name
    doubled = query(database, "SELECT value FROM indicator GROUP BY type, value HAVING count(*) > 1")
    assert doubled == []
    verdict = verified(database)
    assert verdict.problem is None
    assert verdict.entries > 0


def verified(database: Path) -> Verdict:
    """The verdict on the whole ledger."""
    secret = load_secret(database.with_name(database.name + ".secret"))
    connection = SQLiteConnection(database, writable=False)
    try:
        return verify_chain(secret.audit, ledger.walk(connection))
    finally:
        connection.close()


def begin(place: Place) -> tuple[Server, Load]:
    """A server that knows the shared address, under load."""
    server = place.serve(environ=ENVIRON)
    status, text = post(server.url, "/api/threats", {"threats": [report("ip", SHARED, "first")]})
    assert status == 201, text
    return server, Load(server.url)


def test_what_was_acknowledged_survives_kill_9_exactly_once(place: Place) -> None:
    chance = random.Random(20260307)
    server, load = begin(place)
    try:
        for _ in range(KILLS):
            before = len(load.acknowledged)
            time.sleep(chance.uniform(0.3, 0.9))
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            assert len(load.acknowledged) > before
            check(place, {"first", *load.acknowledged})
            server = place.serve(environ=ENVIRON)
            load.url = server.url
        time.sleep(0.3)
    finally:
        load.stop()
    assert load.wrong == []
    assert server.stop(signal.SIGTERM) == 0
    check(place, {"first", *load.acknowledged})


@pytest.fixture
def half_sent() -> Iterator[list[socket.socket]]:
    """Connections, closed at the end."""
    connections: list[socket.socket] = []
    yield connections
    for connection in connections:
        connection.close()


def send_half(url: str, body: bytes) -> socket.socket:
    """A request whose body is half sent: the server has begun to read it when it says to continue."""
    parts = urlsplit(url)
    connection = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    start = (
        f"POST /api/threats HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    connection.sendall(start.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body[: len(body) // 2])
    return connection


def test_a_stop_under_load_answers_what_is_in_flight(place: Place, half_sent: list[socket.socket]) -> None:
    server, load = begin(place)
    marks = [f"half-{number}" for number in range(8)]
    bodies = [
        json.dumps({"threats": [report("ip", f"91.240.201.{number + 1}", mark)]}).encode()
        for number, mark in enumerate(marks)
    ]
    try:
        half_sent += [send_half(server.url, body) for body in bodies]
        time.sleep(0.3)
        stopping = threading.Timer(0.2, finish, (half_sent, bodies))
        stopping.start()
        assert server.stop(signal.SIGTERM) == 0
        stopping.join()
    finally:
        load.stop()
    for connection in half_sent:
        assert connection.recv(10_000).startswith(b"HTTP/1.1 201 ")
    assert load.wrong == []
    assert len(load.acknowledged) > 0
    check(place, {"first", *marks, *load.acknowledged})


def finish(connections: list[socket.socket], bodies: list[bytes]) -> None:
    """Sends the rest of each body."""
    for connection, body in zip(connections, bodies, strict=True):
        connection.sendall(body[len(body) // 2 :])


def limit_files(server: Server, size_bytes: int) -> None:
    """Lets no file of the server's grow beyond a size, as a full disk does."""
    pid = server._process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, most))


def get(url: str, path: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)) as connection:
        connection.request("GET", path, headers=HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_full_disk_is_a_503_and_passes(place: Place) -> None:
    server, stored, refused = place.serve(environ=ENVIRON), {"first"}, 0
    log = place.database.with_name(place.database.name + "-wal")
    post(server.url, "/api/threats", {"threats": [report("ip", SHARED, "first")]})
    limit_files(server, log.stat().st_size + 300_000)
    for number in range(150):
        said = report("ip", f"91.240.{202 + number % 3}.{number + 1}", f"full-{number}")
        status, text = post(server.url, "/api/threats", {"threats": [said]})
        if status == 201:
            stored.add(f"full-{number}")
        else:
            refused += 1
            assert (status, json.loads(text)["code"]) == (503, "storage_unavailable")
            assert get(server.url, f"/api/iocs/{said['value']}")[0] == 404
    assert refused > 10
    assert get(server.url, "/health")[0] == 200
    assert get(server.url, f"/api/iocs/{SHARED}")[0] == 200
    limit_files(server, resource.RLIM_INFINITY)
    status, text = post(server.url, "/api/threats", {"threats": [report("ip", "91.240.206.1", "after")]})
    assert status == 201, text
    until_listed(server.url, "91.240.206.1")
    assert server.stop(signal.SIGTERM) == 0
    check(place, {"after", *stored})


def until_listed(url: str, value: str) -> None:
    for _ in range(100):
        if value.encode() in get(url, "/api/feeds/ip-blocklist")[1].splitlines():
            return
        time.sleep(0.1)
    raise AssertionError(f"{value} was not published")
