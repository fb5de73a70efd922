"""Three nodes on one PostgreSQL: the same answers from each, and nothing lost when one of them or the server dies."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from typing import Any, Final

import pytest

from tests.e2e.conftest import Place, Server
from tests.e2e.postgres import OwnPostgres, own_postgres
from tests.e2e.processes import ENVIRON, Line, wait_until
from tests.engines import outside

NODES: Final = 3
#: How soon after the end of what was wrong all is as before.
RECOVERY_S: Final = 10.0


class Nodes:
    """Servers on one database, and a connection to each."""

    def __init__(self, folder_of: Callable[[str], Place], url: str) -> None:
        places = [folder_of(f"node{number}") for number in range(NODES)]
        environ = {**ENVIRON, "TC_DATABASE_URL": url}
        started = [place.start("serve", "--port", "0", environ=environ) for place in places]
        self.servers = [Server(process) for process in started]
        self.url = url
        self._lines: list[Line] = []

    def lines(self, key: str | None = None) -> list[Line]:
        """A connection to each node."""
        lines = [Line(server.url, key) if key else Line(server.url) for server in self.servers]
        self._lines += lines
        return lines

    def close(self) -> None:
        """Closes the connections."""
        for line in self._lines:
            line.close()

    @property
    def leader(self) -> Server | None:
        """The node that holds the lease."""
        holders = outside(self.url, "SELECT node FROM lease WHERE until > extract(epoch FROM clock_timestamp()) * 1000")
        return next(
            (server for (node,) in holders for server in self.servers if node.split("/")[1] == str(server.pid)), None
        )


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    places: list[Place] = []

    def folder_of(name: str) -> Place:
        places.append(Place(tmp_path_factory.mktemp(name)))
        return places[-1]

    made = Nodes(folder_of, postgres.url)
    yield made
    made.close()
    for place in places:
        place.end()


def report(value: str) -> dict[str, Any]:
    item = {"type": "ip", "value": value, "source": "manual", "category": "scanner", "severity": "critical"}
    return {"threats": [item]}


def test_a_report_is_seen_on_every_node_at_once(nodes: Nodes) -> None:
    lines = nodes.lines()
    for number, line in enumerate(lines):
        line.report(f"91.240.1.{number + 1}")
        for other in lines:
            assert other.ask("GET", f"/api/iocs/91.240.1.{number + 1}").data["sightings"] == 1


def test_a_revoked_key_is_refused_everywhere_within_a_second(nodes: Nodes) -> None:
    lines = nodes.lines()
    made = lines[0].ask("POST", "/api/keys", {"name": "short", "scopes": ["read"]}).data
    with_key = nodes.lines(made["key"])
    wait_until(lambda: all(line.ask("GET", "/api/stats").status == 200 for line in with_key), "the key is known")
    assert lines[1].ask("DELETE", f"/api/keys/{made['info']['id']}").status == 200
    until_s = time.monotonic() + 1
    while any(line.ask("GET", "/api/stats").status != 401 for line in with_key):
        assert time.monotonic() < until_s


def test_an_idempotency_key_is_known_on_every_node(nodes: Nodes) -> None:
    headers = {"Idempotency-Key": "one-report"}
    replies: list[Any] = []

    def send(line: Line) -> None:
        replies.append(line.ask("POST", "/api/threats", report("91.240.2.1"), headers))

    threads = [threading.Thread(target=send, args=[line]) for line in nodes.lines()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [201] * NODES
    assert len({reply.body for reply in replies}) == 1
    assert nodes.lines()[0].ask("GET", "/api/iocs/91.240.2.1").data["sightings"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/feeds/ip-blocklist",
        "/api/feeds/ip-blocklist?maxReputation=25",
        "/api/feeds/ip-blocklist?category=scanner",
        "/api/feeds/ip-blocklist.csv",
        "/api/feeds/url-blocklist",
        "/api/feeds/agent-update",
    ],
)
def test_lists_and_versions_are_the_same_on_every_node(nodes: Nodes, path: str) -> None:
    lines = nodes.lines()
    lines[0].report("91.240.3.1")

    def is_listed() -> bool:
        return all(b"91.240.3.1" in line.ask("GET", "/api/feeds/ip-blocklist").body for line in lines)

    wait_until(is_listed, "all nodes have the list")
    time.sleep(1)  # so that the versions that follow from it are out

    def answers() -> set[tuple[Any, ...]]:
        replies = [line.ask("GET", path) for line in lines]
        wanted = ("etag", "last-modified", "x-feed-version")
        return {(reply.status, *map(reply.headers.get, wanted), reply.body) for reply in replies}

    wait_until(lambda: len(answers()) == 1, f"{path} is the same on all nodes: {answers()}")
    assert {answer[0] for answer in answers()} == {200}


class Load:
    """Reports new addresses over a node that answers, each until it is acknowledged."""

    def __init__(self, nodes: Nodes, number: int) -> None:
        self._nodes = nodes
        self._number = number
        self.acknowledged: list[str] = []
        self.statuses: set[int] = set()
        self.last_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        sent = 0
        while not self._ending.is_set():
            sent += 1
            value = f"91.{241 + self._number}.{sent // 250}.{sent % 250 + 1}"
            for attempt in range(1_000):
                if self._send(value, self._number + attempt):
                    self.acknowledged.append(value)
                    self.last_s = time.monotonic()
                    break
                time.sleep(0.05)

    def _send(self, value: str, turn: int) -> bool:
        line = Line(self._nodes.servers[turn % NODES].url)
        with suppress(OSError, HTTPException), closing(line):
            reply = line.ask("POST", "/api/threats", report(value), {"Idempotency-Key": value})
            self.statuses.add(reply.status)
            return reply.status == 201
        return False

    def end(self) -> None:
        """Stops after the report that is on its way."""
        self._ending.set()
        self._thread.join()


def test_what_was_acknowledged_is_stored_once_whatever_dies(nodes: Nodes, postgres: OwnPostgres) -> None:
    wait_until(lambda: nodes.leader is not None, "a node leads")
    loads = [Load(nodes, number) for number in range(NODES)]
    try:
        time.sleep(1)
        for _ in range(2):
            postgres.crash()
            time.sleep(0.5)
            postgres.start()
            goes_on(loads)
        wait_until(lambda: nodes.leader is not None, "a node leads")
        killed = nodes.leader
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        goes_on(loads)
        since_s = time.monotonic()
        wait_until(lambda: nodes.leader not in {None, killed}, "another node leads")
        assert time.monotonic() < since_s + RECOVERY_S
        time.sleep(1)
    finally:
        for load in loads:
            load.end()
    acknowledged = {value for load in loads for value in load.acknowledged}
    assert len(acknowledged) == sum(len(load.acknowledged) for load in loads) > 10
    stored: dict[str, int] = dict(
        outside(
            nodes.url,
            "SELECT i.value, count(*) FROM sighting s JOIN indicator i ON i.pk = s.indicator GROUP BY i.value",
        )
    )
    assert {value: stored.get(value) for value in acknowledged} == dict.fromkeys(acknowledged, 1)
    assert {status for load in loads for status in load.statuses} <= {201, 503}
    living = next(server for server in nodes.servers if server is not killed)
    wait_until(lambda: acknowledged <= listed(living), "the list follows")


def goes_on(loads: list[Load]) -> None:
    """Every load is acknowledged something again, soon."""
    since_s = time.monotonic()
    wait_until(lambda: all(load.last_s > since_s for load in loads), "reports are taken again")
    assert time.monotonic() < since_s + RECOVERY_S


def listed(server: Server) -> set[str]:
    with closing(Line(server.url)) as line:
        return set(line.ask("GET", "/api/feeds/ip-blocklist").body.decode().splitlines())
