"""What the server itself takes: memory, and the time to start."""

import statistics

from bench.figures import Figures
from bench.served import Site


def memory(site: Site) -> Figures:
    """What the process holds after all that was measured before."""
    _ = site.pid
    return site.memory()


def starting(site: Site) -> Figures:
    """From the start of the process until /health answers."""
    took_s = []
    for _ in range(site.effort.rounds):
        site.stop()
        took_s.append(site.start())
    site.rest()
    return {"start s": statistics.median(took_s)}
