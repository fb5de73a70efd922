"""The reading half of an import, a process of its own: reads the file, checks and prepares every line, and writes
request bodies to its standard output, ready to be sent.

Beside the process that stores, it has a processor to itself, and the pipe between them keeps it a few chunks ahead
and no more. ``python -m threatcloud.http.bulk.reading JOB`` with the job as JSON.
"""

import gc
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from threatcloud.domain.errors import DomainError, Problem
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, detect
from threatcloud.domain.report import Severity
from threatcloud.formats.readers import (
    ColumnError,
    Found,
    Passed,
    Reject,
    Row,
    Source,
    SourceError,
    detected,
    open_source,
    reader,
)
from threatcloud.formats.readers.found import excerpt
from threatcloud.http.bulk.log_reading import COWRIE, REPLAY, Events, ReportedEvents, Visits, now_ms
from threatcloud.http.bulk.screening import screener_of
from threatcloud.http.endpoint import problem_of, wants_of
from threatcloud.http.threats import ThreatItem, claim_of
from threatcloud.services.bulk.frames import Frame, ReadJob, Rejected, write_frame
from threatcloud.services.imports import CHUNK_ROWS, ImportRow, Preparer, row_of
from threatcloud.services.intake import Intake
from threatcloud.services.recording import Prepared
from threatcloud.services.reporting import MAX_BATCH

#: A body stays under the limit of the route it is sent to, with room for the row that goes over.
MAX_CHUNK_BYTES: Final = 2 * 1024 * 1024
MAX_REPORT_BYTES: Final = 900 * 1024
_encode: Final = msgspec.json.Encoder().encode
_WANTS: Final = wants_of(ThreatItem)
_TYPES: Final = {kind.value: kind for kind in IndicatorType}
_NO_TYPE: Final = Problem("type", f"must be one of {', '.join(IndicatorType)}")


class Maker(Protocol):
    """Makes rows of what a file holds, and of some of them a body."""

    name: str
    max_rows: int
    max_bytes: int

    def read(self, source: Source) -> Iterator[Any]: ...
    def made(self, found: Any, frame: Frame) -> bytes | Rejected | None: ...
    def body(self, rows: list[bytes]) -> bytes: ...


class _Listed(ABC):
    """Makes rows of values that a source lists, in the format that is said or looks like it."""

    def __init__(self, job: ReadJob, source: Source) -> None:
        self._reader = reader(job.format) if job.format else detected(source.head())
        self.name = self._reader.name
        self._columns = job.columns
        self._keeps_values = job.keeps_values
        self._type = IndicatorType(job.type) if job.type else None

    def read(self, source: Source) -> Iterator[Found]:
        """The values, one by one."""
        return self._reader.read(source, self._columns)

    def made(self, found: Found, frame: Frame) -> bytes | Rejected | None:
        """The row as JSON, or why there is none; what was passed over is counted in the frame."""
        if isinstance(found, Passed):
            frame.passed[found.what] = frame.passed.get(found.what, 0) + found.times
            if found.text and self._keeps_values and len(frame.left_out) < MAX_BATCH:
                frame.left_out.append((excerpt(found.text), found.what))
            return None
        if isinstance(found, Reject):
            return Rejected(found.line, found.field, found.reason, found.text)
        kind = _TYPES.get(found.type, self._type) if found.type else self._type
        try:
            if found.type and found.type not in _TYPES:
                raise _Bad([_NO_TYPE])
            return self.row(found, kind, frame)
        except InvalidIndicator as error:
            return Rejected(found.line, "value", error.reason, excerpt(found.value))
        except _Bad as error:
            return Rejected(found.line, error.field, error.reason, excerpt(found.value))

    @abstractmethod
    def row(self, row: Row, kind: IndicatorType | None, frame: Frame) -> bytes:
        """The row as JSON. Raises InvalidIndicator, _Bad."""


class _Rows(_Listed):
    """Makes rows of ``POST /local/imports/rows``."""

    max_rows = CHUNK_ROWS
    max_bytes = MAX_CHUNK_BYTES

    def __init__(self, job: ReadJob, source: Source) -> None:
        super().__init__(job, source)
        screener = screener_of(job)
        self._job = job
        self._preparer = Preparer(screener)
        self._intake = Intake(screener)

    def row(self, row: Row, kind: IndicatorType | None, frame: Frame) -> bytes:
        """The row as JSON; what it may not be published for is counted in the frame. Raises InvalidIndicator, _Bad."""
        if row.fields is None:
            made = self._preparer.prepare(row.value, kind, None)
        else:
            made = self._with_fields(row, kind or detect(row.value).type)
        frame.note(made.withheld_list, made.cloud)
        return _encode(made)

    def _with_fields(self, row: Row, kind: IndicatorType) -> ImportRow:
        item = _checked(row, kind, self._job.source)
        found = self._intake.prepare(claim_of(item), now_ms())
        if not isinstance(found, Prepared):
            raise _Bad(found)
        report, made = found.report, row_of(found)
        # A listing has no end and no TLP label of its own, so they stay with the rest of what was said.
        kept = {"expiresAt": item.expires_at, "tlp": report.tlp}
        metadata = {**report.metadata, **{name: value for name, value in kept.items() if value is not None}}
        return msgspec.structs.replace(
            made,
            confidence=item.confidence,
            first_at=None if item.timestamp is None else report.observed_at,
            metadata=metadata or None,
        )

    def body(self, rows: list[bytes]) -> bytes:
        """The body of a chunk."""
        job = self._job
        chunk = {
            "run": job.run,
            "source": job.source,
            "category": job.category,
            "severity": Severity.of(job.severity) if job.severity else 0,
            "confidence": job.confidence,
            "rows": [msgspec.Raw(row) for row in rows],
        }
        return _encode(chunk)


class _Reports(_Listed):
    """Makes items of ``POST /api/threats``, checked here as far as the server need not be asked."""

    max_rows = MAX_BATCH
    max_bytes = MAX_REPORT_BYTES

    def __init__(self, job: ReadJob, source: Source) -> None:
        super().__init__(job, source)
        self._job = job

    def row(self, row: Row, kind: IndicatorType | None, _frame: Frame) -> bytes:
        """The item as JSON. Raises InvalidIndicator, _Bad."""
        job = self._job
        item = _checked(row, kind or detect(row.value).type, job.source)
        item.category = item.category or job.category  # type: ignore[assignment]
        item.severity = item.severity or job.severity  # type: ignore[assignment]
        item.confidence = job.confidence if item.confidence is None else item.confidence
        told = {name: value for name, value in msgspec.to_builtins(item).items() if value is not None}
        return _encode(told)

    def body(self, rows: list[bytes]) -> bytes:
        """The body of a batch."""
        return _encode({"threats": [msgspec.Raw(row) for row in rows]})


class _Bad(Exception):
    """What a line says beyond its value breaks a rule of the API; the first problem counts."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].reason)
        self.field = problems[0].field
        self.reason = problems[0].reason


def _checked(row: Row, kind: IndicatorType, source: str) -> ThreatItem:
    """The line as an item of the API, its fields of the right types and in their bounds."""
    try:
        return msgspec.convert(
            {**(row.fields or {}), "type": kind.value, "value": row.value, "source": source}, ThreatItem
        )
    except msgspec.ValidationError as error:
        raise _Bad([problem_of(error, _WANTS)]) from None


def frames(job: ReadJob, source: Source) -> Iterator[tuple[Frame, bytes]]:
    """What was read, chunk by chunk: a frame and its body (empty where no line of it was taken).

    Raises SourceError where the file cannot be read on, after everything before it; ColumnError.
    """
    maker = _maker(job, source)
    frame = Frame()
    rows: list[bytes] = []
    size = 0

    def finished() -> tuple[Frame, bytes]:
        frame.format, frame.values, frame.lines = maker.name, len(rows), source.lines_read
        frame.bytes_read, frame.bytes_total = source.bytes_read, source.bytes_total
        return frame, maker.body(rows) if rows else b""

    try:
        for found in maker.read(source):
            made = maker.made(found, frame)
            if isinstance(made, Rejected):
                frame.rejects.append(made)
            elif made is not None:
                rows.append(made)
                size += len(made)
            if len(rows) + len(frame.rejects) >= maker.max_rows or size >= maker.max_bytes:
                yield finished()
                frame, rows, size = Frame(), [], 0
    except SourceError:
        yield finished()
        raise
    frame.done = True
    yield finished()


def _maker(job: ReadJob, source: Source) -> Maker:
    if job.format == COWRIE:
        return Visits(job)
    if job.format == REPLAY:
        return ReportedEvents(job) if job.reports else Events(job)
    return _Reports(job, source) if job.reports else _Rows(job, source)


def main() -> None:
    """The process: frames until the file ends, the last of them done or with the error."""
    job = msgspec.json.decode(sys.argv[1], type=ReadJob)
    out = sys.stdout.buffer
    gc.disable()  # lines make no cycles, and looking for some takes a tenth of the time
    try:
        with open_source(job.file, job.max_bytes) as source:
            for frame, body in frames(job, source):
                write_frame(out, frame, body)
    except (SourceError, ColumnError, DomainError) as error:
        write_frame(out, Frame(error=str(error)), b"")
    except BrokenPipeError:
        sys.stdout = None  # whoever read has gone; nothing is left to flush


if __name__ == "__main__":
    main()
