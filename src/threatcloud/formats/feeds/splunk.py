"""A lookup table for Splunk, with the columns that its threat intelligence framework takes."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED
from threatcloud.formats.cells import neutral
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.csv_table import cell, table
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot

_COLUMN: Final = {IndicatorType.HASH: "file_hash"}


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry; the weight is 100 for the worst reputation."""
    return joined(chain((",".join(_columns(snapshot.kind)), "\n"), _lines(snapshot)))


def _lines(snapshot: Snapshot) -> Iterator[str]:
    for value, reputation, category, _, last_seen in snapshot.entries:
        yield f"{cell(value)},{category or UNCATEGORIZED},{100 - reputation},{last_seen}\n"


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """The same behind a column ``change``: what is ``new``, and of what was ``deleted`` the value alone."""
    return b"".join(table(("change", *_columns(item.added.kind)), _changed(item), "\n") for item in changes)


def _columns(kind: IndicatorType) -> tuple[str, ...]:
    return _COLUMN.get(kind, kind.value), "description", "weight", "last_seen"


def _rows(snapshot: Snapshot) -> Iterator[tuple[object, ...]]:
    for value, reputation, category, _, last_seen in snapshot.entries:
        yield neutral(value), category or UNCATEGORIZED, 100 - reputation, last_seen


def _changed(change: Change) -> Iterator[tuple[object, ...]]:
    for row in _rows(change.added):
        yield ("new", *row)
    for value in change.removed.values:
        yield "deleted", neutral(value), None, None, None


FORMAT: Final = Format(
    name="splunk",
    extension="lookup",
    description="a lookup table for Splunk with the columns of its threat intelligence",
    media="text/csv; charset=utf-8",
    kinds=LISTED_KINDS,
    write=write,
    delta=Delta(write_delta),
    detail=Detail.ENTRY,
)
