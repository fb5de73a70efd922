"""The past of the published sets: how far back it can be told, and its pruning.

The *floor* is the change up to which something was forgotten, and its time: no delta may begin before it. Pruning
moves it, and so does an erasure, after which nobody may be told what left.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from threatcloud.domain.times import DAY_MS
from threatcloud.storage import meta
from threatcloud.storage.driver import Connection, Transaction

_FLOOR: Final = "feed_floor"
_ERASED: Final = "erased"
#: Nothing has this number: it is what the mark of an erasure stands at in place of an indicator.
_NOBODY: Final = 0


class Floor(NamedTuple):
    """The last change that can no longer be told, and when it was; both 0 while nothing was forgotten."""

    seq: int = 0
    at: int = 0


def floor(db: Connection) -> Floor:
    """Where the past begins."""
    known = meta.find(db, _FLOOR)
    return Floor(*map(int, known.split())) if known else Floor()


def _raise_floor(tx: Transaction, to: Floor) -> None:
    known = floor(tx.db)
    meta.put(tx, _FLOOR, f"{max(known.seq, to.seq)} {max(known.at, to.at)}")


def last_before(db: Connection, at: int) -> int:
    """The number of the last change before a time, 0 when there is none. Changes are in the order of time."""
    ends = db.row(
        "SELECT coalesce((SELECT min(seq) FROM feed_change), 0), coalesce((SELECT max(seq) FROM feed_change), 0)"
    )
    first, last = ends or (0, 0)

    def time_of(seq: int) -> int:
        row = db.row("SELECT at FROM feed_change WHERE seq >= ? ORDER BY seq LIMIT 1", (seq,))
        return int(row[0]) if row else at

    if not last:
        return 0
    return int(first + bisect_left(range(first, last + 1), at, key=time_of) - 1)


def was_published(db: Connection, numbers: Iterable[int]) -> bool:
    """Whether any of the indicators (row numbers) is known to have entered or left a published set."""
    return any(db.row("SELECT 1 FROM feed_change WHERE indicator = ? LIMIT 1", (pk,)) for pk in numbers)


def erase(tx: Transaction, numbers: Iterable[int]) -> None:
    """Forgets all comings and goings of indicators (row numbers), and that they ever were."""
    for pk in numbers:
        tx.db.run("DELETE FROM feed_change WHERE indicator = ?", (pk,))
        tx.db.run("DELETE FROM departed WHERE indicator = ?", (pk,))


def raise_to_now(tx: Transaction) -> None:
    """Has no delta begin before this very commit."""
    tx.db.run("INSERT INTO feed_change (at, indicator, change) VALUES (?, ?, ?)", (tx.now, _NOBODY, _ERASED))
    row = tx.db.row("SELECT max(seq) FROM feed_change")
    _raise_floor(tx, Floor(row[0] if row else 0, tx.now))


def prune(tx: Transaction, before: int, most: int) -> int:
    """Forgets what lies before a time, oldest first, and whatever no delta can tell any more.

    Changes that the newest release lacks stay, and the release itself. Of each kind at most so many rows go; gives how
    many went, 0 when all have gone.
    """
    newest = tx.db.row("SELECT version, seq, rules_at FROM release ORDER BY version DESC LIMIT 1")
    if newest is None:
        return 0
    version, seq, rules_at = newest
    gone = _prune_changes(tx, min(seq, max(last_before(tx.db, before), floor(tx.db).seq)), most)
    gone += _delete(tx, "departed", "indicator", "at < ?", (max(before, floor(tx.db).at),), most)
    gone += _delete(tx, "release", "version", "at < ? AND version <> ?", (before, version), most)
    # A day more: a release may have been entered a little after what it holds was read.
    left = "gone_at < ? AND gone_at <= ?"
    return gone + _delete(tx, "rule_gone", "gone_at, rule_id", left, (before - DAY_MS, rules_at), most)


def _prune_changes(tx: Transaction, to_seq: int, most: int) -> int:
    rows = tx.db.rows("SELECT seq, at FROM feed_change WHERE seq <= ? ORDER BY seq LIMIT ?", (to_seq, most))
    if rows:
        tx.db.run("DELETE FROM feed_change WHERE seq <= ?", (rows[-1][0],))
        _raise_floor(tx, Floor(*rows[-1]))
    return len(rows)


def _delete(tx: Transaction, table: str, key: str, where: str, params: tuple[Any, ...], most: int) -> int:
    rows = tx.db.rows(f"SELECT {key} FROM {table} WHERE {where} ORDER BY {key} LIMIT ?", (*params, most))
    same = " AND ".join(f"{column} = ?" for column in key.split(", "))
    tx.db.run_many(f"DELETE FROM {table} WHERE {same}", rows)
    return len(rows)
