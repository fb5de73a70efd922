"""Both stores side by side: look-ups and batches of reports through the services, without HTTP.

``python -m bench.engines postgresql://…`` (an empty database). Rounds take turns, so that what else the machine does
falls on both; the median of the rounds counts.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import uvloop

from threatcloud.bootstrap import Node, open_node
from threatcloud.config import load_settings
from threatcloud.services.access import LOCAL_OPERATOR
from threatcloud.services.intake import Claim

ROUNDS: Final = 5
_LOOKUPS: Final = 1_000
_AT_ONCE: Final = 8
_BATCHES: Final = 4
_BATCH_ROWS: Final = 500


class Cost(NamedTuple):
    """What one look-up or one reported indicator takes: of the clock, and of this process."""

    wall_us: float
    own_us: float


def _value(number: int) -> str:
    """An address; one that ends in zeros would be an anonymised network, around all the others."""
    return f"91.{number // 62_500 % 250}.{number // 250 % 250}.{number % 250 + 1}"


async def _costs(count: int, run: Callable[[], Awaitable[None]]) -> Cost:
    wall_s, own_s = time.perf_counter(), time.process_time()
    await run()
    return Cost((time.perf_counter() - wall_s) / count * 1e6, (time.process_time() - own_s) / count * 1e6)


async def _report(node: Node, first: int) -> None:
    """Batches that wait together, as from several clients."""

    def batch(start: int) -> list[Claim]:
        return [Claim("ip", _value(start + n), "manual", "scanner", "high", 0.9) for n in range(_BATCH_ROWS)]

    starts = [first + number * _BATCH_ROWS for number in range(_BATCHES)]
    await asyncio.gather(*(node.services.reporting.submit(batch(start), LOCAL_OPERATOR) for start in starts))


async def _look_up(node: Node, below: int) -> None:
    async def some(offset: int) -> None:
        for number in range(offset, _LOOKUPS, _AT_ONCE):
            await node.services.lookup.detail(_value(number * 7919 % below))

    await asyncio.gather(*(some(offset) for offset in range(_AT_ONCE)))


async def measure(database_url: str) -> dict[str, dict[str, Cost]]:
    """By what was done, by engine: the medians."""
    found: dict[str, dict[str, list[Cost]]] = {"report": {}, "look up": {}}
    with tempfile.TemporaryDirectory() as folder:
        where = {"sqlite": {}, "postgresql": {"TC_DATABASE_URL": database_url}}
        environs = {name: {"TC_DB_PATH": str(Path(folder) / name / "x.db"), **more} for name, more in where.items()}
        nodes = {name: await open_node(load_settings({}, environ)) for name, environ in environs.items()}
        rows = _BATCHES * _BATCH_ROWS
        for number in range(ROUNDS):
            for name, node in nodes.items():
                cost = await _costs(rows, lambda node=node, number=number: _report(node, number * rows))  # type: ignore[misc]
                found["report"].setdefault(name, []).append(cost)
        for _ in range(ROUNDS):
            for name, node in nodes.items():
                cost = await _costs(_LOOKUPS, lambda node=node: _look_up(node, ROUNDS * rows))  # type: ignore[misc]
                found["look up"].setdefault(name, []).append(cost)
        for node in nodes.values():
            node.close()
    return {
        what: {name: Cost(*(median(column) for column in zip(*costs, strict=True))) for name, costs in of_all.items()}
        for what, of_all in found.items()
    }


def main() -> None:
    """Prints the figures."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for what, costs in runner.run(measure(sys.argv[1])).items():
            for name, cost in costs.items():
                rate = 1e6 / cost.wall_us
                print(
                    f"{what:8} {name:11} {cost.wall_us:7.0f} us, {cost.own_us:6.0f} us of its own, {rate:8.0f} a second"
                )


if __name__ == "__main__":
    main()
