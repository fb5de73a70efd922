"""A table with a header (RFC 4180); a cell that a spreadsheet would take for a formula begins with an apostrophe."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.formats.cells import neutral
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot

#: Of what no table takes for anything else: the characters of addresses, names and hashes.
is_bare: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.:/-]*").fullmatch
_COLUMNS: Final = ("value", "type", "reputation", "category", "firstSeen", "lastSeen")


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The entries of several lists."""
    return joined(chain((",".join(_COLUMNS), "\r\n"), chain.from_iterable(map(_lines, snapshots))))


def _lines(snapshot: Snapshot) -> Iterator[str]:
    """What a writer of tables would make of the rows, in a third of the time: only a value can need quoting."""
    kind = snapshot.kind.value
    for value, reputation, category, first, last in snapshot.entries:
        yield f"{cell(value)},{kind},{reputation},{category or ''},{first},{last}\r\n"


def cell(value: str) -> str:
    """A value as a table has it."""
    return value if is_bare(value) else table((neutral(value),), (), "").decode()


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """The same behind a column ``change``: what is ``new``, and of what was ``deleted`` the value and type alone."""
    return table(("change", *_COLUMNS), (row for change in changes for row in _changed(change)))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], end: str = "\r\n") -> bytes:
    """A table in CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _rows(snapshot: Snapshot) -> Iterator[tuple[object, ...]]:
    kind = snapshot.kind.value
    for value, reputation, category, first_seen, last_seen in snapshot.entries:
        yield neutral(value), kind, reputation, category, first_seen, last_seen


def _changed(change: Change) -> Iterator[tuple[object, ...]]:
    for row in _rows(change.added):
        yield ("new", *row)
    for value in change.removed.values:
        yield "deleted", neutral(value), change.removed.kind.value, None, None, None, None


FORMAT: Final = Format(
    name="csv",
    extension="csv",
    description="a table with a header line (RFC 4180), safe to open in a spreadsheet",
    media="text/csv; charset=utf-8",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.ENTRY,
)
