"""``/api/sightings``: seen again, looked for and not seen, or wrongly listed."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.indicator import detect
from threatcloud.domain.report import SOURCE_PATTERN, SightingKind
from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import Cursor, Limit200, PageNumber


class SightingBody(msgspec.Struct):
    """A sighting of a known indicator."""

    value: Annotated[str, Meta(min_length=1, max_length=8192)]
    source: Annotated[str, Meta(pattern=SOURCE_PATTERN)]
    context: Annotated[dict[str, Any], Meta(description="at most 16 KiB and 8 levels")] | None = None
    kind: SightingKind = SightingKind.POSITIVE


class SightingQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which indicator, and the place."""

    value: Annotated[str, Meta(min_length=1, max_length=8192)]
    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


class SightedShape(wire.Shape):
    """What a sighting changed; a negative ``reputationChange`` is a change for the worse."""

    sighting_id: str
    ioc_value: str
    total_sightings: int
    reputation_change: int


async def sight(call: Call) -> Answer:
    """Records a sighting."""
    body: SightingBody = call.body
    noted = await call.services.reporting.sight(body.value, body.source, body.kind, body.context or {}, call.caller)
    shape = SightedShape(f"sig_{noted.pk:016x}", noted.value, noted.total_sightings, noted.reputation_change)
    return ok(shape, 201)


async def list_sightings(call: Call) -> Answer:
    """One page of an indicator's sightings, newest first."""
    query: SightingQuery = call.query
    value = detect(query.value).value
    page = await call.services.lookup.sightings(query.value, query.page, query.limit, query.cursor)
    items = [wire.sighting(item, value) for item in page.items]
    return collection(items, page.total, query.page, query.limit, page.next_cursor)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/sightings",
        summary="Record a sighting of a known indicator",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=sight,
        body=SightingBody,
        answer=SightedShape,
        status=201,
        errors=("not_found", "busy"),
        tag="Reports",
        example={
            "value": "203.0.113.7",
            "source": "manual",
            "kind": "positive",
            "context": {"host": "web-1"},
        },
    ),
    Endpoint(
        method="GET",
        path="/api/sightings",
        summary="Sightings of an indicator, newest first",
        access=Access.READ_PRIVATE,
        rate=RateClass.READ,
        handler=list_sightings,
        from_database=True,
        query=SightingQuery,
        answer=wire.SightingShape,
        collection=True,
        errors=("not_found",),
        tag="Reports",
    ),
)
