"""What was said: sightings and listings (facts), and the evidence folded from sightings (projection)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.evidence import Evidence, Listing
from threatcloud.domain.report import Severity, SightingKind
from threatcloud.storage.driver import Connection, Row, Transaction
from threatcloud.storage.names import Names

_EVIDENCE: Final = (
    "indicator, reporter, source, reports, positive, negative, mass_at, first_at, last_at, weight, weight_at, "
    "confidence, category, category_weight, category_at, low_at, medium_at, high_at, critical_at, vouched"
)
_LISTING: Final = (
    "indicator, source, reporter, first_listed_at, last_confirmed_at, gone_at, category, severity, confidence, context"
)
_SIGHTING: Final = (
    "pk, indicator, reporter, source, kind, observed_at, received_at, category, severity, confidence, context, "
    "country, expires_at, tlp, anonymised, describes"
)
_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


class NewSighting(NamedTuple):
    """A sighting fact about to be stored, in column order."""

    indicator: int
    reporter: int
    source: int
    kind: str
    observed_at: int
    received_at: int
    category: str | None
    severity: int | None
    confidence: float
    context: str | None
    country: str | None = None
    expires_at: int | None = None
    tlp: str | None = None
    anonymised: bool = False
    describes: bool = True


class StoredSighting(NamedTuple):
    """A sighting fact as it is stored, in column order."""

    pk: int
    indicator: int
    reporter: int
    source: str
    kind: SightingKind
    observed_at: int
    received_at: int
    category: str | None
    severity: Severity | None
    confidence: float
    context: Mapping[str, Any]
    country: str | None
    expires_at: int | None
    tlp: str | None
    anonymised: bool
    describes: bool


class Sighting(NamedTuple):
    """A sighting as it is listed; ``pk`` is negative for the entry of a bulk source."""

    pk: int
    source: str
    kind: SightingKind
    observed_at: int
    context: Mapping[str, Any]


def context_text(context: Mapping[str, Any]) -> str | None:
    """The stored form of a context or of a report's metadata; None when there is nothing in it."""
    return _encode(context).decode() if context else None


def context_of(listing: Listing) -> dict[str, Any]:
    """What a bulk source says beside the value; empty when it says nothing."""
    return _decode_object(listing.context) if listing.context else {}


def add_sightings(tx: Transaction, sightings: Sequence[NewSighting]) -> None:
    """Stores facts."""
    tx.db.run_many(
        "INSERT INTO sighting (indicator, reporter, source, kind, observed_at, received_at, category, severity, "
        "confidence, context, country, expires_at, tlp, anonymised, describes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        sightings,
    )


def sightings_of(db: Connection, indicators: Sequence[int], names: Names) -> dict[int, list[StoredSighting]]:
    """Every sighting of the indicators by row number, in the order of receipt."""
    found: dict[int, list[StoredSighting]] = {}
    rows = db.rows_in(f"SELECT {_SIGHTING} FROM sighting WHERE indicator IN keys()", indicators)
    for row in sorted(rows):
        found.setdefault(row[1], []).append(_sighting(row, names))
    return found


def some_sightings_of(db: Connection, indicator: int, most: int, names: Names) -> list[StoredSighting]:
    """Some sightings of an indicator, at most so many, the oldest first."""
    rows = db.rows(
        f"SELECT {_SIGHTING} FROM sighting WHERE indicator = ? ORDER BY observed_at, pk LIMIT ?", (indicator, most)
    )
    return [_sighting(row, names) for row in rows]


def latest_sightings_of(db: Connection, indicator: int, since: int, most: int, names: Names) -> list[StoredSighting]:
    """The newest positive sightings of an indicator since a time, at most so many, newest first."""
    rows = db.rows(
        f"SELECT {_SIGHTING} FROM sighting WHERE indicator = ? AND observed_at >= ? AND kind = 'positive' "
        "ORDER BY observed_at DESC, pk DESC LIMIT ?",
        (indicator, since, most),
    )
    return [_sighting(row, names) for row in rows]


class Voices(NamedTuple):
    """How often an indicator was reported or listed, and by how many."""

    reports: int
    reporters: int


def voices_since(db: Connection, indicator: int, since: int) -> Voices:
    """Reports of an indicator since a time, with the lists that named it since."""
    row = db.row(
        "SELECT count(*) FROM sighting WHERE indicator = ? AND observed_at >= ? AND kind = 'positive'",
        (indicator, since),
    )
    heard = db.rows(
        "SELECT reporter FROM evidence WHERE indicator = ? AND last_at >= ? AND positive > 0", (indicator, since)
    )
    lists = db.rows("SELECT reporter FROM listing WHERE indicator = ? AND last_confirmed_at >= ?", (indicator, since))
    return Voices((row[0] if row else 0) + len(lists), len({*heard, *lists}))


def replace_contexts(tx: Transaction, contexts: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
    """Replaces the contexts of sightings (row number, context): what is erased is the only thing that changes facts."""
    tx.db.run_many("UPDATE sighting SET context = ? WHERE pk = ?", [(context_text(c), pk) for pk, c in contexts])


def last_sighting(db: Connection) -> int:
    """The row number of the sighting stored last."""
    row = db.row("SELECT max(pk) FROM sighting")
    return int(row[0] or 0) if row else 0


def list_sightings(
    db: Connection, indicator: int, names: Names, before: tuple[int, int] | None, offset: int, limit: int
) -> list[Sighting]:
    """Sightings and listings of an indicator, newest first; ``before`` is the (time, pk) the last page ended with."""
    edge = before or (1 << 62, 0)
    most = offset + limit
    rows = db.rows(
        "SELECT * FROM (SELECT pk, source, kind, observed_at, context FROM sighting WHERE indicator = ? "
        "AND (observed_at, pk) < (?, ?) ORDER BY observed_at DESC, pk DESC LIMIT ?) AS reported "
        "UNION ALL SELECT * FROM (SELECT -source, source, 'positive', first_listed_at, context FROM listing "
        "WHERE indicator = ? AND (first_listed_at, -source) < (?, ?) ORDER BY first_listed_at DESC, -source DESC "
        "LIMIT ?) AS listed ORDER BY 4 DESC, 1 DESC LIMIT ? OFFSET ?",
        (indicator, *edge, most, indicator, *edge, most, limit, offset),
    )
    return [
        Sighting(pk, names.source(source), SightingKind(kind), at, msgspec.json.decode(context) if context else {})
        for pk, source, kind, at, context in rows
    ]


def count_sightings(db: Connection, indicator: int) -> int:
    """How many entries ``list_sightings`` has for the indicator in all."""
    row = db.row(
        "SELECT (SELECT count(*) FROM sighting WHERE indicator = ?) "
        "+ (SELECT count(*) FROM listing WHERE indicator = ?)",
        (indicator, indicator),
    )
    return int(row[0]) if row else 0


def evidence_of(db: Connection, indicators: Sequence[int], names: Names) -> dict[int, list[Evidence]]:
    """All evidence about the indicators, reports and listings, by row number; reports ordered by reporter
    and source, then listings by source."""
    found: dict[int, list[Evidence]] = {}
    for row in sorted(db.rows_in(f"SELECT {_EVIDENCE} FROM evidence WHERE indicator IN keys()", indicators)):
        found.setdefault(row[0], []).append(_evidence(row, names))
    for row in sorted(db.rows_in(f"SELECT {_LISTING} FROM listing WHERE indicator IN keys()", indicators)):
        found.setdefault(row[0], []).append(_listing(row, names).evidence())
    return found


def all_listings_of(db: Connection, indicators: Sequence[int], names: Names) -> dict[int, list[Listing]]:
    """What all bulk sources listed among the indicators, by row number."""
    found: dict[int, list[Listing]] = {}
    for row in db.rows_in(f"SELECT {_LISTING} FROM listing WHERE indicator IN keys()", indicators):
        found.setdefault(row[0], []).append(_listing(row, names))
    return found


def listings_of(db: Connection, source: int, indicators: Sequence[int], names: Names) -> dict[int, Listing]:
    """What one bulk source listed among the indicators, by row number."""
    rows = db.rows_in(f"SELECT {_LISTING} FROM listing WHERE indicator IN keys() AND source = ?", indicators, (source,))
    return {row[0]: _listing(row, names) for row in rows}


def put_evidence(tx: Transaction, evidence: Iterable[tuple[int, Evidence]], names: Names) -> None:
    """Stores the folded evidence of (indicator, reporter, source), replacing what was there."""
    tx.db.run_many(
        f"INSERT INTO evidence ({_EVIDENCE}) VALUES ({', '.join('?' * 20)}) ON CONFLICT (indicator, reporter, source) "
        "DO UPDATE SET reports=excluded.reports, positive=excluded.positive, negative=excluded.negative, "
        "mass_at=excluded.mass_at, first_at=excluded.first_at, last_at=excluded.last_at, weight=excluded.weight, "
        "weight_at=excluded.weight_at, confidence=excluded.confidence, category=excluded.category, "
        "category_weight=excluded.category_weight, category_at=excluded.category_at, low_at=excluded.low_at, "
        "medium_at=excluded.medium_at, high_at=excluded.high_at, critical_at=excluded.critical_at, "
        "vouched=excluded.vouched",
        [
            (indicator, e.reporter, names.source_pk(e.source), *e[3:15], *e.severity_at, int(e.vouched))
            for indicator, e in evidence
        ],
    )


def put_listings(tx: Transaction, listings: Iterable[tuple[int, Listing]], names: Names) -> None:
    """Stores listings of (indicator, source), replacing what was there."""
    tx.db.run_many(
        f"INSERT INTO listing ({_LISTING}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (indicator, source) "
        "DO UPDATE SET first_listed_at=excluded.first_listed_at, last_confirmed_at=excluded.last_confirmed_at, "
        "gone_at=excluded.gone_at, category=excluded.category, severity=excluded.severity, "
        "confidence=excluded.confidence, context=excluded.context",
        [
            (
                indicator,
                names.source_pk(item.source),
                item.reporter,
                item.first_listed_at,
                item.last_confirmed_at,
                item.gone_at,
                item.category,
                None if item.severity is None else int(item.severity),
                item.confidence,
                item.context,
            )
            for indicator, item in listings
        ],
    )


def _sighting(row: Row, names: Names) -> StoredSighting:
    severity = None if row[8] is None else Severity(row[8])
    context = _decode_object(row[10]) if row[10] else {}
    said = (names.source(row[3]), SightingKind(row[4]), *row[5:8], severity, row[9], context)
    return StoredSighting._make((*row[:3], *said, *row[11:14], row[14] == 1, row[15] == 1))


def _evidence(row: Row, names: Names) -> Evidence:
    reporter = names.reporter(row[1])
    return Evidence._make((row[1], reporter.role, names.source(row[2]), *row[3:15], row[15:19], row[19] == 1))


def _listing(row: Row, names: Names) -> Listing:
    _, source, reporter, first, last, gone, category, severity, confidence, context = row
    return Listing(
        reporter,
        names.source(source),
        first,
        last,
        gone,
        category,
        None if severity is None else Severity(severity),
        confidence,
        context,
    )
