"""Writes into the stored size: reports, sightings and imports, each in turns with a bare SQLite loop."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import machine, processes, sqlite_floor, wrk
from bench.figures import Figures, medians, with_ratios
from bench.reads import check
from bench.rows import Measure
from bench.served import KEY, Site
from threatcloud.domain.report import CATEGORIES
from threatcloud.services.imports import CHUNK_ROWS

_ITEMS = 100
#: What is under way when a round ends is not counted: at 16 connections that may be half a second's work.
_LEAST_ROUND_S = 5.0
#: More items, and more sightings, a second than any server here takes, so that no body is sent twice.
_MOST_ITEMS_A_SECOND = 25_000
_MOST_SIGHTINGS_A_SECOND = 8_000
IMPORT_ROWS = 100_000


def threats(site: Site, seconds: float) -> list[str]:
    """Batches of 100 reports by an operator: half of them of new addresses."""
    count = int(_MOST_ITEMS_A_SECOND * seconds) // _ITEMS
    chance = random.Random(6)
    new, known = site.fresh(count * _ITEMS // 2), site.known(count * _ITEMS // 2)
    bodies = []
    for start in range(0, len(new), _ITEMS // 2):
        batch = [*new[start : start + _ITEMS // 2], *chance.choices(known, k=_ITEMS // 2)]
        bodies.append(json.dumps({"threats": [report(value, chance) for value in batch]}))
    return bodies


def report(value: str, chance: random.Random) -> dict[str, Any]:
    """One item of ``POST /api/threats``, bad enough for the lists."""
    metadata = {"port": chance.choice((22, 23, 443)), "mitreId": "T1110", "attempts": chance.randrange(90)}
    said = {"source": "manual", "category": chance.choice(CATEGORIES), "severity": "high", "confidence": 0.8}
    return {"type": "ip", "value": value, **said, "metadata": metadata}


def sightings(site: Site, seconds: float) -> list[str]:
    """Sightings of stored addresses, one a request."""
    known = site.known(int(_MOST_SIGHTINGS_A_SECOND * seconds))
    return [json.dumps({"value": value, "source": "guard-agent", "context": {"port": 22}}) for value in known]


def posting(
    target: str,
    bodies: Callable[[Site, float], Sequence[str]],
    connections: int,
    items: int,
    group: int,
    known_share: float,
) -> Measure:
    """How a row of writes is measured: ``items`` in a request, of which so many are stored already; the floor commits
    ``group`` rows at a time."""

    def measure(site: Site) -> Figures:
        rounds: list[Figures] = []
        rates: list[tuple[float, float]] = []
        seconds = max(site.effort.seconds, _LEAST_ROUND_S)
        for _ in range(site.effort.rounds):
            sent = bodies(site, seconds)
            script = wrk.write_script(site.new_folder(), "POST", target, sent, {"Authorization": f"Bearer {KEY}"})
            floor = _floor(site, group, known_share)
            before_s = machine.cpu_s(site.pid)
            ours = wrk.run(site.port, script, seconds, connections)
            used_s = machine.cpu_s(site.pid) - before_s
            check(ours)
            rates.append((ours.requests_a_second * items, floor["rows/s"]))
            rounds.append(
                {
                    "requests/s": ours.requests_a_second,
                    "p50 ms": ours.p50_ms,
                    "p99 ms": ours.p99_ms,
                    "CPU us": used_s / ours.requests * 1e6,
                    "floor p99 ms": floor["p99 ms"],
                    "items/s": ours.requests_a_second * items,
                }
            )
        return with_ratios(medians(rounds), rates)

    return measure


def importing(site: Site) -> Figures:
    """A file of new addresses into the running server, as a user imports it."""
    rounds: list[Figures] = []
    rates: list[tuple[float, float]] = []
    for _ in range(site.effort.rounds):
        path, count = import_file(site)
        floor = _floor(site, CHUNK_ROWS, 0.0)
        before_s = machine.cpu_s(site.pid)
        took_s = json.loads(processes.output_of(import_command(path), site.environment))["seconds"]
        rates.append((count / took_s, floor["rows/s"]))
        rounds.append({"rows/s": count / took_s, "CPU us": (machine.cpu_s(site.pid) - before_s) / count * 1e6})
    return with_ratios(medians(rounds), rates)


def import_file(site: Site, kind: str = "ips") -> tuple[Path, int]:
    """A file of values that are not stored, and how many: fewer where little effort is made."""
    count = min(IMPORT_ROWS, int(IMPORT_ROWS * site.effort.seconds / 3))
    path = site.new_folder() / "fresh.txt"
    path.write_text("\n".join(site.fresh(count, kind)) + "\n", "utf-8")
    return path, count


def import_command(path: Path) -> list[str]:
    """The command that imports a file, on the core of the load."""
    said = ["--source", "feed:fresh", "--severity", "high", "--json"]
    return processes.pinned(processes.LOAD_CORE, ["-m", "threatcloud", "import", str(path), *said], stands_back=True)


def _floor(site: Site, group: int, known_share: float) -> dict[str, float]:
    """What a bare loop commits, on the server's core while the server rests."""
    path = site.folder / "floor.db"
    if not path.exists():
        sqlite_floor.make(path, site.filled.indicators)
    site.rest()
    arguments = ["-m", "bench.sqlite_floor", str(path), str(group), str(known_share), str(site.effort.seconds)]
    found: dict[str, float] = json.loads(processes.output_of(processes.pinned(processes.SERVER_CORE, arguments)))
    return found
