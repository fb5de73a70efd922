"""Look-ups with one process and with two, in turns, server and load wherever the system puts them.

The load takes a part of the two cores, so twice the rate is out of reach here: ``busy`` is how much of the machine was
in use with one process and with two, and ``CPU us`` what a look-up costs in all processes of the server.
"""

from pathlib import Path

from bench import machine, reads, wrk
from bench.figures import Figures, medians, with_ratios
from bench.served import KEY, Site

_CONNECTIONS = 64
_PROCESSES = 2


def measure(site: Site) -> Figures:
    """Look-ups of stored addresses; ``ratio`` is two processes to one, whose rate is ``floor/s``."""
    asked = reads.known_values(site)
    script = wrk.write_script(site.new_folder(), "GET", None, asked.lines, {"Authorization": f"Bearer {KEY}"})
    one: list[Figures] = []
    two: list[Figures] = []
    for _ in range(site.effort.rounds):
        one.append(_round(site, script, 1))
        two.append(_round(site, script, _PROCESSES))
    site.stop()
    rates = [(after["requests/s"], before["requests/s"]) for before, after in zip(one, two, strict=True)]
    alone = medians(one)
    beside = {"busy with one": alone["busy"], "CPU us with one": alone["CPU us"]}
    return with_ratios({**medians(two), **beside}, rates)


def _round(site: Site, script: Path, workers: int) -> Figures:
    site.stop()
    site.start(workers=workers, core=None)
    site.rest()
    pids = machine.family(site.pid)
    used_s, busy_s = sum(map(machine.cpu_s, pids)), machine.busy_s()
    seen = wrk.run(site.port, script, site.effort.seconds, _CONNECTIONS, core=None)
    used_s, busy_s = sum(map(machine.cpu_s, pids)) - used_s, machine.busy_s() - busy_s
    reads.check(seen)
    return {
        "requests/s": seen.requests_a_second,
        "p50 ms": seen.p50_ms,
        "p99 ms": seen.p99_ms,
        "CPU us": used_s / seen.requests * 1e6,
        "busy": busy_s / (seen.requests / seen.requests_a_second) / machine.cores(),
    }
