"""``GET /api/stream``: changes as they happen (Server-Sent Events, HTML Living Standard section 9.2)."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.change import ChangeKind, Interest, read_kinds, read_place
from threatcloud.domain.indicator import IndicatorType
from threatcloud.http.answer import Answer
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.wire import CategoryWord, TypeWord

EVENT_STREAM: Final = "text/event-stream"
KINDS_NOTE: Final = f"which, with commas between them, of {', '.join(ChangeKind)}; default all"
_KIND: Final = f"({'|'.join(ChangeKind)})"
Kinds = Annotated[str, Meta(pattern=rf"^{_KIND}(,{_KIND})*$", max_length=200, description=KINDS_NOTE)]


class StreamQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which changes, and from where."""

    events: Kinds | None = None
    type: TypeWord | None = None
    category: CategoryWord | None = None
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0
    last_event_id: (
        Annotated[str, Meta(min_length=1, max_length=140, description="as the header Last-Event-ID, which goes first")]
        | None
    ) = None
    follow: Annotated[bool, Meta(description="false: end with what there is now")] = True


async def stream(call: Call) -> Answer:
    """Changes after a place, then as they happen."""
    query: StreamQuery = call.query
    sent = call.header(b"last-event-id") or query.last_event_id
    place = read_place(sent, "Last-Event-ID" if call.header(b"last-event-id") else "lastEventId") if sent else None
    kind = IndicatorType(query.type) if query.type else None
    interest = Interest(read_kinds(query.events, "events"), kind, query.category, query.min_confidence)
    follower = await call.services.hub.follow(place, interest, call.may_still, ends=not query.follow)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Answer(b"", media=EVENT_STREAM, headers=headers, stream=follower)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/stream",
        summary="Changes as they happen (Server-Sent Events)",
        description="Each event has an `id`; a client that comes back with the last one in `Last-Event-ID` is told all "
        "that came since, some of it maybe again. Without it the stream begins now. 410 when what left since can no "
        "longer be told in full: load the lists anew. Every 15 seconds a comment shows that the connection lives. The "
        "data of an event are those of a webhook's.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=stream,
        from_database=True,
        streams=True,
        query=StreamQuery,
        media=EVENT_STREAM,
        tag="Feeds",
        errors=("gone", "busy"),
        headers={"Last-Event-ID": "the id of the last event that was seen"},
    ),
)
