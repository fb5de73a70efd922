"""Routes of the local socket: the command line's own way into a running server."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, NoQuery, RateClass
from threatcloud.services.imports import ImportChunk
from threatcloud.services.replaying import EventChunk
from threatcloud.services.trapping import Visit

MAX_CHUNK_BYTES: Final = 32 * 1024 * 1024
RunId = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}$")]


class ImportStart(msgspec.Struct):
    """An import that begins."""

    run: RunId
    source: str


class ImportEnd(msgspec.Struct):
    """An import that ended, with its summary."""

    run: RunId
    summary: dict[str, Any]


async def begin_import(call: Call) -> Answer:
    """Enters the start; tells which files the rows are to be screened with, and how long what they say is kept."""
    await call.services.importing.begin(call.body.run, call.body.source, call.caller)
    settings = call.services.settings
    return ok({"screening": settings.screening_files, "retentionDays": settings.retention_days}, 201)


async def tell_screening(call: Call) -> Answer:
    """Tells which files rows are to be screened with, where nothing is to be stored."""
    return ok({"screening": call.services.settings.screening_files}, 201)


async def store_chunk(call: Call) -> Answer:
    """Stores a chunk of prepared rows."""
    return ok(await call.services.importing.store(call.body), 201)


class VisitChunk(msgspec.Struct):
    """Visits of one honeypot's log, under the honeypot's name."""

    run: RunId
    source: Annotated[str, Meta(pattern=SOURCE_PATTERN)]
    visits: list[Visit]


async def store_events(call: Call) -> Answer:
    """Stores events of a history."""
    return ok(await call.services.replaying.store(call.body), 201)


async def store_visits(call: Call) -> Answer:
    """Stores visits that a log tells of."""
    done = await call.services.trapping.report_log(call.body.visits, call.body.source, call.caller)
    return ok(
        {**done._asdict(), "rejected": [[0, item.field, item.reason, item.attacker] for item in done.rejected]}, 201
    )


async def finish_import(call: Call) -> Answer:
    """Enters the end."""
    await call.services.importing.finish(call.body.run, call.body.summary, call.caller)
    return ok({}, 201)


def _route(path: str, handler: Any, body: type[msgspec.Struct]) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        summary="Local",
        access=Access.LOCAL,
        rate=RateClass.NONE,
        handler=handler,
        body=body,
        status=201,
        max_body_bytes=MAX_CHUNK_BYTES,
    )


ENDPOINTS: Final = (
    _route("/local/imports", begin_import, ImportStart),
    _route("/local/imports/screening", tell_screening, NoQuery),
    _route("/local/imports/rows", store_chunk, ImportChunk),
    _route("/local/imports/visits", store_visits, VisitChunk),
    _route("/local/imports/events", store_events, EventChunk),
    _route("/local/imports/end", finish_import, ImportEnd),
)
