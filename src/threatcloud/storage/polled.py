"""Sources that are polled, and what they list."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from threatcloud.domain.polled import Figures, Known, Terms
from threatcloud.storage.driver import Connection, Row, Transaction
from threatcloud.storage.removal import Due
from threatcloud.storage.walking import slice_end

_COLUMNS: Final = "pk, name, url, terms, known, figures, due_at, created_at, created_by, removed_at"


class PolledSource(NamedTuple):
    """A source as it is stored; ``removed_at``: its listings are about to end."""

    pk: int
    name: str
    url: str
    terms: Terms
    known: Known
    figures: Figures
    due_at: int
    created_at: int
    created_by: str
    removed_at: int | None = None


_terms: Final = msgspec.json.Decoder(Terms).decode
_known: Final = msgspec.json.Decoder(Known).decode
_figures: Final = msgspec.json.Decoder(Figures).decode


def _source(row: Row) -> PolledSource:
    return PolledSource._make((*row[:3], _terms(row[3]), _known(row[4]), _figures(row[5]), *row[6:]))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def all_sources(db: Connection) -> list[PolledSource]:
    """Every source, by name; removed ones too, until their listings have ended."""
    return [_source(row) for row in db.rows(f"SELECT {_COLUMNS} FROM polled_source ORDER BY name")]


def find(db: Connection, name: str) -> PolledSource | None:
    """The source of a name, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM polled_source WHERE name = ?", (name,))
    return _source(row) if row else None


def add(tx: Transaction, source: PolledSource) -> None:
    """Stores a new source, due at once; it gets a row number of its own."""
    tx.db.run(
        "INSERT INTO polled_source (name, url, terms, known, figures, due_at, created_at, created_by) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            source.name,
            source.url,
            _text(source.terms),
            _text(source.known),
            _text(source.figures),
            tx.now,
            tx.now,
            source.created_by,
        ),
    )


def put_known(tx: Transaction, pk: int, known: Known, due_at: int) -> None:
    """Notes what came of a poll, and when the next is."""
    tx.db.run(
        "UPDATE polled_source SET known = ?, due_at = ? WHERE pk = ? AND removed_at IS NULL", (_text(known), due_at, pk)
    )


def put_figures(tx: Transaction, pk: int, figures: Figures) -> None:
    """Notes what a source is worth."""
    tx.db.run("UPDATE polled_source SET figures = ? WHERE pk = ?", (_text(figures), pk))


def want_removed(tx: Transaction, pk: int) -> None:
    """Has the listings of a source end, and then the source go."""
    tx.db.run("UPDATE polled_source SET removed_at = ?, due_at = ? WHERE pk = ?", (tx.now, tx.now, pk))


def remove(tx: Transaction, pk: int) -> None:
    """Forgets a source."""
    tx.db.run("DELETE FROM polled_source WHERE pk = ?", (pk,))


def dropped(db: Connection, source: int, before: int, after_pk: int, rows: int) -> Due:
    """One slice of the listings after a row number of an indicator: what a source (row number) lists and has not
    confirmed since a time."""
    last = slice_end(db, "listing", after_pk, rows, "indicator")
    if last is None:
        return Due(None, [])
    found = db.rows(
        "SELECT i.id FROM listing l JOIN indicator i ON i.pk = l.indicator WHERE l.indicator > ? AND l.indicator <= ? "
        "AND l.source = ? AND l.gone_at IS NULL AND l.last_confirmed_at < ?",
        (after_pk, last, source, before),
    )
    return Due(last, [row[0] for row in found])


def end_listings(tx: Transaction, source: int, before: int, keys: Sequence[bytes]) -> None:
    """Ends what a source has not confirmed since a time; of these indicators, those of which nobody says anything any
    more get their end, too."""
    tx.db.run_many(
        "UPDATE listing SET gone_at = ? WHERE indicator = (SELECT pk FROM indicator WHERE id = ?) AND source = ? "
        "AND gone_at IS NULL AND last_confirmed_at < ?",
        [(tx.now, key, source, before) for key in keys],
    )
    tx.db.run_many(
        "UPDATE indicator SET expires_at = ? WHERE id = ? AND (expires_at IS NULL OR expires_at > ?) "
        "AND NOT EXISTS (SELECT 1 FROM listing l WHERE l.indicator = indicator.pk AND l.gone_at IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.indicator = indicator.pk)",
        [(tx.now, key, tx.now) for key in keys],
    )


class Measured(NamedTuple):
    """Figures of one slice of the listings, by source (row number); ``last_pk`` None: the walk is over."""

    last_pk: int | None
    figures: dict[int, Figures]


def measure(db: Connection, after_pk: int, rows: int) -> Measured:
    """One slice of the listings after a row number of an indicator: what each source lists now, beside the others."""
    last = slice_end(db, "listing", after_pk, rows, "indicator")
    if last is None:
        return Measured(None, {})
    found = db.rows(
        "SELECT l.source, count(*), sum(CASE WHEN o.lists > 1 THEN 1 ELSE 0 END), "
        "sum(CASE WHEN o.lists > 1 AND l.first_listed_at = o.earliest THEN 1 ELSE 0 END), "
        "sum(CASE WHEN i.status = 'whitelisted' THEN 1 ELSE 0 END), "
        "CAST(sum(CASE WHEN o.lists > 1 THEN (o.total - l.first_listed_at) / (o.lists - 1) - l.first_listed_at "
        "ELSE 0 END) AS BIGINT) "
        "FROM listing l JOIN (SELECT indicator, count(*) AS lists, min(first_listed_at) AS earliest, "
        "CAST(sum(first_listed_at) AS BIGINT) AS total FROM listing WHERE indicator > ? AND indicator <= ? "
        "AND gone_at IS NULL GROUP BY indicator) AS o ON o.indicator = l.indicator "
        "JOIN indicator i ON i.pk = l.indicator WHERE l.indicator > ? AND l.indicator <= ? AND l.gone_at IS NULL "
        "GROUP BY l.source",
        (after_pk, last, after_pk, last),
    )
    return Measured(last, {row[0]: Figures(*(int(number) for number in row[1:])) for row in found})
