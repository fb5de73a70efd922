"""Figures, what is wanted of them, and whether they meet it.

What is wanted is written as it reads: ``"ratio >= 0.45, MB/s >= 500 or ratio >= 0.8"``.
"""

import operator
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Figures = dict[str, float]

#: The figures that have a column of their own in the table, in its order; all others are told beside it.
COLUMNS = ("requests/s", "p50 ms", "p99 ms", "CPU us", "RssAnon MB", "floor/s", "ratio", "flat")
_CONDITION = re.compile(r"\s*(\S.*?) (>=|<=) ([\d.]+)\s*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


class NotMeasured(Exception):
    """A row could not be measured; the message says why. The others still can."""


class Wanted(NamedTuple):
    """One condition on a figure."""

    figure: str
    sign: str
    bound: float

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure, which was measured, is on the right side."""
        return _COMPARE[self.sign](figures[self.figure], self.bound)


def parse_wanted(text: str) -> list[list[Wanted]]:
    """All that is wanted, each as the alternatives that do; ValueError for what is no condition."""
    return [[_condition(one) for one in part.split(" or ")] for part in text.split(",") if part]


def _condition(text: str) -> Wanted:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition such as 'ratio >= 0.5'")
    return Wanted(match[1], match[2], float(match[3]))


def verdict(text: str, figures: Mapping[str, float]) -> str:
    """``met``, or which figures are not or were not measured; empty when nothing is wanted."""
    wrong = []
    for alternatives in parse_wanted(text):
        measured = [one for one in alternatives if one.figure in figures]
        if not measured:
            wrong.append(f"{alternatives[0].figure} not measured")
        elif not any(one.is_met(figures) for one in measured):
            wrong.append(f"{alternatives[0].figure} not met")
    return ", ".join(wrong) or ("met" if text else "")


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over rounds that all have the same ones."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def with_ratios(figures: Figures, rounds: Iterable[tuple[float, float]]) -> Figures:
    """The figures with the rate of the floor beside, and the median of the ratios of rounds (ours, the floor's)."""
    pairs = list(rounds)
    return {
        **figures,
        "floor/s": statistics.median(floor for _, floor in pairs),
        "ratio": statistics.median(ours / floor for ours, floor in pairs),
    }


def flatness(here: Mapping[str, float], smallest: Mapping[str, float]) -> float | None:
    """How much of the speed at the smallest size is left: by ratios to the floor where there are any, else by rates."""
    for name in ("ratio", "requests/s"):
        if here.get(name) and smallest.get(name):
            return here[name] / smallest[name]
    return None


def rounded(value: float) -> float:
    """The value with three significant digits at least."""
    return round(value) if abs(value) >= 100 else round(value, 1) if abs(value) >= 10 else round(value, 3)
