"""Draws how flat a run is, row by row: ``python -m bench.plot RESULT``.

matplotlib is needed for this command only; it is the dependency group ``bench``.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from bench import results
from bench.results import Result
from bench.sizes import SIZES

PICTURE = Path(__file__).parents[1] / "docs" / "performance.svg"
_COLUMNS = 5
_INK, _GRID, _LINE = "#333333", "#dddddd", "#1f5fa8"


def series(result: Result) -> dict[str, dict[str, float]]:
    """By row, how much of the speed at the smallest size is left at each; rows of one size are left out."""
    found: dict[str, dict[str, float]] = {}
    for line in result.lines:
        if "flat" in line.figures:
            found.setdefault(line.row, {})[line.size] = line.figures["flat"]
    return {row: points for row, points in found.items() if len(points) > 1}


def draw(result: Result, target: Path) -> None:
    """Writes the picture, a small panel for each row; the suffix of ``target`` says in which format."""
    pyplot = _pyplot()
    shown = series(result)
    if not shown:
        sys.exit("bench: this run has no row at two sizes, so there is nothing to draw")
    height = -(-len(shown) // _COLUMNS)
    figure, panels = pyplot.subplots(
        height, _COLUMNS, figsize=(2.4 * _COLUMNS, 1.7 * height), sharex=True, sharey=True, squeeze=False
    )
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
    for panel, (row, points) in zip(panels.flat, shown.items(), strict=False):
        _panel(panel, row, points)
    panels.flat[0].set_ylim(0, max(1.4, *(1.2 * value for points in shown.values() for value in points.values())))
    figure.suptitle(
        "Speed by size of the store, 10k = 1: of ratios to the floor where there is one", fontsize=11, color=_INK
    )
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def _panel(panel: Any, row: str, points: dict[str, float]) -> None:
    names = list(SIZES)
    places = [names.index(size) for size in points]
    panel.plot(places, list(points.values()), color=_LINE, marker="o", markersize=4)
    for place, value in zip(places, points.values(), strict=True):
        panel.annotate(f"{value:.2f}", (place, value), (0, 5), textcoords="offset points", ha="center", fontsize=7)
    panel.set_title(row, fontsize=8, color=_INK)
    panel.set_xticks(range(len(names)), names)
    panel.set_xlim(-0.3, len(names) - 0.7)
    panel.tick_params(labelbottom=True)
    panel.grid(axis="y", color=_GRID, linewidth=0.6)
    panel.tick_params(labelsize=7, colors=_INK)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _pyplot() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        sys.exit(
            "bench: matplotlib is needed to draw: pip install --group bench (pip before 25.1: pip install matplotlib)"
        )
    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "threat-cloud", "svg.fonttype": "none"})
    return importlib.import_module("matplotlib.pyplot")


def main() -> None:
    """Draws a result that is kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.plot", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=results.newest(), help="default: the newest kept")
    parser.add_argument("--to", type=Path, default=PICTURE, metavar="FILE", help=f"default: {PICTURE.name} in docs/")
    options = parser.parse_args()
    if options.result is None:
        sys.exit("bench: there is no result yet; make one with python -m bench")
    draw(results.load(options.result), options.to)
    print(f"drawn to {options.to}")


if __name__ == "__main__":
    main()
