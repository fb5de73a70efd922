"""``python -m bench.workers``: look-ups with one process and with several, in turns, nothing pinned.

Server and generator share the cores. So beside the rate each line has the processor time of a look-up in all processes
of the server and in the generator, and the share of the machine that something else took meanwhile: with much of that
the rates say nothing.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import machine, processes, reads, values
from bench.__main__ import importing, wait_until_quiet


def main() -> None:
    """Runs the rounds and prints a line for each number of processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--indicators", type=int, default=100_000, help="stored before anything is measured")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes to compare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    processes.require_tools()
    with tempfile.TemporaryDirectory(prefix="threat-cloud-bench-") as folder:
        rounds = run(Path(folder), options)
    print(json.dumps(machine.facts()))
    rates = {}
    for workers in options.workers:
        mine = [found for found in rounds if found["workers"] == workers]
        shown = {name: statistics.median(found[name] for found in mine) for name in mine[0]}
        rates[workers] = shown["requests/s"]
        print(json.dumps({**shown, "ratio": round(rates[workers] / rates[options.workers[0]], 2)}))


def run(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of every round."""
    stored, _ = values.addresses(options.indicators)
    fill = folder / "fill.txt"
    fill.write_text("\n".join(stored) + "\n", "utf-8")
    port = processes.free_port()
    environment = {
        "TC_DB_PATH": str(folder / "bench.db"),
        "TC_API_KEYS": f"{reads.KEY}:read",
        "TC_RATE_LIMIT_READ": "1000000",
        "TC_LOG_LEVEL": "warning",
        "TC_PORT": str(port),
    }
    importing(fill, environment)
    script = reads.script_of(folder, reads.Row("look-up", [f"/api/iocs/{value}" for value in stored[:5_000]]))
    with processes.running(processes.SERVER, port, environment) as pid:
        wait_until_quiet(pid)
    found = []
    for _ in range(options.rounds):
        for workers in options.workers:
            with processes.running(processes.SERVER, port, {**environment, "TC_WORKERS": str(workers)}) as pid:
                found.append({"workers": workers, **_measure(pid, workers, port, script, options)})
    return found


def _measure(pid: int, workers: int, port: int, script: Path, options: argparse.Namespace) -> dict[str, Any]:
    pids = _all_of(pid, workers)
    wait_until_quiet(pids[-1])
    processes.wrk(port, script, 1, options.connections, core=None)
    before_s, generator_s, busy_s = sum(map(machine.cpu_s, pids)), os.times(), machine.busy_s()
    load = processes.wrk(port, script, options.seconds, options.connections, core=None)
    used_s = sum(map(machine.cpu_s, pids)) - before_s
    after_s = os.times()
    generated_s = after_s.children_user + after_s.children_system
    generated_s -= generator_s.children_user + generator_s.children_system
    asked = load.requests_a_second * options.seconds
    others_s = machine.busy_s() - busy_s - used_s - generated_s
    return {
        "requests/s": round(load.requests_a_second),
        "p99 ms": load.p99_ms,
        "errors": load.errors,
        "server CPU us": round(used_s / asked * 1e6, 1),
        "generator CPU us": round(generated_s / asked * 1e6, 1),
        "others' share": round(others_s / options.seconds / (os.cpu_count() or 1), 2),
        "RssAnon MB of the last process": round(machine.memory_mb(pids[-1])["RssAnon"]),
    }


def _all_of(pid: int, workers: int) -> list[int]:
    """A server's processes; it has started them before it answers."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    pids = [pid, *map(int, text.split())]
    if len(pids) != workers:
        raise SystemExit(f"bench: {len(pids)} processes in place of {workers}")
    return pids


if __name__ == "__main__":
    main()
