"""Routes that read, each against a floor that answers the same bytes: what is asked, and how it is measured."""

import http.client
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine, processes

KEY = "bench-key-0123456789"
ROUNDS = 3
_PER_CONNECTION = {"date", "connection"}
_LOAD = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local at = 0
{headers}
request = function()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
"""


class Row(NamedTuple):
    """One line of the table: the paths asked in turn, headers beside the key, the ratio to the floor wanted."""

    name: str
    paths: Sequence[str]
    headers: Mapping[str, str] = {}
    connections: int = 16
    wanted_ratio: float | None = None


class Answer(NamedTuple):
    """One answer of the server, without what every server sets itself."""

    status: int
    headers: dict[str, str]
    body: bytes


def rows(port: int, known: Sequence[str]) -> list[Row]:
    """What is asked of a server that has the known addresses."""
    blocklist = "/api/feeds/ip-blocklist"
    etag = fetch(port, blocklist, {"Accept-Encoding": "zstd"}).headers["etag"]
    pages = [f"/api/iocs?type=ip&limit=50&page={page}" for page in range(1, 21)]
    return [
        Row("look-up", [f"/api/iocs/{value}" for value in known], wanted_ratio=0.45),
        Row("health", ["/health"], wanted_ratio=0.5),
        Row("search, pages 1-20", pages),
        Row("search, filtered", [f"{page}&status=active&minReputation=1" for page in pages]),
        Row("blocklist, 304", [blocklist], {"If-None-Match": etag}, wanted_ratio=0.5),
        Row("blocklist, whole (zstd)", [blocklist], {"Accept-Encoding": "zstd"}, connections=4, wanted_ratio=0.8),
        *(
            Row(path.removeprefix("/api/").partition("?")[0], [path], connections=10)
            for path in (
                "/api/stats",
                "/api/query/timeseries?granularity=day",
                "/api/query/geo",
                "/api/query/trends",
                "/api/query/mitre-heatmap",
                "/api/campaigns/stats",
            )
        ),
    ]


def measure(folder: Path, port: int, pid: int, asked: Sequence[Row], seconds: int) -> list[dict[str, Any]]:
    """The figures of each row, medians of rounds in which server and floor take turns."""
    return [_measure(folder / f"row{number}", port, pid, row, seconds) for number, row in enumerate(asked)]


def _measure(folder: Path, port: int, pid: int, row: Row, seconds: int) -> dict[str, Any]:
    folder.mkdir()
    script = script_of(folder, row)
    loads: list[processes.Load] = []
    floors: list[processes.Load] = []
    cpu_us: list[float] = []
    with _floor_server(folder, fetch(port, row.paths[0], row.headers)) as floor:
        for _ in range(ROUNDS):
            floors.append(processes.wrk(floor, script, seconds, row.connections))
            before_s = machine.cpu_s(pid)
            load = processes.wrk(port, script, seconds, row.connections)
            cpu_us.append((machine.cpu_s(pid) - before_s) / (load.requests_a_second * seconds) * 1e6)
            if load.errors:
                raise SystemExit(f"bench: {row.name}: {load.errors} requests failed")
            loads.append(load)
    ratios = [load.requests_a_second / floor.requests_a_second for load, floor in zip(loads, floors, strict=True)]
    return {
        "row": row.name,
        "requests/s": round(statistics.median(load.requests_a_second for load in loads)),
        "p50 ms": round(statistics.median(load.p50_ms for load in loads), 2),
        "p99 ms": round(statistics.median(load.p99_ms for load in loads), 2),
        "CPU us": round(statistics.median(cpu_us), 1),
        "floor/s": round(statistics.median(floor.requests_a_second for floor in floors)),
        "floor p99 ms": round(statistics.median(floor.p99_ms for floor in floors), 2),
        "ratio": round(statistics.median(ratios), 3),
        "wanted": row.wanted_ratio,
    }


def script_of(folder: Path, row: Row) -> Path:
    """A script for wrk that asks for the row."""
    paths, script = folder / "paths.txt", folder / "load.lua"
    paths.write_text("\n".join(row.paths) + "\n", "utf-8")
    headers = {"Authorization": f"Bearer {KEY}", **row.headers}
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    script.write_text(_LOAD.format(paths=paths, headers=lines), "utf-8")
    return script


@contextmanager
def _floor_server(folder: Path, answer: Answer) -> Iterator[int]:
    """A floor that answers this; gives its port."""
    (folder / "body").write_bytes(answer.body)
    (folder / "head.json").write_text(json.dumps({"status": answer.status, "headers": answer.headers}), "utf-8")
    port = processes.free_port()
    with processes.pinned(["-m", "bench.floor", str(folder), str(port)], port):
        yield port


def fetch(port: int, path: str, headers: Mapping[str, str]) -> Answer:
    """One answer of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}", **headers})
    found = connection.getresponse()
    own = {name.lower(): value for name, value in found.getheaders() if name.lower() not in _PER_CONNECTION}
    answer = Answer(found.status, own, found.read())
    connection.close()
    if answer.status >= 400:
        raise SystemExit(f"bench: {path} answers {answer.status}: {answer.body[:200]!r}")
    return answer
