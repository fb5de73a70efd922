"""The text of a list, which is edited where few of its members change: a million are not read again for one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from threatcloud.domain.feed import plain_header
from threatcloud.domain.indicator import IndicatorType

_Piece = bytes | memoryview


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


class Head(NamedTuple):
    """What a list is headed with: its type, and when it was written."""

    kind: IndicatorType
    at: int

    def over(self, members: Members) -> bytes:
        """The comment lines of the list of these."""
        return plain_header(self.kind, self.at, members.entries)


class ListText(NamedTuple):
    """A plain list: its head, and values one a line from ``start`` on, each line ended.

    ``ends`` says, by reputation, worst first, where the lines of those that have it end.
    """

    text: bytes
    head: Head
    start: int
    ends: tuple[tuple[int, int], ...]
    members: Members

    @property
    def lines(self) -> bytes:
        """The values alone."""
        return self.text[self.start :]

    def edited(self, added: Sequence[Entry], removed: Sequence[Entry], head: Head) -> "ListText | None":
        """The list without those removed, and with those added behind the others of their reputation. None when one of
        those removed is not in it.
        """
        lines = [self._line_of(entry) for entry in removed]
        gaps = sorted(line for line in lines if line)
        if len(gaps) < len(lines):
            return None
        fresh: defaultdict[int, list[str]] = defaultdict(list)
        for entry in added:
            fresh[entry.reputation].append(f"{entry.value}\n")
        members = self.members.changed([item.pk for item in added], [item.pk for item in removed])
        parts: list[tuple[int, list[_Piece]]] = []
        for reputation, start, end in self._ranges(fresh):
            kept = _between(memoryview(self.text), start, end, gaps)
            parts.append((reputation, [*kept, "".join(fresh[reputation]).encode()]))
        return _put_together(head, members, parts)

    def _line_of(self, entry: Entry) -> tuple[int, int] | None:
        """Where the line of a value begins and ends, if it is there."""
        line = f"{entry.value}\n".encode()
        before = self.text.find(b"\n" + line, self.start - 1)
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


def joined(head: Head, parts: Iterable[tuple[int, bytes, Members]]) -> ListText:
    """The list of which these are the lines, by reputation, worst first."""
    found = list(parts)
    members = Members(*map(sum, zip(*(part for _, _, part in found), strict=True))) if found else Members()
    return _put_together(head, members, ((reputation, [lines]) for reputation, lines, _ in found))


def _put_together(head: Head, members: Members, parts: Iterable[tuple[int, list[_Piece]]]) -> ListText:
    """The list of these pieces, by reputation. They are copied once: a million entries are 14 MB."""
    first = head.over(members)
    pieces: list[_Piece] = [first]
    ends: list[tuple[int, int]] = []
    at = len(first)
    for reputation, lines in parts:
        pieces += lines
        at += sum(map(len, lines))
        ends.append((reputation, at))
    return ListText(b"".join(pieces), head, len(first), tuple(ends), members)
