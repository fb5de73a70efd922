"""Processes that are killed, stopped or left idle: what was acknowledged stays, and nobody is left behind."""

import http.client
import itertools
import os
import signal
import stat
import threading
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from typing import Final

import pytest

from tests.e2e.conftest import Place, Server
from tests.e2e.processes import KEY, Line, is_alive, lines_to_all, readers_of, start, wait_until
from threatcloud.http.local_server import socket_path

WORKERS: Final = 3
NOTE: Final = {"note": "long " * 800}


class Load:
    """Threads that report and look up what they reported, each on connections that they open anew when one breaks."""

    def __init__(self, url: str, threads: int) -> None:
        self._url = url
        self.acknowledged: set[str] = set()
        self.wrong: list[str] = []
        self.looked_up: Counter[int] = Counter()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, thread: int) -> None:
        values = (f"91.{230 + thread}.{number // 250}.{number % 250 + 1}" for number in itertools.count())
        while not self._stopped.is_set():
            with closing(Line(self._url)) as line, suppress(OSError, http.client.HTTPException):
                for value in values:
                    self._report_and_look(line, value)
                    if self._stopped.is_set():
                        return

    def _report_and_look(self, line: Line, value: str) -> None:
        item = {"type": "ip", "value": value, "source": "manual", "category": "scanner", "severity": "high"}
        reported = line.ask("POST", "/api/threats", {"threats": [item]})
        if reported.status != 201:
            self.wrong.append(f"{reported}")
            return
        self.acknowledged.add(value)
        found = line.ask("GET", f"/api/iocs/{value}")
        if found.status == 200:
            self.looked_up[threading.get_ident()] += 1
        else:
            self.wrong.append(f"{value}: {found}")

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Waits for so many more acknowledgements."""
        before = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) >= before + more, "nothing is acknowledged")


def missing(place: Place, values: set[str]) -> set[str]:
    """Of these values, those that are not stored."""
    with closing(Line(place.url)) as line:
        wanted = sorted(values)
        found = line.ask("POST", "/api/iocs/lookup", {"values": wanted}).data
        return {value for value, verdict in zip(wanted, found, strict=True) if verdict["status"] == "unknown"}


def has_others(server: Server, gone: int) -> bool:
    """Whether there are as many readers as there should be without the one that is gone."""
    return len(set(readers_of(server)) - {gone}) == WORKERS - 1


def test_readers_that_are_killed_under_load_are_started_again(place: Place) -> None:
    server = start(place, WORKERS)
    load = Load(place.url, 6)
    try:
        for _ in range(3):
            load.wait_for(30)
            victim = readers_of(server)[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(partial(has_others, server, victim), "none is started again")
        load.wait_for(30)
        with lines_to_all(place.url, WORKERS) as lines:
            assert {line.ask("GET", "/api/stats").status for line in lines.values()} == {200}
    finally:
        load.stop()
    assert load.wrong == []
    assert missing(place, load.acknowledged) == set()
    assert server.stop() == 0


def test_readers_end_with_the_process_that_writes_and_it_starts_again(place: Place) -> None:
    server = start(place, WORKERS)
    readers = readers_of(server)
    load = Load(place.url, 4)
    load.wait_for(30)
    server.send(signal.SIGKILL)
    server.wait()
    load.stop()
    wait_until(lambda: not any(map(is_alive, readers)), "readers are left behind")
    again = start(place, WORKERS)
    assert missing(place, load.acknowledged) == set()
    assert again.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_in_flight_and_leaves_nobody_behind(place: Place, number: int) -> None:
    server = start(place, WORKERS)
    readers = readers_of(server)
    load = Load(place.url, 6)
    load.wait_for(60)
    server.send(number)
    assert server.wait() == 0
    load.stop()
    assert load.wrong == []
    assert not any(map(is_alive, readers))
    assert sorted(path.name for path in place.database.parent.glob("*.sock")) == []
    again = start(place, 1)
    assert missing(place, load.acknowledged) == set()
    looked_up = load.looked_up.total()
    assert looked_up <= audited(place, "/api/iocs/{value}") <= looked_up + 6  # answers that broke off in between
    assert again.stop() == 0


def audited(place: Place, route: str) -> int:
    """How many reads of a route the audit log tells of."""
    with closing(Line(place.url)) as line:
        entries = line.ask("GET", "/api/audit-log?action=query&limit=200").data
        return sum(entry["details"]["count"] for entry in entries if entry["resource"] == route)


def test_a_reader_that_is_told_to_stop_is_replaced(place: Place) -> None:
    server = start(place, 2)
    (reader,) = readers_of(server)
    os.kill(reader, signal.SIGTERM)
    wait_until(lambda: [pid for pid in readers_of(server) if pid != reader] != [], "none is started again")
    with lines_to_all(place.url, 2):
        assert server.stop() == 0


def test_nobody_else_can_open_the_socket_between_the_processes(place: Place) -> None:
    server = start(place, 2)
    path = socket_path(place.database, ".home.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.stop() == 0


def test_a_port_that_a_server_shares_among_its_processes_is_taken(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = start(place, 2)
    other = Place(tmp_path_factory.mktemp("other"))
    port = place.url.rpartition(":")[2]
    done = other.run("serve", "--port", port, "--workers", "2", code=1, environ={"TC_API_KEYS": f"{KEY}:read"})
    assert b"Cannot listen" in done.stderr
    assert server.stop() == 0


def test_a_long_log_is_begun_anew_while_readers_are_idle(place: Place) -> None:
    """Each of them has read something and is not asked again: what it read must not keep the log for ever."""
    server = start(place, WORKERS)
    log = place.database.with_name(place.database.name + "-wal")
    numbers = itertools.count()

    def beginnings() -> int:
        """How often it was begun anew (https://sqlite.org/fileformat2.html#the_write_ahead_log)."""
        with log.open("rb") as file:
            return int.from_bytes(file.read(16)[12:], "big")

    with lines_to_all(place.url, WORKERS) as lines, closing(Line(place.url)) as writer:

        def has_begun_after(before: int) -> bool:
            names = [f"d{next(numbers)}.xyz" for _ in range(100)]
            items = [{"type": "domain", "value": name, "source": "manual", "metadata": NOTE} for name in names]
            assert writer.ask("POST", "/api/threats", {"threats": items}).status == 201
            return beginnings() > before

        has_begun_after(0)
        for _ in range(2):
            assert {line.ask("GET", "/api/stats").status for line in lines.values()} == {200}
            wait_until(partial(has_begun_after, beginnings()), "it only grows")
    assert server.stop() == 0
