"""The partitions of sightings on PostgreSQL, one for each month of UTC: made ahead, and dropped whole (docs/adr/0028).

The first takes whatever was observed before the others, the last whatever comes after them, so that every time has its
place. All others begin and end with a month, and follow each other without a gap.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from threatcloud.domain.times import iso, month_start
from threatcloud.storage.driver import Connection

#: How many months after the present one have their partition, and how many before it when rows come from elsewhere.
MONTHS_AHEAD: Final = 2
MONTHS_BACK: Final = 60
FIRST: Final = "sighting_before"
LAST: Final = "sighting_after"
_BOUNDS: Final = (
    "SELECT relname::text, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND oid IN "
    "(SELECT inhrelid FROM pg_inherits WHERE inhparent = 'sighting'::regclass)"
)
_BOUND: Final = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'?(\d+)'?)\) TO \((?:MAXVALUE|'?(\d+)'?)\)")


class Partition(NamedTuple):
    """A table with the sightings from a time on (None: since ever) and before another (None: for ever)."""

    name: str
    start: int | None
    end: int | None


def partitions(db: Connection) -> list[Partition]:
    """All partitions in the order of time; empty where the schema has none yet."""
    found = [_partition(name, bound) for name, bound in db.rows(_BOUNDS)]
    return sorted(found, key=lambda item: -1 if item.start is None else item.start)


def _partition(name: str, bound: str) -> Partition:
    times = _BOUND.fullmatch(bound)
    assert times is not None, bound
    start, end = (None if time is None else int(time) for time in times.groups())
    return Partition(name, start, end)


def are_made_ahead(db: Connection, now: int) -> bool:
    """Whether the months to come have their partitions."""
    last = partitions(db)[-1:]
    return bool(last and last[0].start is not None and last[0].start >= month_start(now, MONTHS_AHEAD + 1))


def make_ahead(db: Connection, now: int) -> bool:
    """Makes, in a transaction, the partitions of this month and those ahead, and moves to them what the last partition
    has of theirs; False, with nothing done, while others read sightings.

    Months in which nobody made any become one partition.
    """
    if not _may_change(db, [item for item in partitions(db) if item.name == LAST]):
        return False
    known = partitions(db)
    edge = _end_of_months(known, month_start(now))
    edges = [edge, *(start for ahead in range(MONTHS_AHEAD + 2) if (start := month_start(now, ahead)) > edge)]
    if not known:
        _make(db, Partition(FIRST, None, edge))
    has_last = any(item.name == LAST for item in known)
    if has_last and edges == [edge]:
        return True
    if has_last:
        db.run(f"ALTER TABLE sighting DETACH PARTITION {LAST}")
    for start, end in pairwise(edges):
        _make(db, Partition(_name(start), start, end))
    if has_last:
        db.run(f"INSERT INTO sighting SELECT * FROM {LAST} WHERE observed_at < {edges[-1]}")
        db.run(f"DELETE FROM {LAST} WHERE observed_at < {edges[-1]}")
        db.run(f"ALTER TABLE sighting ATTACH PARTITION {LAST} {_range(Partition(LAST, edges[-1], None))}")
    else:
        _make(db, Partition(LAST, edges[-1], None))
    db.settle()
    return True


def reach_back(db: Connection, time: int) -> None:
    """Makes, in a transaction, partitions of past months from a time on, of 60 at most, while the first is empty."""
    edge = partitions(db)[0].end
    assert edge is not None
    start = max(month_start(time), month_start(edge, -MONTHS_BACK))
    if start >= edge or db.row(f"SELECT 1 FROM {FIRST} LIMIT 1"):
        return
    db.run(f"DROP TABLE {FIRST}")
    _make(db, Partition(FIRST, None, start))
    while start < edge:
        _make(db, Partition(_name(start), start, month_start(start, 1)))
        start = month_start(start, 1)
    db.settle()


def _end_of_months(known: list[Partition], otherwise: int) -> int:
    """Where the last partition begins, or is to begin."""
    if not known:
        return otherwise
    start, end = known[-1][1:]
    edge = start if end is None else end
    assert edge is not None
    return edge


def drop_before(db: Connection, time: int) -> bool:
    """Drops, in a transaction, the partitions that are over at a time, with all in them; False, with nothing done,
    while others read sightings. What comes late for them goes to the first partition from then on."""
    over = [item for item in partitions(db) if item.end is not None and item.end <= time]
    if not over:
        return True
    if not _may_change(db, over):
        return False
    for item in over:
        db.run(f"DROP TABLE {item.name}")
    _make(db, Partition(FIRST, None, over[-1].end))
    db.settle()
    return True


def holding(db: Connection, time: int) -> str:
    """The partition that holds what was observed just before a time."""
    return next(item.name for item in partitions(db) if item.end is None or item.end >= time)


def _may_change(db: Connection, used: Sequence[Partition]) -> bool:
    row = db.row("SELECT may_change_partitions(?)", (", ".join(item.name for item in used),))
    return bool(row and row[0])


def _name(start: int) -> str:
    return f"sighting_{iso(start)[:7].replace('-', '')}"


def _make(db: Connection, item: Partition) -> None:
    db.run(f"CREATE TABLE {item.name} PARTITION OF sighting {_range(item)}")


def _range(item: Partition) -> str:
    start = "MINVALUE" if item.start is None else item.start
    end = "MAXVALUE" if item.end is None else item.end
    return f"FOR VALUES FROM ({start}) TO ({end})"
