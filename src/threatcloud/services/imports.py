"""Bulk import: what a source lists, stored in chunks. A chunk is one unit of work; running it again changes nothing.

The work is split: whoever reads the file prepares each value (canonical form, guard, country) with ``Preparer`` off
the database, the server only stores what is prepared.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import Busy, Conflict
from threatcloud.domain.evidence import Listing
from threatcloud.domain.indicator import (
    Indicator,
    IndicatorType,
    canonical_observation,
    detect_observation,
    indicator_key,
)
from threatcloud.domain.publication import Withheld
from threatcloud.domain.report import Role, Severity
from threatcloud.services.pacing import Pace
from threatcloud.services.recording import Listed, Prepared, record_listings
from threatcloud.services.reporting import IDEMPOTENCY_MS, Retry
from threatcloud.services.screening import Screened, Screener
from threatcloud.storage import facts, idempotency, imports, ledger
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

#: Small enough that a report waits 0.2 s at the most; several chunks share a commit.
CHUNK_ROWS: Final = 4_000
#: How many files may wait while one is imported; more are asked to come back.
MAX_WAITING: Final = 4
TYPES: Final = {kind.code: kind for kind in IndicatorType}


class ImportRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One prepared value. Fields after ``asn`` are None where the defaults of the chunk hold."""

    type_code: int
    value: str
    withheld_code: str | None = None
    withheld_list: str | None = None
    cloud: str | None = None
    country: str | None = None
    asn: int | None = None
    category: str | None = None
    severity: int | None = None
    confidence: float | None = None
    first_at: int | None = None
    metadata: dict[str, Any] | None = None


class ImportChunk(msgspec.Struct, frozen=True):
    """Rows of one source with the defaults that hold for them; ``run`` names the import they belong to."""

    run: str
    source: str
    category: str | None
    severity: int
    confidence: float
    rows: list[ImportRow]


class ChunkCounts(msgspec.Struct, frozen=True):
    """What became of a chunk: values new to the store, newly listed by this source, confirmed, and doubled in it."""

    new: int
    updated: int
    confirmed: int
    repeated: int


class Preparer:
    """Makes rows of texts."""

    def __init__(self, screener: Screener) -> None:
        self._screener = screener

    def prepare(self, text: str, kind: IndicatorType | None, said: Mapping[str, Any] | None) -> ImportRow:
        """The row for a value, its type detected unless given; InvalidIndicator when it is none.

        ``said`` holds what the line says beyond the value: category, severity, confidence, first_at, metadata.
        """
        found = canonical_observation(kind, text) if kind is not None else detect_observation(text)
        indicator = found.indicator
        screened = self._screener.screen(indicator, found.anonymised)
        withheld = screened.withheld
        return ImportRow(
            indicator.type.code,
            indicator.value,
            withheld.code if withheld else None,
            withheld.list_name if withheld else None,
            screened.cloud,
            screened.country,
            screened.asn,
            **(said or {}),
        )


class Importing:
    """Stores chunks."""

    def __init__(self, store: Store, names: Names, audit_secret: bytes, clock: Clock, pace: Pace) -> None:
        self._store = store
        self._names = names
        self._pace = pace
        self._audit_secret = audit_secret
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One file at a time: reading takes a processor, and storing the writer. Busy where too many wait for it."""
        if self._waiting > MAX_WAITING:
            raise Busy("other files are being imported; try again", 10)
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    async def kept(self, caller: Caller, retry: Retry) -> bytes | None:
        """What the same request was answered before; Conflict when its key came with another."""
        found = await self._store.read(
            lambda db: idempotency.find(db, caller.reporter, retry.key, self._clock() - IDEMPOTENCY_MS)
        )
        if found is not None and found.request_digest != retry.digest:
            raise Conflict("this Idempotency-Key was used with another request")
        return found.answer if found else None

    async def begin(self, run: str, source: str, caller: Caller) -> None:
        """Enters the start of an import."""

        def work(tx: Transaction) -> None:
            imports.begin(tx, run, source)
            details = {"run": run, "source": source, "phase": "begin"}
            ledger.append(tx, self._audit_secret, ledger.Act("create", "import", caller.mask, caller.address, details))

        await self._store.write(work)

    async def store(self, chunk: ImportChunk) -> ChunkCounts:
        """Stores a chunk, whole or not at all."""
        self._pace.note(len(chunk.rows))
        return await self._store.write(lambda tx: self._store_chunk(tx, chunk), bulk=True)

    def _store_chunk(self, tx: Transaction, chunk: ImportChunk) -> ChunkCounts:
        reporter = self._names.ensure_reporter(tx, f"feed:{chunk.source}", Role.FEED)
        usual = _usual_listing(chunk, reporter.pk, tx.now)
        listed = [_listed(row, usual) for row in chunk.rows]
        recorded, confirmed = record_listings(tx, self._names, chunk.source, listed)
        new = sum(item.is_new for item in recorded.values())
        return ChunkCounts(new, len(recorded) - new - confirmed, confirmed, len(listed) - len(recorded))

    async def finish(
        self, run: str, summary: Mapping[str, Any], caller: Caller, kept: tuple[Retry, bytes] | None = None
    ) -> None:
        """Enters the end of an import with its summary, and keeps its answer under the key it came with."""

        def work(tx: Transaction) -> None:
            imports.finish(tx, run, summary)
            details = {"run": run, "phase": "end", **summary}
            if kept is not None:
                retry, answer = kept
                idempotency.keep(tx, caller.reporter, retry.key, idempotency.KeptAnswer(retry.digest, answer))
            ledger.append(tx, self._audit_secret, ledger.Act("create", "import", caller.mask, caller.address, details))

        await self._store.write(work)


def row_of(prepared: Prepared) -> ImportRow:
    """The row of a report that was checked and screened, with all that it says."""
    report, screened = prepared.report, prepared.screened
    withheld = screened.withheld
    return ImportRow(
        report.indicator.type.code,
        report.indicator.value,
        withheld.code if withheld else None,
        withheld.list_name if withheld else None,
        screened.cloud,
        screened.country,
        screened.asn,
        report.category,
        None if report.severity is None else int(report.severity),
        report.confidence,
        report.observed_at,
        dict(report.metadata) or None,
    )


def _usual_listing(chunk: ImportChunk, reporter: int, now: int) -> Listing:
    severity = Severity(chunk.severity) if chunk.severity else None
    return Listing(reporter, chunk.source, now, now, None, chunk.category, severity, chunk.confidence)


def _listed(row: ImportRow, usual: Listing) -> Listed:
    indicator = Indicator(TYPES[row.type_code], row.value)
    return Listed(indicator, indicator_key(*indicator), screened_of(row), _listing(row, usual), row.metadata)


def screened_of(row: ImportRow) -> Screened:
    """What was found when the row was prepared."""
    withheld = Withheld(row.withheld_code, row.withheld_list or "", "") if row.withheld_code else None
    return Screened(withheld, row.cloud, row.country, row.asn)


def _listing(row: ImportRow, usual: Listing) -> Listing:
    """What the row says where it says something of its own; most rows share one value."""
    if (row.category, row.severity, row.confidence, row.first_at, row.metadata) == (None, None, None, None, None):
        return usual
    return usual._replace(
        first_listed_at=min(row.first_at or usual.first_listed_at, usual.first_listed_at),
        category=row.category or usual.category,
        severity=Severity(row.severity) if row.severity else usual.severity,
        confidence=usual.confidence if row.confidence is None else row.confidence,
        context=facts.context_text(row.metadata) if row.metadata else None,
    )
