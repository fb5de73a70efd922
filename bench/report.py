"""The table of a run, and the one in docs/performance.md: ``python -m bench.report [RESULT] [--write]``."""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from bench import results
from bench.figures import COLUMNS
from bench.plot import PICTURE
from bench.results import Line, Result

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_PLACE = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->\n)", re.DOTALL)


def table(result: Result) -> str:
    """All figures of a run as Markdown: a line for each row and size, rows together."""
    head = ["what", "size", *COLUMNS, "also", "wanted", "verdict"]
    order = list(dict.fromkeys(line.row for line in result.lines))
    lines = sorted(result.lines, key=lambda line: order.index(line.row))  # sizes stay in their order
    cells = [head, ["---", "---", *["---:"] * len(COLUMNS), "---", "---", "---"], *map(_cells, lines)]
    return "".join(f"| {' | '.join(cell)} |\n" for cell in cells)


def _cells(line: Line) -> list[str]:
    columns = [_number(line.figures[name]) if name in line.figures else "" for name in COLUMNS]
    others = {name: value for name, value in line.figures.items() if name not in COLUMNS}
    return [line.row, line.size, *columns, told(others), line.wanted, line.verdict]


def told(figures: Mapping[str, float]) -> str:
    """Figures in one line of text."""
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def about(result: Result) -> str:
    """What was measured on which machine, in sentences."""
    stores = "; ".join(
        f"{store.size}: {store.indicators:,} indicators, {store.sightings:,} sightings, "
        f"{store.megabytes:,} MB, filled in {store.filled_s:,.0f} s, correlated in {store.correlated_s:,.0f} s"
        for store in result.stores
    )
    machine = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    effort = f"medians of {result.rounds} rounds of {result.seconds:g} s"
    return f"Run `{result.measured_at}`, {effort}, on: {machine}.\n\nStores: {stores}.\n"


def renewed(text: str, result: Result) -> str:
    """The document with this run in its place; ValueError when it has no place for one."""
    if len(_PLACE.findall(text)) != 1:
        raise ValueError("the document needs one '<!-- measured -->' and '<!-- end -->'")
    picture = f"![Speed by size of the store]({PICTURE.name})\n\n" if PICTURE.exists() else ""
    content = f"{picture}{about(result)}\n{table(result)}"
    return _PLACE.sub(lambda match: match[1] + content + match[2], text)


def main() -> None:
    """Prints or writes."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=results.newest(), help="default: the newest kept")
    parser.add_argument("--write", action="store_true", help="renew the table in docs/performance.md")
    options = parser.parse_args()
    if options.result is None:
        sys.exit("bench: there is no result yet; make one with python -m bench")
    result = results.load(options.result)
    if options.write:
        DOCUMENT.write_text(renewed(DOCUMENT.read_text("utf-8"), result), "utf-8")
    else:
        print(about(result))
        print(table(result))


if __name__ == "__main__":
    main()
