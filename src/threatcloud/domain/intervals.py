"""Which of many ranked networks lies at an address: disjoint stretches in sorted order, found by bisection."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain
from typing import Final, NamedTuple

#: A range of addresses and its rank: first and last address, both included, and how strong it is (0: strongest).
Range = tuple[int, int, int]
MAX_RANK: Final = 0xFFFF
_END: Final = (1 << 128, 1 << 128, MAX_RANK)  # beyond every address, so that the last ranges are finished


class Stretches(NamedTuple):
    """Disjoint stretches in ascending order: first and last addresses, and ranks, each as long."""

    firsts: Sequence[int]
    lasts: Sequence[int]
    ranks: Sequence[int]


class Intervals:
    """Ranges of the addresses of one IP version, immutable; where they overlap, the strongest rank stands."""

    __slots__ = ("_firsts", "_lasts", "_ranks")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Ranges in any order, overlapping as they like; ranks from 0 (strongest) to ``MAX_RANK``."""
        firsts: list[int] = []
        lasts: list[int] = []
        ranks = array("H")
        for first, last, rank in _disjoint(ranges):
            if ranks and ranks[-1] == rank and lasts[-1] + 1 == first:
                lasts[-1] = last
            else:
                firsts.append(first)
                lasts.append(last)
                ranks.append(rank)
        self._set(Stretches(firsts, lasts, ranks))

    @classmethod
    def of(cls, stretches: Stretches) -> "Intervals":
        """The intervals that ``stretches`` came from; they are not checked again."""
        made = cls.__new__(cls)
        made._set(stretches)
        return made

    def _set(self, stretches: Stretches) -> None:
        # Not arrays: bisecting one makes an integer at every step. A stretch of one address shares its integer.
        firsts, lasts, ranks = stretches
        self._firsts = tuple(firsts)
        self._lasts = tuple([first if first == last else last for first, last in zip(firsts, lasts, strict=True)])
        self._ranks = array("H", ranks)

    @property
    def stretches(self) -> Stretches:
        """What it is made of, for ``of``."""
        return Stretches(self._firsts, self._lasts, self._ranks)

    def __len__(self) -> int:
        """The number of disjoint stretches."""
        return len(self._ranks)

    def at(self, address: int) -> int | None:
        """The strongest rank at one address; None where no range lies."""
        index = bisect_right(self._firsts, address) - 1
        return self._ranks[index] if index >= 0 and self._lasts[index] >= address else None

    def strongest(self, first: int, last: int) -> int | None:
        """The strongest rank that has an address in common with ``first`` to ``last``; None for none."""
        start = bisect_left(self._lasts, first)
        stop = bisect_right(self._firsts, last, start)
        return min(self._ranks[start:stop], default=None)


def _disjoint(ranges: Iterable[Range]) -> Iterator[Range]:
    """The same coverage in ascending, disjoint pieces of the strongest rank; neighbours may share a rank."""
    active: list[tuple[int, int]] = []  # rank and last address of what began before the position
    position = 0
    for first, last, rank in chain(sorted(ranges), (_END,)):
        while active and position < first:
            strongest, until = active[0]
            if until >= position:
                yield position, min(until, first - 1), strongest
                position = until + 1
            if until < first:
                heappop(active)
        position = first
        heappush(active, (rank, last))
