"""Results as they are kept: JSON with what they were measured on."""

from pathlib import Path

import msgspec

from bench.figures import Figures, flatness, rounded, verdict
from bench.fill import Filled

FOLDER = Path(__file__).parent / "results"
_PART = ".part.json"


class Line(msgspec.Struct, frozen=True):
    """One row at one size: its figures, what was wanted, and the verdict (see ``figures.verdict``)."""

    row: str
    size: str
    figures: Figures
    wanted: str
    verdict: str


class Result(msgspec.Struct, frozen=True):
    """One run."""

    measured_at: str
    machine: dict[str, str | int]
    rounds: int
    seconds: float
    stores: list[Filled]
    lines: list[Line]


def judged(row: str, size: str, figures: Figures, wanted: str, smallest: Figures | None) -> Line:
    """The line of a row, with how flat it is against the smallest size there is (None: that was not measured)."""
    flat = flatness(figures, smallest) if smallest is not None else None
    full = {name: rounded(value) for name, value in figures.items()}
    if flat is not None:
        full["flat"] = rounded(flat)
    return Line(row, size, full, wanted, verdict(wanted, full))


def save(result: Result, *, whole: bool) -> Path:
    """Keeps a run under its time; one that is not (yet) the whole table has a name that git ignores."""
    FOLDER.mkdir(exist_ok=True)
    part = FOLDER / f"{result.measured_at}{_PART}"
    part.unlink(missing_ok=True)
    path = FOLDER / f"{result.measured_at}.json" if whole else part
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def load(path: Path) -> Result:
    """A run that was kept."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def newest() -> Path | None:
    """The newest result of the whole table, if there is one."""
    return max((path for path in FOLDER.glob("*.json") if not path.name.endswith(_PART)), default=None)
