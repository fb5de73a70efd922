"""``/api/sources``: lists of others that are fetched regularly, and what they are worth."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import invalid
from threatcloud.domain.outbound import MAX_URL_CHARS
from threatcloud.domain.polled import MAX_EVERY_MS, MIN_EVERY_MS, SourceState, Terms, lead_hours, share, state_of
from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.domain.times import SECOND_MS, iso
from threatcloud.formats.readers import READERS
from threatcloud.http import wire
from threatcloud.http.answer import Answer, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.wire import CategoryWord, SeverityWord, TypeWord
from threatcloud.storage.polled import PolledSource

FORMATS: Final = tuple(item.name for item in READERS)


class SourceBody(msgspec.Struct, rename="camel"):
    """A source to be polled; type to confidence hold for values that do not say it themselves."""

    name: Annotated[str, Meta(pattern=SOURCE_PATTERN, description="what its values are listed under: `feed:NAME`")]
    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL_CHARS, description="`https://` or `http://`")]
    every_seconds: Annotated[float, Meta(ge=MIN_EVERY_MS // SECOND_MS, le=MAX_EVERY_MS // SECOND_MS)] = 3600
    format: Annotated[str, Meta(extra_json_schema={"enum": list(FORMATS)}, description="default: found out")] | None = (
        None
    )
    type: TypeWord | None = None
    category: CategoryWord | None = None
    severity: SeverityWord = "high"
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.7


class SourceFigures(wire.Shape):
    """What a source lists now beside others. ``overlap``, ``unique`` and ``falsePositives`` are shares of that;
    ``firstShare`` of what is also on another list; ``leadHours``: by how much it was earlier than the others. Null
    where there is nothing to tell it by."""

    listed: int
    overlap: float | None
    unique: float | None
    false_positives: float | None
    first_share: float | None
    lead_hours: float | None


class SourceShape(wire.Shape):
    """A source. ``entries`` to ``dropped`` are of the list that was last taken up; ``heldWhy`` and ``heldEntries`` of a
    newer one that is held back."""

    name: str
    url: str
    state: SourceState
    every_seconds: int
    format: str | None
    type: TypeWord | None
    category: CategoryWord | None
    severity: SeverityWord | None
    confidence: float
    checked_at: wire.Time | None
    answered_at: wire.Time | None
    changed_at: wire.Time | None
    next_poll_at: wire.Time
    problem: str | None
    entries: int
    rejected: int
    new: int
    dropped: int
    held_since: wire.Time | None
    held_entries: int | None
    held_why: str | None
    figures: SourceFigures
    created_at: wire.Time
    created_by: str


def _shape(source: PolledSource, now: int) -> SourceShape:
    terms, known, figures = source.terms, source.known, source.figures
    is_held = known.held_since is not None
    return SourceShape(
        source.name,
        source.url,
        state_of(known, terms.every_ms, source.created_at, now),
        terms.every_ms // SECOND_MS,
        terms.format,
        terms.type,  # type: ignore[arg-type]
        terms.category,  # type: ignore[arg-type]
        terms.severity,  # type: ignore[arg-type]
        terms.confidence,
        time_or_none(known.checked_at or None),
        time_or_none(known.answered_at or None),
        time_or_none(known.changed_at or None),
        iso(source.due_at),
        known.problem,
        known.entries,
        known.rejected,
        known.new,
        known.dropped,
        time_or_none(known.held_since),
        known.held_entries if is_held else None,
        known.held_why,
        SourceFigures(
            figures.listed,
            share(figures.shared, figures.listed),
            share(figures.listed - figures.shared, figures.listed),
            share(figures.withheld, figures.listed),
            share(figures.first, figures.shared),
            lead_hours(figures),
        ),
        iso(source.created_at),
        source.created_by,
    )


async def add_source(call: Call) -> Answer:
    """Adds a source."""
    body: SourceBody = call.body
    if body.format is not None and body.format not in FORMATS:
        raise invalid("format", f"must be one of {', '.join(FORMATS)}")
    every_ms = int(body.every_seconds * SECOND_MS)
    terms = Terms(every_ms, body.format, body.type, body.category, body.severity, body.confidence)
    source = await call.services.sources.add(body.name, body.url, terms, call.caller)
    return ok(_shape(source, call.services.clock()), 201)


async def list_sources(call: Call) -> Answer:
    """All sources."""
    now = call.services.clock()
    return ok([_shape(item, now) for item in await call.services.sources.list()])


async def remove_source(call: Call) -> Answer:
    """Removes a source."""
    return ok(_shape(await call.services.sources.remove(call.params["name"], call.caller), call.services.clock()))


async def poll_source(call: Call) -> Answer:
    """Polls a source now."""
    return ok(_shape(await call.services.sources.poll(call.params["name"]), call.services.clock()))


async def confirm_source(call: Call) -> Answer:
    """Has a held list taken up."""
    source = await call.services.sources.confirm(call.params["name"], call.caller)
    return ok(_shape(source, call.services.clock()))


_NAME: Final = {"name": "the source's name, such as feed:example"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/sources",
        summary="Sources that are polled: their age, change, and what they are worth",
        access=Access.ADMIN,
        rate=RateClass.READ,
        handler=list_sources,
        answer=list[SourceShape],
        tag="Sources",
    ),
    Endpoint(
        method="POST",
        path="/api/sources",
        summary="Poll a list of others",
        description="Fetched with its ETag, within limits, from the internet and networks of `TC_OUTBOUND_ALLOW`; "
        "gzip, zstd and a zip archive of one file are unpacked. What it drops ends with it. A list that doubles, "
        "halves or empties within a day is not taken up until it is confirmed.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=add_source,
        body=SourceBody,
        answer=SourceShape,
        status=201,
        tag="Sources",
        errors=("conflict",),
        example={"name": "feed:example", "url": "https://feeds.example.org/ips.txt", "everySeconds": 3600},
    ),
    Endpoint(
        method="DELETE",
        path="/api/sources/{name}",
        summary="Remove a source; what it lists ends soon after",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=remove_source,
        answer=SourceShape,
        params=_NAME,
        tag="Sources",
        errors=("not_found",),
    ),
    Endpoint(
        method="POST",
        path="/api/sources/{name}/poll",
        summary="Poll a source now, and see what comes of it",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=poll_source,
        answer=SourceShape,
        params=_NAME,
        tag="Sources",
        errors=("not_found",),
    ),
    Endpoint(
        method="POST",
        path="/api/sources/{name}/confirm",
        summary="Have a held list taken up as it is now",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=confirm_source,
        answer=SourceShape,
        params=_NAME,
        tag="Sources",
        errors=("not_found", "conflict"),
    ),
)
