"""Two nodes whose look-ups a streaming replica answers: what was acknowledged is seen, whatever becomes of it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Place, Server
from tests.e2e.postgres import OwnPostgres, own_postgres
from tests.e2e.processes import ENVIRON, Line, wait_until
from tests.e2e.test_nodes import report
from tests.engines import binaries, outside


class Site:
    """A primary, a replica, and two nodes."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.primary = stack.enter_context(own_postgres())
        self.replica = stack.enter_context(own_postgres(self.primary))
        environ = {**ENVIRON, "TC_DATABASE_URL": self.primary.url, "TC_DATABASE_READ_URL": self.replica.url}
        places = [Place(folder / f"node{number}") for number in range(2)]
        for place in places:
            place.folder.mkdir()
            stack.callback(place.end)
        started = [place.start("serve", "--port", "0", environ=environ) for place in places]
        self.nodes = [Server(process) for process in started]
        self._stack = stack
        wait_until(lambda: all(self.figures(number)["used"] == 1 for number in range(2)), "the replica is used")

    def line(self, number: int, key: str | None = None) -> Line:
        """A connection to a node."""
        url = self.nodes[number].url
        return self._stack.enter_context(closing(Line(url, key) if key else Line(url)))

    def figures(self, number: int) -> dict[str, float]:
        """What a node says of the replica."""
        with closing(Line(self.nodes[number].url)) as line:
            text = line.ask("GET", "/metrics").body.decode()
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        found = {sample.name + sample.labels.get("reason", ""): sample.value for sample in samples}
        ours = "threatcloud_replica_"
        return {name.removeprefix(ours): value for name, value in found.items() if name.startswith(ours)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no PostgreSQL with pg_basebackup")
    with ExitStack() as stack:
        yield Site(stack, tmp_path_factory.mktemp("site"))


@pytest.fixture
def paused(site: Site) -> Iterator[None]:
    """While the replica replays nothing."""
    command(site.replica, "SELECT pg_wal_replay_pause()")
    yield
    command(site.replica, "SELECT pg_wal_replay_resume()")


def command(server: OwnPostgres, sql: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.encode())


def test_look_ups_are_answered_by_the_replica_and_see_what_their_client_wrote(site: Site) -> None:
    line = site.line(0)
    before = site.figures(0)
    for number in range(1, 201):
        value = f"91.230.1.{number}"
        line.report(value)
        assert line.ask("GET", f"/api/iocs/{value}").data["sightings"] == 1
    time.sleep(0.1)
    for _ in range(100):
        assert line.ask("GET", "/api/iocs/91.230.1.1").status == 200
    after = site.figures(0)
    answered = after["reads_total"] - before["reads_total"]
    behind = after["fallbacks_totalbehind"] - before["fallbacks_totalbehind"]
    print(f"of 300 look-ups, 200 of them right after a write, the replica answered {answered:g}, was behind {behind:g}")
    assert answered >= 100
    sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'threat-cloud' AND query LIKE '%indicator%'"
    assert outside(site.replica.url, sessions)


def test_what_another_node_acknowledged_is_seen_within_two_seconds(site: Site) -> None:
    lines = [site.line(number) for number in range(2)]
    waited_s = []
    for number in range(1, 51):
        value = f"91.231.1.{number}"
        lines[0].report(value)
        began_s = time.monotonic()
        wait_until(lambda value=value: lines[1].ask("GET", f"/api/iocs/{value}").data["sightings"] == 1, value)  # type: ignore[misc]
        waited_s.append(time.monotonic() - began_s)
    print(f"seen on the other node after {sorted(waited_s)[25]:.3f} s, at most {max(waited_s):.3f} s")
    assert max(waited_s) < 2


@pytest.mark.usefixtures("paused")
def test_writes_keys_and_repeated_requests_are_right_while_the_replica_is_paused(site: Site) -> None:
    lines = [site.line(number) for number in range(2)]
    made = lines[0].ask("POST", "/api/keys", {"name": "short", "scopes": ["read"]}).data
    with_key = [site.line(number, made["key"]) for number in range(2)]
    wait_until(lambda: all(line.ask("GET", "/api/stats").status == 200 for line in with_key), "the key is known")
    assert lines[1].ask("DELETE", f"/api/keys/{made['info']['id']}").status == 200
    until_s = time.monotonic() + 1
    while any(line.ask("GET", "/api/stats").status != 401 for line in with_key):
        assert time.monotonic() < until_s
    headers = {"Idempotency-Key": "while-paused"}
    replies = [line.ask("POST", "/api/threats", report("91.232.1.1"), headers) for line in lines]
    assert replies[0].status == 201
    assert replies[0].body == replies[1].body
    assert lines[1].ask("GET", "/api/iocs/91.232.1.1").data["sightings"] == 1


def test_a_replica_that_stops_and_comes_back_costs_no_client_an_error(site: Site) -> None:
    assert site.line(0).ask("POST", "/api/threats", report("91.233.1.1")).status == 201
    lines = [site.line(number) for number in range(2)]
    wait_until(lambda: all(line.ask("GET", "/api/iocs/91.233.1.1").status == 200 for line in lines), "both know of it")
    statuses: set[int] = set()
    ending = threading.Event()

    def ask(line: Line) -> None:
        while not ending.is_set():
            statuses.add(line.ask("GET", "/api/iocs/91.233.1.1").status)
            statuses.add(line.ask("GET", "/api/iocs?type=ip&limit=5").status)

    threads = [threading.Thread(target=ask, args=[site.line(number % 2)]) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in (signal.SIGQUIT, signal.SIGKILL):
            site.replica.crash(number)
            wait_until(lambda: not any(site.figures(number)["used"] for number in range(2)), "it is set aside")
            site.replica.start()
            wait_until(lambda: all(site.figures(number)["used"] for number in range(2)), "it is used again")
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert statuses == {200}
