"""Measures every route, write and job at each size of the store, and prints one table: ``python -m bench --help``."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, processes, registry, report, results, stores
from bench.figures import NotMeasured
from bench.results import Line, Result
from bench.rows import Row
from bench.served import Effort, Site
from bench.sizes import SIZES, SMALLEST, Size

_EXAMPLES = """examples:
  python -m bench --quick                     everything at 10k, in short rounds
  python -m bench --keep data/bench           everything; the filled stores are used again for a day
  python -m bench --sizes 1m --rows look-up   the rows that have this in their name, at one size
  python -m bench --list                      the rows, and what is wanted of them
"""
_EFFORT = Effort(rounds=3, seconds=3)
_MOST_REASON = 120
_QUICK = Effort(rounds=2, seconds=1)


def main() -> None:
    """Runs what is asked for."""
    options = _options()
    if options.list:
        for row in options.rows:
            print(f"{row.name:32} {row.wanted}")
        return
    processes.require_tools()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    effort = Effort(options.rounds or options.effort.rounds, options.seconds or options.effort.seconds)
    with tempfile.TemporaryDirectory(prefix="threat-cloud-bench-", dir=options.keep) as folder:
        result = measure(Path(folder), options.keep, options.sizes, options.rows, effort)
    is_whole = options.rows == registry.ROWS and set(options.sizes) == set(SIZES.values())
    path = results.save(result, whole=is_whole)
    print(report.table(result))
    print(f"kept in {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", default="", help=f"of the store, comma separated (default: {','.join(SIZES)})")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only rows with this in their name")
    parser.add_argument("--quick", action="store_true", help="10k and short rounds unless said otherwise")
    parser.add_argument("--rounds", type=int, help="of each figure, whose median counts")
    parser.add_argument("--seconds", type=float, help="of load in each round")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep filled stores here and use them again")
    parser.add_argument("--list", action="store_true", help="only show the rows")
    options = parser.parse_args()
    options.effort = _QUICK if options.quick else _EFFORT
    try:
        options.rows = registry.chosen(options.rows)
        options.sizes = [
            SIZES[name] for name in (options.sizes or ("10k" if options.quick else ",".join(SIZES))).split(",")
        ]
    except KeyError as error:
        parser.error(f"no size {error}; there are {', '.join(SIZES)}")
    except ValueError as error:
        parser.error(str(error))
    return options


def measure(folder: Path, keep: Path | None, sizes: Sequence[Size], rows: Sequence[Row], effort: Effort) -> Result:
    """All figures of one run, kept as they come; the stores are measured from the smallest on."""
    measured_at = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    result = Result(measured_at, machine.facts(), effort.rounds, effort.seconds, [], [])
    for size in sorted(sizes, key=lambda one: one.indicators):
        work = folder / size.name
        work.mkdir()
        filled = stores.provide(work / "bench.db", size, keep)
        result.stores.append(filled)
        with Site(work, filled, effort) as site:
            for row in rows:
                result.lines.append(_line(site, row, size, result.lines))
                results.save(result, whole=False)
        shutil.rmtree(work)
    return result


def _line(site: Site, row: Row, size: Size, before: Sequence[Line]) -> Line:
    print(f"{size.name}: {row.name} ...", end=" ", file=sys.stderr, flush=True)
    try:
        figures = row.measure(site)
    except NotMeasured as reason:
        print(reason, file=sys.stderr, flush=True)
        return Line(row.name, size.name, {}, row.wanted, f"failed: {reason}"[:_MOST_REASON])
    figures |= site.memory()
    at_smallest = next((line.figures for line in before if (line.row, line.size) == (row.name, SMALLEST.name)), None)
    line = results.judged(row.name, size.name, figures, row.wanted, figures if size is SMALLEST else at_smallest)
    print(report.told(line.figures), line.verdict, file=sys.stderr, flush=True)
    return line


if __name__ == "__main__":
    main()
