"""Replay of a history: each event is stored as the report it was, of its reporter, at its own time.

As in a bulk import, whoever reads the file prepares each event off the database. A chunk is one unit of work; an
event that was taken before is known by its digest, so a replay can be stopped anywhere and run again.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from threatcloud.domain.indicator import Indicator, indicator_key
from threatcloud.domain.report import DEFAULT_CONFIDENCE, Report, Role, Severity, SightingKind
from threatcloud.domain.state import ANONYMISED_CODE
from threatcloud.services.imports import TYPES, ImportRow, screened_of
from threatcloud.services.pacing import Pace
from threatcloud.services.recording import Prepared, record_reports
from threatcloud.storage import log_entries
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names, Reporter
from threatcloud.storage.store import Store

#: Small enough that a report of somebody else waits a fifth of a second at the most.
CHUNK_EVENTS: Final = 1_000
_MAX_NAME: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._:@-]")


class EventRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One prepared event; ``row.first_at`` is its time."""

    row: ImportRow
    source: str
    reporter: str | None
    digest: bytes


class EventChunk(msgspec.Struct, frozen=True):
    """Events in the order of time; ``run`` names the import they belong to."""

    run: str
    rows: list[EventRow]


class EventCounts(msgspec.Struct, frozen=True):
    """What became of a chunk: events stored, events taken before, and indicators new and known."""

    stored: int
    known: int
    new: int
    updated: int


class Replaying:
    """Stores chunks of events. Their import is entered in the audit ledger by its beginning and end."""

    def __init__(self, store: Store, names: Names, pace: Pace) -> None:
        self._store = store
        self._names = names
        self._pace = pace

    async def store(self, chunk: EventChunk) -> EventCounts:
        """Stores a chunk, whole or not at all."""
        self._pace.note(len(chunk.rows))
        said = [(_voice(row), row.digest, _prepared(row)) for row in chunk.rows]
        return await self._store.write(lambda tx: self._store_chunk(tx, said), bulk=True)

    def _store_chunk(self, tx: Transaction, said: Sequence[tuple[tuple[str, Role], bytes, Prepared]]) -> EventCounts:
        voices = {voice: self._names.ensure_reporter(tx, *voice) for voice in dict.fromkeys(item[0] for item in said)}
        is_new = log_entries.take(tx, [(voices[voice].pk, digest) for voice, digest, _ in said])
        fresh: list[tuple[Reporter, Prepared]] = [
            (voices[voice], prepared) for (voice, _, prepared), new in zip(said, is_new, strict=True) if new
        ]
        if not fresh:
            return EventCounts(0, len(said), 0, 0)
        recorded = record_reports(tx, self._names, fresh)
        new = sum(item.is_new for item in recorded.values())
        return EventCounts(len(fresh), len(said) - len(fresh), new, len(recorded) - new)


def _voice(row: EventRow) -> tuple[str, Role]:
    """Who speaks: somebody the feed names is a stranger here, the feed itself as good as its lists."""
    if row.reporter:
        return f"replay:{_UNSAFE.sub('-', row.reporter)[:_MAX_NAME]}", Role.COMMUNITY
    return f"feed:{row.source}", Role.FEED


def _prepared(event: EventRow) -> Prepared:
    row = event.row
    indicator = Indicator(TYPES[row.type_code], row.value)
    report = Report(
        indicator,
        indicator_key(*indicator),
        row.withheld_code == ANONYMISED_CODE,
        event.source,
        row.first_at or 0,
        SightingKind.POSITIVE,
        row.category,
        Severity(row.severity) if row.severity else None,
        DEFAULT_CONFIDENCE if row.confidence is None else row.confidence,
        row.metadata or {},
    )
    return Prepared(report, screened_of(row))
