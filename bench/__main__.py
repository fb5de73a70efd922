"""``python -m bench [--indicators N]``: import, reads and memory, against a floor, kept in bench/results/."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine, processes, reads, values

FRESH = 100_000


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
    show(result)
    print(f"kept in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def run(folder: Path, indicators: int, seconds: int) -> dict[str, Any]:
    """All figures of one run."""
    stored, origin = values.addresses(indicators + FRESH)
    fill, fresh = folder / "fill.txt", folder / "fresh.txt"
    fill.write_text("\n".join(stored[:indicators]) + "\n", "utf-8")
    fresh.write_text("\n".join(stored[indicators:]) + "\n", "utf-8")
    environment = {
        "TC_DB_PATH": str(folder / "bench.db"),
        "TC_API_KEYS": f"{reads.KEY}:read",
        "TC_RATE_LIMIT_READ": "1000000",
        "TC_RATE_LIMIT_FEED": "1000000",
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
        wait_until_quiet(pid)
        table = reads.measure(folder, port, pid, reads.rows(port, stored[:5_000]), seconds)
        memory = machine.memory_mb(pid)
    with processes.running([sys.executable, "-m", "threatcloud", "serve"], port, environment) as pid:
        rate, peak, import_cpu_us = measure_import(fresh, environment, pid)
    return {
        "machine": machine.facts(),
        "indicators": indicators,
        "values": origin,
        "start until /health, s": round(start_s, 2),
        "server RssAnon after load, MB": round(memory["RssAnon"]),
        "server RssFile after load, MB": round(memory["RssFile"]),
        "import into empty, rows/s": round(fill_rate),
        f"import of {FRESH} into {indicators}, rows/s": round(rate),
        "import, server CPU us a row": round(import_cpu_us, 1),
        "server RssAnon after import, MB": round(peak["RssAnon"]),
        "reads": table,
    }


def wait_until_quiet(pid: int, *, most_s: int = 600) -> None:
    """Returns once the server has done what an import leaves to do (correlation) and idles."""
    print("waiting until the server idles ...", flush=True)
    for _ in range(most_s // 3):
        before_s = machine.cpu_s(pid)
        time.sleep(3)
        if machine.cpu_s(pid) - before_s < 0.15:
            return
    sys.exit("bench: the server does not come to rest")


def show(result: dict[str, Any]) -> None:
    """Prints the figures, and the table of reads."""
    for name, value in result.items():
        if name != "reads":
            print(f"{name:34} {value}")
    table = result["reads"]
    print()
    print(" | ".join(f"{name:>12}" if name != "row" else f"{name:26}" for name in table[0]))
    for row in table:
        print(" | ".join(f"{row[name]!s:>12}" if name != "row" else f"{row[name]:26}" for name in row))


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


if __name__ == "__main__":
    main()
