"""What time alone takes off the default lists: it stands until it is let go, or comes back, or leaves otherwise."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from threatcloud.domain.holding import HELD_TYPES, Hold
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.state import IndicatorState
from threatcloud.storage.driver import Connection, Transaction


class Standing(NamedTuple):
    """How many entries a default list has, and how many of them are fading."""

    entries: int
    fading: int


def standing(db: Connection, kind: IndicatorType) -> Standing:
    """The entries of a default list."""
    listed = db.row(
        "SELECT count(*) FROM indicator WHERE type = ? AND shared = 1 AND reputation <= ?",
        (kind.code, BLOCK_REPUTATION),
    )
    fading = count(db, kind)
    return Standing((listed[0] if listed else 0) + fading, fading)


def count(db: Connection, kind: IndicatorType) -> int:
    """How many of a type are fading."""
    row = db.row("SELECT count(*) FROM fading WHERE type = ?", (kind.code,))
    return int(row[0]) if row else 0


def any_of(db: Connection, kind: IndicatorType) -> bool:
    """Whether anything of a type is fading."""
    return db.row("SELECT 1 FROM fading WHERE type = ? LIMIT 1", (kind.code,)) is not None


def among(db: Connection, numbers: Collection[int]) -> set[int]:
    """Those of the indicators (row numbers) that are fading."""
    if db.row("SELECT 1 FROM fading LIMIT 1") is None:
        return set()
    return {pk for pk in numbers if db.row("SELECT 1 FROM fading WHERE indicator = ?", (pk,)) is not None}


def begin(tx: Transaction, states: Iterable[IndicatorState]) -> None:
    """Notes, by their states as they were listed, indicators that time takes off."""
    tx.db.run_many(
        "INSERT INTO fading (indicator, type, reputation) VALUES (?, ?, ?)",
        [(state.pk, state.indicator.type.code, state.reputation) for state in states],
    )


def end(tx: Transaction, numbers: Iterable[int]) -> None:
    """Forgets that indicators (row numbers) are fading."""
    tx.db.run_many("DELETE FROM fading WHERE indicator = ?", [(pk,) for pk in numbers])


def let_go(tx: Transaction, kind: IndicatorType) -> None:
    """Has all that is fading leave the list, and its followers told."""
    tx.db.run(
        "INSERT INTO feed_change (at, indicator, change) SELECT ?, indicator, 'unlisted' FROM fading WHERE type = ? "
        "ORDER BY indicator",
        (tx.now, kind.code),
    )
    tx.db.run("DELETE FROM fading WHERE type = ?", (kind.code,))


def to_settle(db: Connection) -> list[IndicatorType]:
    """The types of which something is fading or whose list is held."""
    are_held = held(db)
    return [kind for kind in HELD_TYPES if kind in are_held or any_of(db, kind)]


def held(db: Connection) -> list[IndicatorType]:
    """The types whose default list is held."""
    return [IndicatorType.from_code(code) for (code,) in db.rows("SELECT type FROM hold WHERE held_at IS NOT NULL")]


def find_hold(db: Connection, kind: IndicatorType) -> Hold | None:
    """The hold on the default list of a type, None before time first took something off."""
    row = db.row("SELECT since, most, faded, held_at FROM hold WHERE type = ?", (kind.code,))
    return Hold(*row) if row else None


def put_hold(tx: Transaction, kind: IndicatorType, hold: Hold) -> None:
    """Keeps the hold on a list."""
    tx.db.run(
        "INSERT INTO hold (type, since, most, faded, held_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (type) DO UPDATE SET "
        "since = excluded.since, most = excluded.most, faded = excluded.faded, held_at = excluded.held_at",
        (kind.code, *hold),
    )
