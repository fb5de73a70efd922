"""What a list costs in every format: ``python -m bench.formats [--entries N] [--formats NAME ...]``.

So many values are put into a database, and a list of all of them is made as the server makes it: the statement, the
process that renders, the digest, and the body compressed with zstd. Each format is measured in a process of its own,
once; the plain list of the same values, which the database renders alone, is the floor.

The rows have the shape that reports make, at its dearest: each has times of its own, so no two lines are alike.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.figures import rounded
from bench.machine import family, memory_mb
from bench.values import origin, values
from threatcloud.bootstrap import clock
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, canonical, indicator_key
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.times import DAY_MS
from threatcloud.formats.feeds import FORMATS, NAMES, PLAIN, Format, find_format
from threatcloud.services.publishing import IDENTITY, Publisher
from threatcloud.services.rendering import Renderer, Shape
from threatcloud.storage.driver import Transaction
from threatcloud.storage.opening import open_store
from threatcloud.storage.store import Store

_DEFAULT_ENTRIES: Final = 1_000_000
_NAMES: Final = {IndicatorType.IP: "ips", IndicatorType.DOMAIN: "domains", IndicatorType.HASH: "hashes"}
_PROGRAM: Final = "-m", "bench.formats", "--measure"
_SAMPLED_S: Final = 0.02
_HEAD: Final = """\
| format | of | entries | CPU s | body MB | peak MB | floors |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""
_TECHNIQUES: Final = ('{"mitreIds":["T1110.001"]}', '{"mitreIds":["T1071","T1595"],"tags":["x"]}', None, None)
_MARKS: Final = ("green", "clear", "amber", None)
COLUMNS: Final = (
    *("id", "type", "value", "status", "reputation", "category", "confidence", "source", "sources", "sightings"),
    *("first_seen", "last_seen", "created_at", "updated_at", "expires_at", "tlp", "metadata", "shared", "listed"),
)


def kind_of(format_: Format) -> IndicatorType:
    """The type of which a format is measured: addresses, where it can say them."""
    return next(kind for kind in _NAMES if kind in format_.kinds)


def wanted_list(kind: IndicatorType) -> FeedList:
    """A list of all that is stored, which is no default list: nothing of it is rendered ahead."""
    return FeedList(kind, BLOCK_REPUTATION + 1)


def rows(kind: IndicatorType, texts: Iterable[str], now: int) -> Iterator[tuple[object, ...]]:
    """What is stored of values, in the order of ``COLUMNS``."""
    chance = random.Random(7)
    for text in texts:
        try:
            value = canonical(kind, text).value
        except InvalidIndicator:
            continue
        first, last, updated = sorted(now - int(chance.random() * 90 * DAY_MS) for _ in range(3))
        yield (
            *(indicator_key(kind, value), kind.code, value, "active", int(chance.random() * (BLOCK_REPUTATION + 1))),
            *(chance.choice((*CATEGORIES, None)), chance.random(), 1, "[]", 1, first, last, first, updated),
            *(now + 30 * DAY_MS if chance.random() < 0.5 else None, chance.choice(_MARKS), chance.choice(_TECHNIQUES)),
            *(1, 1),
        )


async def fill(path: Path, kinds: Iterable[IndicatorType], entries: int) -> None:
    """Makes a database with so many values of each type."""
    store = open_store(path, clock)
    marks = ", ".join("?" * len(COLUMNS))
    statement = f"INSERT OR IGNORE INTO indicator ({', '.join(COLUMNS)}) VALUES ({marks})"
    try:
        for kind in kinds:
            found = rows(kind, values(_NAMES[kind], 0, entries), clock())

            def insert(tx: Transaction, found: Iterator[tuple[object, ...]] = found) -> None:
                tx.db.run_many(statement, found)

            await store.write(insert, bulk=True)
    finally:
        store.close()


async def make(store: Store, format_: Format) -> dict[str, float]:
    """Renders a list in a format as the server does; figures of this process and of those it started."""
    publisher = Publisher(store, clock)
    renderer = Renderer(store, publisher, clock)
    wanted = wanted_list(kind_of(format_))
    await publisher.start()
    if format_ is not PLAIN:  # what formats are made from is there before anybody asks for one
        await publisher.get(wanted)
    print(flush=True)
    sys.stdin.readline()  # whoever looks at the memory knows what there was before
    before_s, cpu_before_s = time.perf_counter(), _cpu_s()
    published = await renderer.get(wanted, Shape(format_))
    await publisher.body(published, "zstd")
    return {
        "entries": published.entries,
        "CPU s": _cpu_s() - cpu_before_s,
        "seconds": time.perf_counter() - before_s,
        "body MB": len(published.bodies[IDENTITY]) / 1e6,
    }


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


async def measure_here(path: Path, format_: Format) -> dict[str, float]:
    """The figures of a format, of this process."""
    store = open_store(path, clock)
    try:
        return await make(store, format_)
    finally:
        store.close()


def measure(path: Path, format_: Format) -> dict[str, float]:
    """The figures of a format, in a process of its own, with how much memory more than before it and its own took."""
    command = [sys.executable, *_PROGRAM, format_.name, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before_mb = _memory_mb(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        peak_mb = before_mb
        while process.poll() is None:
            peak_mb = max(peak_mb, _memory_mb(process.pid))
            time.sleep(_SAMPLED_S)
        figures: dict[str, float] = json.loads(process.stdout.read())
    return figures | {"peak MB": peak_mb - before_mb}


def _memory_mb(pid: int) -> float:
    """Memory of the own of a process and of those it has started; of one that is gone, none."""
    total = 0.0
    try:
        for one in family(pid):
            total += memory_mb(one).get("RssAnon", 0.0)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def line(format_: Format, figures: dict[str, float], floor_s: float) -> str:
    """A line of the table."""
    cells = [f"{rounded(figures[name]):,}" for name in ("entries", "CPU s", "body MB", "peak MB")]
    return f"| {format_.name} | {kind_of(format_)} | {' | '.join(cells)} | {figures['CPU s'] / floor_s:.1f} |"


def chosen(names: Sequence[str]) -> list[Format]:
    """The formats of these names, all without any; the plain list, which is the floor, comes first."""
    found = [find_format(name) for name in names] if names else FORMATS
    return [PLAIN, *(format_ for format_ in found if format_ is not PLAIN)]


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=_DEFAULT_ENTRIES)
    parser.add_argument("--formats", nargs="+", default=[], choices=NAMES, metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="the filled database is kept here and used again")
    parser.add_argument("--measure", nargs=2, metavar=("FORMAT", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, path = given.measure
        print(json.dumps(asyncio.run(measure_here(Path(path), find_format(name)))))
        return
    formats = chosen(given.formats)
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "formats.db"
        if not path.exists():
            asyncio.run(fill(path, {kind_of(format_): None for format_ in formats}, given.entries))
        print(_HEAD)
        floor_s = 0.0
        for format_ in formats:
            figures = measure(path, format_)
            floor_s = floor_s or figures["CPU s"]
            print(line(format_, figures, floor_s), flush=True)
    print(f"\naddresses: {origin('ips', given.entries)}")


if __name__ == "__main__":
    main()
