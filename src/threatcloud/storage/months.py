"""Months of sightings that are closed: forgotten by age, while what was concluded from them stays (docs/adr/0028).

The closing point is the time before which all months are closed. It only ever grows. What was observed before it is not
taken out of rollups any more, whether its rows are still stored or not: a month counts as a whole, or not at all.
"""

from typing import Final, NamedTuple

from threatcloud.storage import meta, partitions
from threatcloud.storage.driver import Connection, Row, Transaction
from threatcloud.storage.walking import slice_end

_CLOSED: Final = "sightings_closed_before"
_FORGOTTEN: Final = "sightings_forgotten_before"


class Closing(NamedTuple):
    """The closing point, and the time before which no sightings are left but some that came late; 0: none ever was."""

    closed_before: int
    forgotten_before: int


class Slice(NamedTuple):
    """One slice of a walk: the row number it ends with (None: the walk is over), and those found in it."""

    last_pk: int | None
    found: list[int]


def closing(db: Connection) -> Closing:
    """How far months are closed and forgotten."""
    return Closing(closed_before(db), int(meta.find(db, _FORGOTTEN) or 0))


def closed_before(db: Connection) -> int:
    """The closing point; 0 while no month is closed."""
    return int(meta.find(db, _CLOSED) or 0)


def close(tx: Transaction, time: int) -> bool:
    """Moves the closing point to the beginning of a month, and drops what can be dropped; False, with nothing done,
    while others read sightings."""
    if tx.db.has_partitions and not partitions.drop_before(tx.db, time):
        return False
    meta.put(tx, _CLOSED, str(time))
    return True


def forgotten(tx: Transaction, time: int) -> None:
    """Notes that the rows from before a time are gone."""
    meta.put(tx, _FORGOTTEN, str(time))


def left_before(db: Connection, time: int, after_pk: int, rows: int) -> Slice:
    """One slice, after a row number, of the table that has what is left from before a time: the row numbers of
    that."""
    table = partitions.holding(db, time) if db.has_partitions else "sighting"
    last = slice_end(db, table, after_pk, rows)
    if last is None:
        return Slice(None, [])
    found = db.rows(f"SELECT pk FROM {table} WHERE pk > ? AND pk <= ? AND observed_at < ?", (after_pk, last, time))
    return Slice(last, [row[0] for row in found])


class OrphanLabels(NamedTuple):
    """One slice of the labels: the last of it (None: there are no more), and those of indicators that are gone."""

    last: Row | None
    orphans: list[Row]


def orphan_labels(db: Connection, after: Row, rows: int) -> OrphanLabels:
    """One slice of the labels after one of them. What only sightings of closed months said is not found when their
    indicator goes."""
    found = db.rows(
        "SELECT kind, value, indicator, EXISTS (SELECT 1 FROM indicator WHERE pk = label.indicator) FROM label "
        "WHERE (kind, value, indicator) > (?, ?, ?) ORDER BY kind, value, indicator LIMIT ?",
        (*after, rows),
    )
    return OrphanLabels(found[-1][:3] if found else None, [row[:3] for row in found if not row[3]])
