"""Look-ups while the server, or a command beside it, works at something else; and how fast that work is."""

import itertools
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from bench import processes, reads, wrk
from bench.figures import Figures, NotMeasured
from bench.rows import Measure
from bench.served import KEY, Site
from bench.writes import import_command, import_file, report
from threatcloud.domain.indicator import IndicatorType, detect

BLOCKLIST = "/api/feeds/ip-blocklist"
_POLL_S = 0.02
_PAUSE_MS = 20
_FILES = 6
#: After which a server is not waited for any longer.
_WITHIN_S = 60

#: Has something going on until its context ends; it tells its own figures by then.
Work = Callable[[Site], AbstractContextManager[Figures]]


def lookups_while(work: Work) -> Measure:
    """Look-ups of stored addresses by 16 who ask 50 times a second each, while the work goes on; then by 16 who ask
    again at once, so that the core is full and whoever shares it makes the others wait: ``full …``."""

    def measure(site: Site) -> Figures:
        site.rest()
        asked = reads.known_values(site)
        headers = {"Authorization": f"Bearer {KEY}"}
        seconds = site.effort.seconds * site.effort.rounds
        folders = site.new_folder(), site.new_folder()
        calm = wrk.write_script(folders[0], "GET", None, asked.lines, headers, pause_ms=_PAUSE_MS)
        full = wrk.write_script(folders[1], "GET", None, asked.lines, headers)
        with work(site) as told:
            seen = wrk.run(site.port, calm, seconds, 16)
            crowded = wrk.run(site.port, full, seconds, 16)
        for load in (seen, crowded):
            reads.check(load)
        return {
            "requests/s": seen.requests_a_second,
            "p50 ms": seen.p50_ms,
            "p99 ms": seen.p99_ms,
            "full requests/s": crowded.requests_a_second,
            "full p99 ms": crowded.p99_ms,
            **told,
        }

    return measure


@contextmanager
def rebuilding(site: Site) -> Iterator[Figures]:
    """The blocklist changes ten times a second, so that it is rendered as often as the server ever does."""
    told: Figures = {}
    before = _version(site)
    with _repeating(lambda: _report(site), pause_s=0.1):
        yield told
    told["versions"] = int(_version(site).rpartition(".")[2]) - int(before.rpartition(".")[2])


@contextmanager
def backing_up(site: Site) -> Iterator[Figures]:
    """One backup after the other."""
    target = site.new_folder() / "backup.db"
    command = processes.pinned(
        processes.LOAD_CORE, ["-m", "threatcloud", "backup", str(target), "--force", "--json"], stands_back=True
    )
    told: Figures = {}
    with _commands(lambda: command, site) as done:
        yield told
    told["backups"] = len(done)


@contextmanager
def importing(site: Site) -> Iterator[Figures]:
    """One import of new addresses after the other, of files that are there before the load is."""
    told: Figures = {}
    files = [import_file(site)[0] for _ in range(_FILES)]
    left = itertools.cycle(files)
    with _commands(lambda: import_command(next(left)), site) as done:
        yield told
    told["rows"] = sum(json.loads(text)["new"] for text in done)


@contextmanager
def correlating(site: Site) -> Iterator[Figures]:
    """Correlation has 100,000 new URLs before it."""
    path, count = import_file(site, "urls")
    processes.output_of(import_command(path), site.environment)
    before = after = _correlated(site)
    until_s = time.perf_counter() + _WITHIN_S
    while after == before:  # it stands back while an import comes in
        if time.perf_counter() > until_s:
            raise NotMeasured("correlation does not begin")
        time.sleep(_POLL_S)
        after = _correlated(site)
    told: Figures = {}
    yield told
    told["looked at"] = _correlated(site) - after
    told["of"] = count


def publishing(site: Site) -> Figures:
    """From the answer to a report until the list has the address: the time of the slowest of some changes."""
    took_s = []
    for _ in range(site.effort.rounds):
        site.rest()
        etag = site.ask("GET", BLOCKLIST).headers["etag"]
        value = _report(site)
        answered_s = time.perf_counter()
        while True:
            found = site.ask("GET", BLOCKLIST, {"If-None-Match": etag})
            took_s.append(time.perf_counter() - answered_s)
            if found.status == 200 and f"\n{value}\n".encode() in found.body:
                break
            if took_s.pop() > _WITHIN_S:
                raise NotMeasured("a change does not come into the list")
            time.sleep(_POLL_S)
    return {"published s": max(took_s), "median s": statistics.median(took_s)}


def _report(site: Site) -> str:
    """Reports a new address that may be listed; gives it."""
    while True:
        (value,) = site.fresh(1)
        item = {**report(value, random.Random(7)), "severity": "critical", "confidence": 1.0}
        answer = site.ask("POST", "/api/threats", body=json.dumps({"threats": [item]}))
        if answer.status != 201:
            raise NotMeasured(f"a report answers {answer.status}: {answer.body[:200]!r}")
        if json.loads(site.ask("GET", f"/api/iocs/{value}").body)["data"]["status"] == "active":
            return detect(value).value


def _version(site: Site) -> str:
    return site.ask("HEAD", BLOCKLIST).headers["x-feed-version"]


def _correlated(site: Site) -> int:
    """How many URLs correlation has looked at."""
    (row,) = site.query(
        "SELECT count(*) FROM indicator i, (SELECT value FROM meta WHERE name = 'correlation') m "
        "WHERE i.type = ? AND i.updated_at <= CAST(m.value AS INTEGER)",
        IndicatorType.URL.code,
    )
    return int(row[0])


@contextmanager
def _repeating(act: Callable[[], object], pause_s: float) -> Iterator[None]:
    """Acts over and over in a thread until the context ends."""
    stopping = threading.Event()
    failed: list[NotMeasured] = []

    def run() -> None:
        try:
            while not stopping.is_set():
                act()
                stopping.wait(pause_s)
        except NotMeasured as reason:
            failed.append(reason)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def _commands(make: Callable[[], list[str]], site: Site) -> Iterator[list[str]]:
    """Runs one command after the other; what each of them printed is known when the context ends."""
    done: list[str] = []
    with _repeating(lambda: done.append(processes.output_of(make(), site.environment)), pause_s=0.0):
        yield done
