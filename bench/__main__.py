"""``python -m bench [--indicators N]``: import, look-up and memory, printed as ratios and kept in bench/results/."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import machine, processes, values

KEY = "bench-key-0123456789"
ROUNDS = 3
FRESH = 100_000
_PER_CONNECTION = {"date", "connection"}
_LOOKUPS = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local at = 0
wrk.headers["Authorization"] = "Bearer {key}"
request = function()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
"""


def main() -> None:
    """Runs everything and prints one table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--indicators", type=int, default=1_000_000, help="stored before anything is measured")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round")
    options = parser.parse_args()
    processes.require_tools()
    with tempfile.TemporaryDirectory(prefix="threat-cloud-bench-") as folder:
        result = run(Path(folder), options.indicators, options.seconds)
    path = Path(__file__).parent / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for name, value in result.items():
        print(f"{name:34} {value}")
    print(f"kept in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def run(folder: Path, indicators: int, seconds: int) -> dict[str, Any]:
    """All figures of one run."""
    stored, origin = values.addresses(indicators + FRESH)
    fill, fresh = folder / "fill.txt", folder / "fresh.txt"
    fill.write_text("\n".join(stored[:indicators]) + "\n", "utf-8")
    fresh.write_text("\n".join(stored[indicators:]) + "\n", "utf-8")
    environment = {
        "TC_DB_PATH": str(folder / "bench.db"),
        "TC_API_KEYS": f"{KEY}:read",
        "TC_RATE_LIMIT_READ": "1000000",
        "TC_LOG_LEVEL": "warning",
    }
    print(f"filling the database with {indicators} addresses ({origin}) ...", flush=True)
    filled_at = time.perf_counter()
    importing(fill, environment)
    fill_rate = indicators / (time.perf_counter() - filled_at)
    port = processes.free_port()
    environment["TC_PORT"] = str(port)
    started_at = time.perf_counter()
    with processes.pinned(["-m", "threatcloud", "serve"], port, environment) as pid:
        start_s = time.perf_counter() - started_at
        lookups = measure_lookups(folder, stored[:5_000], port, seconds, pid)
        memory = machine.memory_mb(pid)
    with processes.running([sys.executable, "-m", "threatcloud", "serve"], port, environment) as pid:
        rate, peak, import_cpu_us = measure_import(fresh, environment, pid)
    return {
        "machine": machine.facts(),
        "indicators": indicators,
        "values": origin,
        "start until /health, s": round(start_s, 2),
        **lookups,
        "server RssAnon after load, MB": round(memory["RssAnon"]),
        "server RssFile after load, MB": round(memory["RssFile"]),
        "import into empty, rows/s": round(fill_rate),
        f"import of {FRESH} into {indicators}, rows/s": round(rate),
        "import, server CPU us a row": round(import_cpu_us, 1),
        "server RssAnon after import, MB": round(peak["RssAnon"]),
    }


def measure_lookups(folder: Path, known: list[str], port: int, seconds: int, pid: int) -> dict[str, Any]:
    """Look-ups of stored addresses against the floor, in turn; medians of the rounds."""
    paths = folder / "paths.txt"
    paths.write_text("\n".join(f"/api/iocs/{value}" for value in known) + "\n", "utf-8")
    script = folder / "lookups.lua"
    script.write_text(_LOOKUPS.format(paths=paths, key=KEY), "utf-8")
    body, headers = fetch(port, f"/api/iocs/{known[0]}")
    bare = {name: headers[name] for name in ("content-type", "content-length")}
    loads: dict[str, list[processes.Load]] = {"look-up": [], "same bytes": [], "same body": []}
    cpu_us: list[float] = []
    with (
        floor_server(folder / "floor", body, headers) as same_bytes,
        floor_server(folder / "bare", body, bare) as same_body,
    ):
        for _ in range(ROUNDS):
            loads["same bytes"].append(processes.wrk(same_bytes, script, seconds))
            loads["same body"].append(processes.wrk(same_body, script, seconds))
            before_s = machine.cpu_s(pid)
            load = processes.wrk(port, script, seconds)
            cpu_us.append((machine.cpu_s(pid) - before_s) / (load.requests_a_second * seconds) * 1e6)
            assert load.errors == 0, "some look-ups failed"
            loads["look-up"].append(load)
    rates = {name: [load.requests_a_second for load in found] for name, found in loads.items()}
    slow = [load.p99_ms / floor.p99_ms for load, floor in zip(loads["look-up"], loads["same bytes"], strict=True)]
    return {
        "floor (same bytes), requests/s": round(statistics.median(rates["same bytes"])),
        "floor (same body, 2 headers), requests/s": round(statistics.median(rates["same body"])),
        "look-up, requests/s": round(statistics.median(rates["look-up"])),
        "look-up, ratio to floor (same bytes)": median_ratio(rates["look-up"], rates["same bytes"]),
        "look-up, ratio to floor (same body)": median_ratio(rates["look-up"], rates["same body"]),
        "look-up, p99 ratio to floor": round(statistics.median(slow), 2),
        "look-up, CPU us": round(statistics.median(cpu_us), 1),
    }


def median_ratio(rates: list[float], floors: list[float]) -> float:
    """The median over the rounds."""
    return round(statistics.median(rate / floor for rate, floor in zip(rates, floors, strict=True)), 3)


@contextmanager
def floor_server(folder: Path, body: bytes, headers: dict[str, str]) -> Iterator[int]:
    """A floor that answers this; gives its port."""
    folder.mkdir()
    (folder / "body").write_bytes(body)
    (folder / "headers.json").write_text(json.dumps(headers), "utf-8")
    port = processes.free_port()
    with processes.pinned(["-m", "bench.floor", str(folder), str(port)], port):
        yield port


def measure_import(fresh: Path, environment: dict[str, str], pid: int) -> tuple[float, dict[str, float], float]:
    """A file of new addresses into the running server: rows a second, its memory after it, its CPU time a row."""
    before_s = machine.cpu_s(pid)
    summary = importing(fresh, environment)
    return FRESH / summary["seconds"], machine.memory_mb(pid), (machine.cpu_s(pid) - before_s) / FRESH * 1e6


def importing(path: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Imports a file as a user would; gives the summary."""
    command = [sys.executable, "-m", "threatcloud", "import", str(path), "--source", "feed:bench", "--json"]
    answer = subprocess.run(command, check=True, env={**os.environ, **environment}, stdout=subprocess.PIPE)
    return dict(json.loads(answer.stdout))


def fetch(port: int, path: str) -> tuple[bytes, dict[str, str]]:
    """One answer of the server: its body, and its headers but the date (which every server sets itself)."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return bytes(answer.read()), {name: value for name, value in headers.items() if name not in _PER_CONNECTION}


if __name__ == "__main__":
    main()
