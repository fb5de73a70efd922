"""``/taxii2/``: TAXII 2.1 (OASIS standard), for platforms that follow collections of STIX objects.

A page ends at a place, which its ``next`` names: no server state, and objects of equal times are neither left out nor
shown twice. What was added later has a later time, so a client goes on with ``added_after``.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import NotAcceptable, NotFound, Problem
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.times import iso
from threatcloud.formats.readers.stix import values_of
from threatcloud.http.answer import Answer, encode
from threatcloud.http.endpoint import MAX_BODY_BYTES, Access, Call, Endpoint, NoQuery, RateClass, decoded
from threatcloud.http.negotiation import choose_media
from threatcloud.http.parameters import DATE_TIME, read_since
from threatcloud.http.taxii_dialect import DIALECT, MEDIA
from threatcloud.services.intake import Claim
from threatcloud.services.taxii import COLLECTIONS, Collection, Item, ItemPage, Outcome, Sent, Wanted
from threatcloud.storage.exchange import Place

_STIX: Final = "application/stix+json;version=2.1"
_ROOT: Final = "/taxii2/api/"
_VERSION: Final = "taxii-2.1"
_LIMIT: Final = 1_000
_MAX_LIMIT: Final = 5_000
_MAX_OBJECTS: Final = 10_000
_SOURCE: Final = "taxii"

Words = Annotated[str, Meta(min_length=1, max_length=4_000)]


class ObjectsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which objects of a collection (sections 3.4 and 5.4)."""

    added_after: Annotated[str, Meta(max_length=64, extra_json_schema=DATE_TIME)] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    next: Annotated[str, Meta(max_length=200, description="`next` of the page before")] | None = None
    id: Words | None = msgspec.field(name="match[id]", default=None)
    type: Words | None = msgspec.field(name="match[type]", default=None)
    version: Words | None = msgspec.field(name="match[version]", default=None)
    spec_version: Words | None = msgspec.field(name="match[spec_version]", default=None)


class SentObject(msgspec.Struct):
    """An object that is sent: an indicator of STIX 2.1 with a pattern of one comparison."""

    type: str
    id: Annotated[str, Meta(max_length=200)]
    modified: str = ""
    pattern: str = ""
    pattern_type: str = "stix"
    confidence: Annotated[int, Meta(ge=0, le=100)] | None = None
    labels: list[str] = []
    valid_until: str | None = None


class Envelope(msgspec.Struct):
    """Objects that are sent."""

    objects: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=_MAX_OBJECTS)]


class EnvelopeShape(msgspec.Struct):
    """Objects that are sent, as documented."""

    objects: Annotated[list[SentObject], Meta(min_length=1, max_length=_MAX_OBJECTS)]


def _answer(call: Call, shape: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A resource, where the client takes TAXII 2.1 (section 1.6.8.1)."""
    accept = call.header(b"accept") or "*/*"
    if choose_media(accept, (MEDIA, "application/json")) is None:
        raise NotAcceptable(f"the answer is {MEDIA}")
    return Answer(encode(shape), status=status, media=MEDIA, headers=headers)


async def discovery(call: Call) -> Answer:
    """Which API roots there are."""
    shape = {
        "title": "Threat Cloud",
        "description": "Community-driven threat intelligence",
        "default": _ROOT,
        "api_roots": [_ROOT],
    }
    return _answer(call, shape)


async def api_root(call: Call) -> Answer:
    """What is said of the API root."""
    shape = {"title": "Threat Cloud", "versions": [_VERSION], "max_content_length": MAX_BODY_BYTES}
    return _answer(call, shape)


async def collections(call: Call) -> Answer:
    """All collections."""
    return _answer(call, {"collections": [_collection(one) for one in COLLECTIONS]})


async def collection(call: Call) -> Answer:
    """One collection."""
    return _answer(call, _collection(call.services.taxii.collection(call.params["id"])))


def _collection(found: Collection) -> dict[str, Any]:
    return {
        "id": found.id,
        "title": found.title,
        "description": found.description,
        "alias": found.alias,
        "can_read": not found.is_inbox,
        "can_write": found.is_inbox,
        "media_types": [_STIX],
    }


async def objects(call: Call) -> Answer:
    """A page of objects."""
    page, envelope = await _page(call)
    return _answer(call, {**envelope, "objects": [item.object for item in page.items]}, headers=_dates(page))


async def manifest(call: Call) -> Answer:
    """What is said of a page of objects."""
    page, envelope = await _page(call)
    return _answer(call, {**envelope, "objects": list(map(_record, page.items))}, headers=_dates(page))


async def one_object(call: Call) -> Answer:
    """An object by its id."""
    page, envelope = await _page(call, call.params["object"])
    return _answer(call, {**envelope, "objects": [item.object for item in page.items]}, headers=_dates(page))


async def versions(call: Call) -> Answer:
    """The versions of an object: there is the newest only."""
    page, envelope = await _page(call, call.params["object"])
    return _answer(call, {**envelope, "versions": [item.object.modified for item in page.items]}, headers=_dates(page))


async def _page(call: Call, id_: str | None = None) -> tuple[ItemPage, dict[str, Any]]:
    """A page of a collection, or the object of an id, NotFound where it is not in it; and where the page ends."""
    query: ObjectsQuery = call.query
    taxii = call.services.taxii
    found = taxii.collection(call.params["id"])
    if id_ is not None and not (await taxii.page(found, Wanted(Place(), 1, ids=(id_,)))).items:
        raise NotFound("there is no such object in this collection")
    page = await taxii.page(found, _wanted(query, id_))
    kept = [item for item in page.items if _is_version(item, query)]
    envelope: dict[str, Any] = {}
    if page.has_more:
        envelope = {"more": True, "next": make_cursor(*page.items[-1].place)}
    return ItemPage(kept, page.has_more), envelope


def _wanted(query: ObjectsQuery, id_: str | None) -> Wanted:
    added_after = read_since(query.added_after, "added_after")
    after = Place() if added_after is None else Place(added_after, 1 << 62)
    if query.next:
        updated_at, pk = read_cursor(query.next, 2)
        after = max(after, Place(updated_at, pk))
    ids = _words(query.id) if id_ is None else (id_,)
    types = _words(query.type)
    limit = min(query.limit or _LIMIT, _MAX_LIMIT)
    return Wanted(after, limit, None if types is None else frozenset(types), ids)


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word for word in text.split(",") if word)


def _is_version(item: Item, query: ObjectsQuery) -> bool:
    """Whether the one version that there is of an object is one of those that are asked for."""
    spec_versions, asked = _words(query.spec_version), _words(query.version)
    if spec_versions is not None and "2.1" not in spec_versions:
        return False
    if asked is None or {"first", "last", "all"} & set(asked):
        return True
    return item.place.updated_at in [read_since(word, "match[version]") for word in asked]


def _record(item: Item) -> dict[str, str]:
    added = _time(item.place.updated_at)
    return {"id": item.object.id, "date_added": added, "version": item.object.modified, "media_type": _STIX}


def _dates(page: ItemPage) -> dict[str, str]:
    if not page.items:
        return {}
    first, last = page.items[0].place.updated_at, page.items[-1].place.updated_at
    return {"X-TAXII-Date-Added-First": _time(first), "X-TAXII-Date-Added-Last": _time(last)}


def _time(time_ms: int) -> str:
    """With the microseconds that section 1.6.6 asks for."""
    return iso(time_ms)[:-1] + "000Z"


_decode_object: Final = msgspec.json.Decoder(SentObject).decode


async def add_objects(call: Call) -> Answer:
    """Takes indicators as reports."""
    found = call.services.taxii.collection(call.params["id"])
    if not found.is_inbox:
        raise NotFound("this collection takes nothing; the one with the alias reports does")
    now = call.services.clock()
    sent = [_sent(raw, now) for raw in call.body.objects]
    outcome = await call.services.taxii.take(sent, call.caller, now)
    return _answer(call, _status(outcome), status=202)


async def status(call: Call) -> Answer:
    """What became of objects that were sent."""
    return _answer(call, _status(call.services.taxii.outcome(call.params["id"], call.caller)))


def _sent(raw: msgspec.Raw, now: int) -> Sent:
    """An object, and the report it makes."""
    found = decoded(raw, _decode_object, lambda item: item, {})
    if isinstance(found, list):
        return Sent("unknown", iso(now), found)
    return Sent(found.id, found.modified or iso(now), _claim(found))


def _claim(item: SentObject) -> Claim | list[Problem]:
    if item.type != "indicator" or item.pattern_type != "stix":
        return [Problem("type", "must be indicator, with a pattern_type of stix")]
    try:
        found = values_of(item.pattern)
    except ValueError as error:
        return [Problem("pattern", str(error))]
    if len(found) != 1:
        return [Problem("pattern", f"must look for one value that is reported here, not for {len(found)}")]
    value, kind = found[0]
    if kind is None:
        return [Problem("pattern", "does not say of which type its value is")]
    category = next((label for label in item.labels if label in CATEGORIES), None)
    metadata = {"tags": item.labels} if item.labels else {}
    confidence = None if item.confidence is None else item.confidence / 100
    return Claim(kind, value, _SOURCE, category, None, confidence, metadata, None, item.valid_until)


def _status(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "status": "complete",
        "request_timestamp": _time(outcome.at),
        "total_count": len(outcome.successes) + len(outcome.failures),
        "success_count": len(outcome.successes),
        "successes": [{"id": id_, "version": version} for id_, version in outcome.successes],
        "failure_count": len(outcome.failures),
        "failures": [{"id": id_, "version": version, "message": why} for id_, version, why in outcome.failures],
        "pending_count": 0,
    }


def _endpoint(path: str, summary: str, handler: Any, **more: Any) -> Endpoint:
    whole = {
        "method": "GET",
        "access": Access.FEEDS,
        "rate": RateClass.FEED,
        "errors": ("not_found", "not_acceptable"),
        "dialect": DIALECT,
        **more,
    }
    return Endpoint(path=path, summary=summary, handler=handler, media=MEDIA, tag="TAXII", **whole)


_IN: Final = {"id": "a collection by its id or alias"}
_OF: Final = {**_IN, "object": "an id of STIX: `indicator--…`"}
ENDPOINTS: Final = (
    _endpoint("/taxii2/", "Discovery of TAXII 2.1", discovery),
    _endpoint(_ROOT, "The API root", api_root),
    _endpoint(f"{_ROOT}collections/", "The collections", collections),
    _endpoint(f"{_ROOT}collections/{{id}}/", "A collection", collection, params=_IN),
    _endpoint(f"{_ROOT}collections/{{id}}/objects/", "Objects", objects, params=_IN, query=ObjectsQuery),
    _endpoint(f"{_ROOT}collections/{{id}}/manifest/", "Ids and versions", manifest, params=_IN, query=ObjectsQuery),
    _endpoint(
        f"{_ROOT}collections/{{id}}/objects/{{object}}/", "An object", one_object, params=_OF, query=ObjectsQuery
    ),
    _endpoint(
        f"{_ROOT}collections/{{id}}/objects/{{object}}/versions/",
        "The versions of an object",
        versions,
        params=_OF,
        query=ObjectsQuery,
    ),
    _endpoint(
        f"{_ROOT}collections/{{id}}/objects/",
        "Report indicators of STIX",
        add_objects,
        method="POST",
        description="Indicators whose pattern is one comparison become reports of the key; the others are named in "
        "`failures`.",
        access=Access.EXCHANGE,
        rate=RateClass.WRITE,
        params=_IN,
        body=Envelope,
        documented_body=EnvelopeShape,
        status=202,
        errors=("not_found", "not_acceptable", "busy"),
    ),
    _endpoint(
        f"{_ROOT}status/{{id}}/",
        "What became of objects that were sent",
        status,
        access=Access.EXCHANGE,
        rate=RateClass.WRITE,
        params={"id": "the id that was answered"},
        query=NoQuery,
    ),
)
