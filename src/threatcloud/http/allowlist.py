"""``/api/allowlist``: what the operator never wants published."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from threatcloud.domain.allow_entry import EntryKind, entry_id
from threatcloud.domain.errors import Problem, invalid
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass, decoded, wants_of
from threatcloud.http.parameters import DATE_TIME, Cursor, Limit200, PageNumber
from threatcloud.services.allowing import MAX_BATCH, MAX_NOTE, AllowClaim
from threatcloud.storage.allowlist import StoredEntry

_VALUE_NOTE: Final = "as an indicator is spelled; `*.example.org` or `.example.org` is the name with all names below it"


class AllowItem(msgspec.Struct, rename="camel"):
    """Something to be allowed."""

    value: Annotated[str, Meta(description=_VALUE_NOTE, examples=["198.51.100.0/24", "*.example.org"])]
    note: Annotated[str, Meta(max_length=MAX_NOTE)] | None = None
    expires_at: (
        Annotated[str, Meta(description="when it is taken off; default never", extra_json_schema=DATE_TIME)] | None
    ) = None


class AllowBody(msgspec.Struct, rename="camel"):
    """One entry, or 1 to 100 of them."""

    entries: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)] | UnsetType = UNSET
    value: msgspec.Raw | UnsetType = UNSET


class AllowBatch(msgspec.Struct):
    """1 to 100 entries."""

    entries: Annotated[list[AllowItem], Meta(min_length=1, max_length=MAX_BATCH)]


class AllowlistQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The place."""

    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


class EntryShape(wire.Shape):
    """An entry, its value canonical; a zone is ``*.example.org``. ``createdBy`` is the mask of a key."""

    id: str
    value: str
    type: IndicatorType
    kind: EntryKind
    note: str | None
    created_at: wire.Time
    created_by: str
    expires_at: wire.Time | None


class AllowedShape(EntryShape):
    """An entry as stored; ``withheld``: how many stored indicators it covers that it now keeps out of all feeds."""

    withheld: int


class AllowedShapes(wire.Shape):
    """Entries as stored, in the order of the input."""

    entries: list[AllowedShape]


class DisallowedShape(EntryShape):
    """An entry as it was; ``released``: how many stored indicators the allowlist no longer withholds."""

    released: int


_decode_item: Final = msgspec.json.Decoder(AllowItem).decode
_WANTS: Final = wants_of(AllowItem)


def _claim(raw: msgspec.Raw | bytes) -> AllowClaim | list[Problem]:
    return decoded(raw, _decode_item, _claim_of, _WANTS)


def _claim_of(item: AllowItem) -> AllowClaim:
    return AllowClaim(item.value, item.note, item.expires_at)


def _fields(stored: StoredEntry) -> tuple[str, str, IndicatorType, EntryKind, str | None, str, str, str | None]:
    entry = stored.entry
    return (
        entry_id(entry),
        entry.value,
        entry.type,
        entry.kind,
        stored.note,
        iso(stored.created_at),
        stored.created_by,
        time_or_none(stored.expires_at),
    )


async def add_allowed(call: Call) -> Answer:
    """Allows one value or a batch."""
    body: AllowBody = call.body
    if body.entries is not UNSET and body.value is not UNSET:
        raise invalid("entries", "is for several values and value for one; give one of them")
    given = [call.raw_body] if body.entries is UNSET else body.entries
    done = await call.services.allowlist.add([_claim(raw) for raw in given], call.caller)
    return ok(AllowedShapes([AllowedShape(*_fields(item.stored), item.withheld) for item in done]), 201)


async def list_allowed(call: Call) -> Answer:
    """One page of the entries, newest first."""
    query: AllowlistQuery = call.query
    page = await call.services.allowlist.page(query.page, query.limit, query.cursor)
    items = [EntryShape(*_fields(item)) for item in page.items]
    return collection(items, page.total, query.page, query.limit, page.next_cursor)


async def remove_allowed(call: Call) -> Answer:
    """Takes an entry off."""
    done = await call.services.allowlist.remove(call.params["value"], call.caller)
    return ok(DisallowedShape(*_fields(done.stored), done.released))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/allowlist",
        summary="The operator's allowlist, newest first",
        access=Access.ADMIN,
        rate=RateClass.READ,
        handler=list_allowed,
        query=AllowlistQuery,
        answer=EntryShape,
        collection=True,
        tag="Allowlist",
    ),
    Endpoint(
        method="POST",
        path="/api/allowlist",
        summary="Allow one value or up to 100",
        description="No feed lists what an entry covers, whoever reports it: an address or network whatever overlaps "
        "it and the URLs on it; a domain itself, the names above it, its URLs and e-mail addresses; a zone all that "
        "for every name below it, too. Stored indicators have the status `whitelisted` before this answers. A known "
        "value takes on the note and expiry given now. One bad entry refuses all, and each is named in `details`.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=add_allowed,
        body=AllowBody,
        documented_body=(AllowItem, AllowBatch),
        answer=AllowedShapes,
        status=201,
        errors=("conflict", "busy"),
        tag="Allowlist",
        example={"entries": [{"value": "198.51.100.0/24", "note": "our office"}, {"value": "*.example.org"}]},
    ),
    Endpoint(
        method="DELETE",
        path="/api/allowlist/{value}",
        summary="Take an entry off the allowlist",
        description="What it covered is judged anew before this answers, and is listed again where its evidence says "
        "so and nothing else withholds it. Answers with the entry as it was.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=remove_allowed,
        answer=DisallowedShape,
        params={"value": "the entry's value in any spelling, percent-encoded, or its id"},
        errors=("not_found", "busy"),
        tag="Allowlist",
    ),
)
