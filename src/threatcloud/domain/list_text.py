"""The text of a list, which is edited where few of its members change: a million are not read again for one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Members(NamedTuple):
    """Who is in a list, whatever the order: their count, the sum of their row numbers, and the sum of those scattered.

    The row numbers are squared twice, modulo different primes: a sum of multiples follows from the sum ({1, 4} and
    {2, 3} would be the same), and one of squares from that of the squares.
    """

    entries: int = 0
    total: int = 0
    scattered: int = 0

    @property
    def fingerprint(self) -> str:
        """The same for the same members."""
        return f"{self.entries}-{self.total}-{self.scattered}"

    def changed(self, added: Sequence[int], removed: Sequence[int]) -> "Members":
        """Those after some, by row number, came and left."""
        return Members(
            self.entries + len(added) - len(removed),
            self.total + sum(added) - sum(removed),
            self.scattered + sum(map(_scattered, added)) - sum(map(_scattered, removed)),
        )


def _scattered(pk: int) -> int:
    multiple = pk * 2654435761 % 2147483647
    square = multiple * multiple % 2147483629
    return square * square % 274877906899


class Entry(NamedTuple):
    """A member by its row number, with the reputation it is listed with."""

    pk: int
    value: str
    reputation: int


class ListText(NamedTuple):
    """Values one a line, each line ended, from ``start`` of a text whose line before that is ended, too.

    ``ends`` says, by reputation, worst first, where the lines of those that have it end.
    """

    text: bytes
    start: int
    ends: tuple[tuple[int, int], ...]
    members: Members

    @property
    def lines(self) -> bytes:
        """The values alone."""
        return self.text[self.start :]

    def moved_to(self, text: bytes) -> "ListText":
        """The same list in a text that ends with it."""
        shift = len(text) - len(self.text)
        return ListText(text, self.start + shift, tuple((it, end + shift) for it, end in self.ends), self.members)

    def edited(self, added: Sequence[Entry], removed: Sequence[Entry]) -> "ListText | None":
        """The list without those removed, and with those added behind the others of their reputation; the text begins
        with its values. None when one of those removed is not in it.
        """
        pieces: list[memoryview | bytes] = []
        lengths: dict[int, int] = {}
        lines = [self._line_of(entry) for entry in removed]
        gaps = sorted(line for line in lines if line)
        if len(gaps) < len(lines):
            return None
        fresh: defaultdict[int, list[str]] = defaultdict(list)
        for entry in added:
            fresh[entry.reputation].append(f"{entry.value}\n")
        for reputation, start, end in self._ranges(fresh):
            kept = list(_between(memoryview(self.text), start, end, gaps))
            more = "".join(fresh[reputation]).encode()
            pieces += [*kept, more]
            lengths[reputation] = sum(map(len, kept)) + len(more)
        ends, at = [], 0
        for reputation, length in lengths.items():
            at += length
            ends.append((reputation, at))
        members = self.members.changed([item.pk for item in added], [item.pk for item in removed])
        return ListText(b"".join(pieces), 0, tuple(ends), members)

    def _line_of(self, entry: Entry) -> tuple[int, int] | None:
        """Where the line of a value begins and ends, if it is there."""
        line = f"{entry.value}\n".encode()
        if self.text.startswith(line, self.start):
            return self.start, self.start + len(line)
        before = self.text.find(b"\n" + line, self.start)
        return (before + 1, before + 1 + len(line)) if before >= 0 else None

    def _ranges(self, more: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        """Each reputation that the list has, or is to have, with where its lines begin and end."""
        known, at = dict(self.ends), self.start
        for reputation in sorted({*known, *more}):
            end = known.get(reputation, at)
            yield reputation, at, end
            at = end


def _between(text: memoryview, start: int, end: int, gaps: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
    """What lies between two places of a text, without the gaps."""
    for gap_start, gap_end in gaps:
        if start <= gap_start < end:
            yield text[start:gap_start]
            start = gap_end
    yield text[start:end]


def joined(parts: Iterable[tuple[int, bytes, Members]]) -> ListText:
    """The list of which these are the lines, by reputation, worst first."""
    pieces: list[bytes] = []
    ends: list[tuple[int, int]] = []
    members, at = Members(), 0
    for reputation, lines, found in parts:
        pieces.append(lines)
        at += len(lines)
        ends.append((reputation, at))
        members = Members(*(one + other for one, other in zip(members, found, strict=True)))
    return ListText(b"".join(pieces), 0, tuple(ends), members)
