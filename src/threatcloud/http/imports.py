"""``POST /api/import``: a file in any format that can be imported, read as the command line reads it."""

import asyncio
import hashlib
import secrets
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import InvalidInput, Problem, invalid
from threatcloud.domain.report import SOURCE_PATTERN, Role
from threatcloud.formats.readers import READERS, reader
from threatcloud.formats.readers.found import excerpt
from threatcloud.http.answer import Answer, ok
from threatcloud.http.context import Services
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.threats import PRINTABLE, ThreatBatch, claim
from threatcloud.http.wire import CategoryWord, SeverityWord, Shape
from threatcloud.services.bulk.apart import BrokeOff, frames, reading
from threatcloud.services.bulk.frames import Frame, ReadJob, Rejected
from threatcloud.services.imports import ChunkCounts, ImportChunk
from threatcloud.services.reporting import Retry

#: How large a file may be as it is sent; the command line takes any.
MAX_IMPORT_BYTES: Final = 256 * 1024 * 1024
#: What it may unpack to.
MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024 * 1024
MAX_REJECTS: Final = 100
_MAX_NAMES: Final = 50
_PIECE_BYTES: Final = 1024 * 1024
_AUTO: Final = "auto"
_FORMATS: Final = [_AUTO, *(known.name for known in READERS)]


class ImportQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Whose list it is, and what holds for what does not say it itself."""

    source: Annotated[str, Meta(pattern=SOURCE_PATTERN, description="who lists these values, such as feed:NAME")]
    format: Annotated[str, Meta(description="found out if not said", extra_json_schema={"enum": _FORMATS})] = _AUTO
    dry_run: Annotated[bool, Meta(description="read and check all, store nothing")] = False
    columns: Annotated[str, Meta(description="of a table: FIELD=COLUMN, several with commas between")] | None = None
    type: Literal["ip", "domain", "hash", "url", "email", "cve"] | None = None
    category: CategoryWord | None = None
    severity: SeverityWord = "high"
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.7


class RejectShape(Shape):
    """What was not taken: the line it begins on (0: unknown), the field, why, and its beginning."""

    line: int
    field: str
    reason: str
    text: str


class ImportedShape(Shape):
    """What became of a file. ``new``, ``updated``, ``confirmed`` and ``repeated`` count values by what they were to
    the store (all 0 of a dry run); ``whitelisted`` and ``needCorroboration`` by what keeps them from being published;
    ``passedOver`` what the file holds beside indicators; ``rejects`` are the first hundred of ``rejected``."""

    run: str
    format: str
    dry_run: bool
    lines: int
    values: int
    new: int
    updated: int
    confirmed: int
    repeated: int
    whitelisted: dict[str, int]
    need_corroboration: dict[str, int]
    passed_over: dict[str, int]
    rejected: int
    rejects: list[RejectShape]
    error: str | None


class _Tally:
    """The figures of one import."""

    def __init__(self) -> None:
        self.frame = Frame()
        self.values = 0
        self.rejected = 0
        self.stored: Counter[str] = Counter()
        self.whitelisted: Counter[str] = Counter()
        self.clouds: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.rejects: list[Rejected] = []

    def add(self, frame: Frame, counts: ChunkCounts | None) -> None:
        """Adds a chunk."""
        self.frame = frame if frame.format else self.frame
        self.values += frame.values
        self.rejected += len(frame.rejects)
        self.rejects += frame.rejects[: MAX_REJECTS - len(self.rejects)]
        self.whitelisted.update(frame.whitelisted)
        self.clouds.update(frame.clouds)
        for what, count in frame.passed.items():
            self.passed[what if what in self.passed or len(self.passed) < _MAX_NAMES else "other things"] += count
        if counts is not None:
            self.stored.update(msgspec.structs.asdict(counts))

    def shape(self, job: ReadJob, error: str | None, *, dry_run: bool) -> ImportedShape:
        """The answer."""
        return ImportedShape(
            run=job.run,
            format=self.frame.format,
            dry_run=dry_run,
            lines=self.frame.lines,
            values=self.values,
            new=self.stored["new"],
            updated=self.stored["updated"],
            confirmed=self.stored["confirmed"],
            repeated=self.stored["repeated"],
            whitelisted=dict(self.whitelisted.most_common()),
            need_corroboration=dict(self.clouds.most_common()),
            passed_over=dict(self.passed.most_common()),
            rejected=self.rejected,
            rejects=[RejectShape(item.line, item.field, item.reason, item.text) for item in self.rejects],
            error=error,
        )


async def import_file(call: Call) -> Answer:
    """Takes the file, then reads and stores it."""
    query: ImportQuery = call.query
    _check_format(query.format)
    with tempfile.NamedTemporaryFile(prefix="threat-cloud-import-") as file:
        digest = hashlib.sha256()
        assert call.stream is not None
        pending: list[bytes] = []
        async for piece in call.stream:
            digest.update(piece)
            pending.append(piece)
            if sum(map(len, pending)) >= _PIECE_BYTES:
                await asyncio.to_thread(file.writelines, pending)
                pending = []
        await asyncio.to_thread(file.writelines, pending)
        file.flush()
        if not file.tell():
            raise invalid("body", "is empty: send the file itself")
        key = call.header(b"idempotency-key")
        said = msgspec.json.encode(query, order="sorted")
        retry = Retry.of(key, b"import", said, digest.digest()) if key is not None and not query.dry_run else None
        importing = call.services.importing
        if retry is not None and (kept := await importing.kept(call.caller, retry)) is not None:
            return Answer(kept, status=201)
        async with call.services.importing.turn():
            return await _import(call, _job(call, Path(file.name)), retry)


def _check_format(name: str) -> None:
    try:
        if name != _AUTO:
            reader(name)
    except ValueError as error:
        raise invalid("format", f"{error}, {_AUTO}") from None


def _job(call: Call, path: Path) -> ReadJob:
    query: ImportQuery = call.query
    pairs = [item.partition("=") for item in (query.columns or "").split(",") if item]
    return ReadJob(
        file=str(path),
        source=query.source,
        run=f"run_{secrets.token_hex(8)}",
        reports=call.caller.role is not Role.OPERATOR,
        screening=call.services.settings.screening_files,
        format=None if query.format == _AUTO else query.format,
        columns={field if equals else "value": column if equals else field for field, equals, column in pairs},
        type=query.type,
        category=query.category,
        severity=query.severity,
        confidence=query.confidence,
        max_bytes=MAX_UNPACKED_BYTES,
    )


async def _import(call: Call, job: ReadJob, retry: Retry | None) -> Answer:
    services, caller, dry_run = call.services, call.caller, call.query.dry_run
    if not dry_run:
        await services.importing.begin(job.run, job.source, caller)
    tally = _Tally()
    error = await _transfer(services, caller, job, tally, dry_run=dry_run)
    done = tally.shape(job, error and error.replace(job.file, "the file"), dry_run=dry_run)
    if dry_run:
        _refuse_nothing(done)
        return ok(done, 200)
    answer = ok(done, 201)
    summary = {name: value for name, value in msgspec.to_builtins(done).items() if name not in ("rejects", "run")}
    kept = (retry, answer.body) if retry is not None and done.values else None
    await services.importing.finish(job.run, summary, caller, kept)
    _refuse_nothing(done)
    return answer


async def _transfer(services: Services, caller: Caller, job: ReadJob, tally: _Tally, *, dry_run: bool) -> str | None:
    """Reads and stores; gives why the reading ended early, or None."""
    try:
        async with reading(job) as process:
            async for frame, body in frames(process):
                counts = None
                if body and not dry_run:
                    counts = await _store(services, caller, job, body, frame)
                tally.add(frame, counts)
                if frame.error is not None:
                    return frame.error
    except BrokeOff as error:
        return error.message
    return None


async def _store(services: Services, caller: Caller, job: ReadJob, body: bytes, frame: Frame) -> ChunkCounts:
    """Stores what was read: as a list of its source, or as reports of the caller, each counted once a day."""
    if not job.reports:
        return await services.importing.store(_decode_chunk(body))
    items = _decode_batch(body).threats
    retry = Retry.of(f"import-{hashlib.sha256(body).hexdigest()}", b"import")
    try:
        done = await services.reporting.submit([claim(raw) for raw in items], caller, partial=True, retry=retry)
    except InvalidInput as error:
        refused, counts = error.problems, ChunkCounts(0, 0, 0, 0)
    else:
        refused, counts = tuple(done.rejected), ChunkCounts(done.new, done.updated, 0, 0)
    frame.values -= len({problem.position for problem in refused})
    frame.rejects += [_rejected(problem, items) for problem in refused]
    return counts


def _rejected(problem: Problem, items: list[msgspec.Raw]) -> Rejected:
    value = msgspec.json.decode(items[problem.position or 0]).get("value", "")
    return Rejected(0, problem.field, problem.reason, excerpt(str(value)))


_decode_batch: Final = msgspec.json.Decoder(ThreatBatch).decode
_decode_chunk: Final = msgspec.json.Decoder(ImportChunk).decode


def _refuse_nothing(done: ImportedShape) -> None:
    """Raises InvalidInput where no value could be taken of what was sent, with the first reasons."""
    if done.values or not (done.rejected or done.error):
        return
    problems = [Problem(item.field, item.reason, item.line) for item in done.rejects]
    reason = done.error or f"nothing could be taken as {done.format}; line {done.rejects[0].line}"
    raise InvalidInput(
        reason if done.error else f"{reason}, {done.rejects[0].field}: {done.rejects[0].reason}",
        problems or [Problem("body", reason)],
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/import",
        summary="Import a file",
        description="The body is the file itself, plain or packed with gzip, zstd or zip (one file in it), of at most "
        f"{MAX_IMPORT_BYTES // 2**20} MiB. What each format is, and what of it is taken, docs/formats.md says.\n\n"
        "What an operator's key imports is what the source lists, as with `threat-cloud import`: listed again, it "
        "stores nothing new. What another key imports are "
        "reports of that key, each counted once a day. A line that cannot be taken does not "
        "keep the others from being stored; where none can be, 400 names the first hundred, `index` being the line. "
        "`error` says why the reading ended early: what came before is stored.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=import_file,
        query=ImportQuery,
        streams_body=True,
        max_body_bytes=MAX_IMPORT_BYTES,
        answer=ImportedShape,
        status=201,
        also={200: ImportedShape},
        tag="Reports",
        errors=("conflict", "busy"),
        headers={
            "Idempotency-Key": "1 to 255 printable characters; the same key and body within 24 h is answered again"
        },
        patterns={"Idempotency-Key": PRINTABLE},
    ),
)
