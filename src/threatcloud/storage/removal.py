"""Where the rows of an indicator go when it goes, and which indicators have to go.

A new table that refers to indicators gets its line in ``delete_rows``: nothing else removes an indicator.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.address import is_network, packed, parse_network
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import HOUR_MS
from threatcloud.storage import correlation
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.indicators import LAST_PK
from threatcloud.storage.walking import slice_end

Label = tuple[str, str, int]
_BY_NUMBER: Final = ("indicator WHERE pk", "listing WHERE indicator", "evidence WHERE indicator")
_UNSEEN: Final = "last_seen < ? AND (expires_at IS NULL OR expires_at > ?)"


class Due(NamedTuple):
    """One slice of a walk: the row number it ends with (None: the walk is over), and the ids found in it."""

    last_pk: int | None
    keys: list[bytes]


def delete_rows(tx: Transaction, gone: Sequence[IndicatorState], labels: Iterable[Label]) -> None:
    """Deletes all rows of indicators but their sightings; of their values only what the feeds' past needs stays.

    ``labels`` are all that the indicators may have: they are kept by value, and not found by indicator.
    """
    numbers = sorted((state.pk,) for state in gone)
    if not numbers:
        return
    _depart(tx, gone)
    correlation.forget(tx, gone)
    for place in _BY_NUMBER:
        tx.db.run_many(f"DELETE FROM {place} = ?", numbers)
    delete_labels(tx, labels)
    networks = [(packed(parse_network(state.indicator.value)),) for state in gone if _is_network(state.indicator)]
    tx.db.run_many("DELETE FROM network WHERE packed = ?", networks)
    keys = [(state.id,) for state in gone]
    tx.db.run_many("DELETE FROM relation WHERE subject = ?", keys)
    tx.db.run_many("DELETE FROM relation WHERE object = ?", keys)


def _is_network(indicator: Indicator) -> bool:
    return indicator.type is IndicatorType.IP and is_network(indicator.value)


def _depart(tx: Transaction, gone: Sequence[IndicatorState]) -> None:
    """Keeps what a delta calls them by, and sees to it that no other gets their row numbers."""
    tx.db.run_many(
        "INSERT INTO departed (indicator, id, type, value, at) VALUES (?, ?, ?, ?, ?)",
        [(state.pk, state.id, state.indicator.type.code, state.indicator.value, tx.now) for state in gone],
    )
    newest = tx.db.row("SELECT max(pk) FROM indicator")
    tx.db.run(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
        "WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT)",
        (LAST_PK, str(newest[0] if newest else 0)),
    )


class Leftover(NamedTuple):
    """A removed indicator some of whose sightings are still stored."""

    indicator: int
    type: IndicatorType


def leftovers(db: Connection) -> list[Leftover]:
    """The removed indicators whose sightings have yet to go."""
    rows = db.rows("SELECT indicator, type FROM leftover ORDER BY indicator")
    return [Leftover(pk, IndicatorType.from_code(code)) for pk, code in rows]


def leave(tx: Transaction, heavy: Iterable[IndicatorState]) -> None:
    """Notes that the sightings of indicators which are removed now go later."""
    tx.db.run_many(
        "INSERT INTO leftover (indicator, type) VALUES (?, ?)",
        [(state.pk, state.indicator.type.code) for state in heavy],
    )


def clear(tx: Transaction, leftover: Leftover) -> None:
    """Notes that nothing of a removed indicator is left."""
    tx.db.run("DELETE FROM leftover WHERE indicator = ?", (leftover.indicator,))


def delete_labels(tx: Transaction, labels: Iterable[Label]) -> None:
    """Deletes (kind, value, row number) where they are."""
    tx.db.run_many("DELETE FROM label WHERE kind = ? AND value = ? AND indicator = ?", sorted(labels))


def any_unseen(db: Connection, before: int) -> bool:
    """Whether any indicator was last seen in an hour that is over at a time."""
    row = db.row("SELECT 1 FROM rollup_last_seen WHERE hour < ? AND indicators > 0 LIMIT 1", (before // HOUR_MS,))
    return row is not None


def unseen(db: Connection, after_pk: int, rows: int, before: int, now: int) -> Due:
    """One slice of the table after a row number: the indicators last seen before a time that have no end yet."""
    last = slice_end(db, "indicator", after_pk, rows)
    if last is None:
        return Due(None, [])
    found = db.rows(
        f"SELECT id FROM indicator WHERE pk > ? AND pk <= ? AND {_UNSEEN}",
        (after_pk, last, before, now),
    )
    return Due(last, [row[0] for row in found])


def end_unseen(tx: Transaction, keys: Sequence[bytes], before: int) -> None:
    """Gives those of the indicators that were last seen before a time, and have no end yet, their end now."""
    tx.db.run_many(
        f"UPDATE indicator SET expires_at = ? WHERE id = ? AND {_UNSEEN}",
        [(tx.now, key, before, tx.now) for key in keys],
    )


def ended(db: Connection, before: int, most: int) -> list[bytes]:
    """The ids of indicators whose end came before a time, whatever their status; none that a held list shows."""
    rows = db.rows(
        "SELECT id FROM indicator WHERE status IN ('active', 'expired', 'whitelisted') AND expires_at < ? "
        "AND expires_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM fading f WHERE f.indicator = indicator.pk) LIMIT ?",
        (before, most),
    )
    return [row[0] for row in rows]


def find_departed(db: Connection, indicator: Indicator) -> list[int]:
    """The row numbers under which an indicator was stored and removed, while changes name them."""
    rows = db.rows(
        "SELECT indicator FROM departed WHERE type = ? AND value = ?", (indicator.type.code, indicator.value)
    )
    return [row[0] for row in rows]


class Withdrawal(NamedTuple):
    """A reporter (its row number) whose contributions received up to a time are to go."""

    reporter: int
    until: int


def want_withdrawn(tx: Transaction, withdrawal: Withdrawal) -> None:
    """Enters a withdrawal; one that is under way reaches up to now."""
    tx.db.run(
        "INSERT INTO withdrawal (reporter, until) VALUES (?, ?) ON CONFLICT (reporter) DO UPDATE SET "
        "until = excluded.until",
        withdrawal,
    )


def withdrawals(db: Connection) -> list[Withdrawal]:
    """The withdrawals under way."""
    return [Withdrawal(*row) for row in db.rows("SELECT reporter, until FROM withdrawal ORDER BY reporter")]


def end_withdrawal(tx: Transaction, withdrawal: Withdrawal) -> None:
    """Notes that a withdrawal is complete, unless it was extended meanwhile."""
    tx.db.run("DELETE FROM withdrawal WHERE reporter = ? AND until = ?", withdrawal)


def find_reporter(db: Connection, name: str) -> int | None:
    """The row number of a reporter, or None."""
    row = db.row("SELECT pk FROM reporter WHERE name = ?", (name,))
    return int(row[0]) if row else None


def reported_by(db: Connection, reporter: int, after_pk: int, rows: int) -> Due:
    """One slice of the evidence after a row number of an indicator: what a reporter spoke of."""
    last = slice_end(db, "evidence", after_pk, rows, "indicator")
    if last is None:
        return Due(None, [])
    found = db.rows(
        "SELECT DISTINCT i.id FROM evidence e JOIN indicator i ON i.pk = e.indicator "
        "WHERE e.indicator > ? AND e.indicator <= ? AND e.reporter = ?",
        (after_pk, last, reporter),
    )
    return Due(last, [row[0] for row in found])


def delete_sightings(tx: Transaction, numbers: Iterable[int]) -> None:
    """Deletes sightings by their row numbers: all in one statement, since each looks into every partition."""
    tx.db.rows_in("DELETE FROM sighting WHERE pk IN keys()", sorted(numbers))


def delete_evidence(tx: Transaction, indicators: Iterable[int], reporter: int) -> None:
    """Deletes the evidence of a reporter about indicators (row numbers)."""
    tx.db.run_many("DELETE FROM evidence WHERE indicator = ? AND reporter = ?", [(pk, reporter) for pk in indicators])


def unrelate(tx: Transaction, keys: Iterable[bytes], reporter: int) -> None:
    """Deletes what a reporter said indicators are related to."""
    tx.db.run_many("DELETE FROM relation WHERE subject = ? AND reporter = ?", [(key, reporter) for key in keys])
