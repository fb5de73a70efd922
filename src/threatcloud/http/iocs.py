"""``/api/iocs``: search, look-up, explanation, verdicts in bulk and by private range."""

import hashlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.address import Network, parse_network
from threatcloud.domain.canonical.refang import refang
from threatcloud.domain.errors import InvalidInput, invalid
from threatcloud.domain.indicator import Indicator, IndicatorType, InvalidIndicator, canonical
from threatcloud.domain.reputation import UNKNOWN_REPUTATION
from threatcloud.domain.state import Status
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.http import wire
from threatcloud.http.answer import TEXT, Answer, collection, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import END, Cursor, Limit200, PageNumber, Since, read_since
from threatcloud.http.wire import CategoryWord, TypeWord, Verdict
from threatcloud.services.lookup import RANGE_CLASS_LINES, RANGE_PREFIX_DIGITS, Unknown
from threatcloud.storage.indicators import Brief
from threatcloud.storage.search import Filters, Sort

MAX_LOOKUPS: Final = 10_000


class SearchQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Filters, order and place of a search."""

    type: TypeWord | None = None
    source: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    min_reputation: Annotated[int, Meta(ge=0, le=100)] | None = None
    max_reputation: Annotated[int, Meta(ge=0, le=100)] | None = None
    status: Literal["active", "expired", "whitelisted"] | None = None
    category: CategoryWord | None = None
    since: Since | None = None
    search: (
        Annotated[str, Meta(min_length=1, max_length=256, description="part of a value, or a CIDR network")] | None
    ) = None
    tag: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    mitre_id: Annotated[str, Meta(pattern=rf"^[Tt][0-9]{{4}}(\.[0-9]{{3}})?{END}")] | None = None
    country: Annotated[str, Meta(pattern=rf"^[A-Za-z]{{2}}{END}", description="ISO 3166 alpha-2")] | None = None
    campaign: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    sort: Sort = Sort.UPDATED
    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


class LookupBody(msgspec.Struct):
    """Values to look up, in any spelling."""

    values: Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(min_length=1, max_length=MAX_LOOKUPS)]


async def search(call: Call) -> Answer:
    """One page of indicators."""
    query: SearchQuery = call.query
    low, high = query.min_reputation, query.max_reputation
    if low is not None and high is not None and low > high:
        raise invalid("minReputation", "must not be above maxReputation")
    network, text = _search_term(query.search)
    filters = Filters(
        type=IndicatorType(query.type) if query.type else None,
        source=query.source,
        min_reputation=query.min_reputation,
        max_reputation=query.max_reputation,
        status=Status(query.status) if query.status else None,
        category=query.category,
        since=read_since(query.since),
        text=text,
        network=network,
        tag=query.tag,
        technique=normalise_technique_id(query.mitre_id) if query.mitre_id else None,
        country=query.country.upper() if query.country else None,
        campaign=query.campaign,
    )
    asked = (filters, query.sort, query.page, query.limit, query.cursor)

    async def make() -> Answer:
        page = await call.services.lookup.search(*asked)
        items = [wire.ioc(state) for state in page.items]
        return collection(items, page.total, query.page, query.limit, page.next_cursor)

    return await call.services.pages.of(asked, make)


def _search_term(term: str | None) -> tuple[Network | None, str | None]:
    """The network a term names (a slash makes it one), or the text to look for in values."""
    if term is None:
        return None, None
    text = refang(term.strip())
    if "/" in text and "://" not in text:
        try:
            return parse_network(canonical(IndicatorType.IP, text).value), None
        except InvalidInput:
            return None, text
    return None, text


async def detail(call: Call) -> Answer:
    """Everything about one indicator; 404 with what an unknown one reads."""
    found = await call.services.lookup.detail(call.params["value"])
    if isinstance(found, Unknown):
        return ok(wire.unknown_ioc(found, UNKNOWN_REPUTATION), 404)
    return ok(wire.ioc_detail(found, call.services.screener))


async def explain(call: Call) -> Answer:
    """Why the reputation is what it is."""
    return ok(wire.explanation(await call.services.lookup.explain(call.params["value"])))


async def verdicts(call: Call) -> Answer:
    """One verdict per value."""
    values: list[str] = call.body.values
    found = await call.services.lookup.verdicts(values)
    return ok([_verdict(item, brief, value) for (item, brief), value in zip(found, values, strict=True)])


def _verdict(item: Indicator | InvalidIndicator, brief: Brief | None, value: str) -> Verdict:
    if isinstance(item, InvalidIndicator):
        return Verdict(value, None, None, "invalid", error=item.reason)
    kind: Any
    kind, value = item
    if brief is None:
        return Verdict(value, kind, UNKNOWN_REPUTATION, "unknown")
    _, reputation, status, sightings, category = brief
    return Verdict(value, kind, reputation, status, sightings, category)


async def private_range(call: Call) -> Answer:
    """Digests that begin with a prefix, padded so that the length tells little of how many there are."""
    prefix = call.params["prefix"].lower()
    if len(prefix) != RANGE_PREFIX_DIGITS or not set(prefix) <= set("0123456789abcdef"):
        raise invalid("prefix", f"must be {RANGE_PREFIX_DIGITS} hexadecimal digits")
    lines = [f"{rest}:{reputation}" for rest, reputation in await call.services.lookup.range(prefix)]
    missing = -len(lines) % RANGE_CLASS_LINES or (0 if lines else RANGE_CLASS_LINES)
    lines += [_padding(prefix, number) for number in range(missing)]
    return Answer(("\n".join(lines) + "\n").encode(), media=TEXT)


def _padding(prefix: str, number: int) -> str:
    """A line for nothing anybody stored. It looks like any other, or compression would tell how many there are."""
    rest = hashlib.sha256(f"padding {prefix} {number}".encode()).hexdigest()[RANGE_PREFIX_DIGITS:]
    return f"{rest}:{UNKNOWN_REPUTATION}"


class ErasedCounts(wire.Shape):
    """How much was said of an erased value."""

    sightings: int
    listings: int


class ErasedShape(wire.Shape):
    """The answer to an erasure, which does not name the value."""

    erased: ErasedCounts


async def erase(call: Call) -> Answer:
    """Erases a value and all that follows from it, for good."""
    removed = await call.services.erasure.erase(call.params["value"], call.caller)
    return ok(ErasedShape(ErasedCounts(removed.sightings, removed.listings)))


_VALUE: Final = {"value": "the indicator, percent-encoded, in any spelling that canonicalises"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/iocs",
        summary="Search indicators",
        access=Access.READ,
        rate=RateClass.READ,
        handler=search,
        from_database=True,
        query=SearchQuery,
        answer=wire.Ioc,
        collection=True,
        tag="Indicators",
    ),
    Endpoint(
        method="POST",
        path="/api/iocs/lookup",
        summary="Look up many values at once",
        description="One verdict per value, in order; what is no indicator has the status `invalid` and an `error`.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=verdicts,
        from_database=True,
        body=LookupBody,
        answer=list[Verdict],
        tag="Indicators",
        example={"values": ["203.0.113.7", "hxxp://bad[.]example/x"]},
    ),
    Endpoint(
        method="GET",
        path="/api/iocs/range/{prefix}",
        summary="Look up privately by a digest prefix",
        description="The prefix is the first four hex digits of SHA-256(type, 0x00, canonical value); a line is the "
        "rest of a digest, a colon and the reputation. Lines are padded with digests of nothing, which read 80.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=private_range,
        from_database=True,
        params={"prefix": "four hexadecimal digits"},
        patterns={"prefix": rf"^[0-9A-Fa-f]{{{RANGE_PREFIX_DIGITS}}}$"},
        media=TEXT,
        tag="Indicators",
    ),
    Endpoint(
        method="GET",
        path="/api/iocs/{value}",
        summary="Everything about an indicator",
        description="An indicator nobody reported answers 404 with `ok: true` and the reputation 80.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=detail,
        from_database=True,
        params=_VALUE,
        answer=wire.IocDetail,
        also={404: wire.UnknownIoc},
        errors=("not_found",),
        tag="Indicators",
    ),
    Endpoint(
        method="DELETE",
        path="/api/iocs/{value}",
        summary="Erase a value for good",
        description="With everything reported of it, from feeds, search, relations, kept answers and the details "
        "of the audit log. If it was ever published, no delta can begin before the erasure: followers take it whole. "
        "It may be reported anew; to keep it out, allowlist it.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=erase,
        params=_VALUE,
        answer=ErasedShape,
        errors=("not_found",),
        tag="Indicators",
    ),
    Endpoint(
        method="GET",
        path="/api/iocs/{value}/explain",
        summary="Why an indicator has its reputation",
        access=Access.READ,
        rate=RateClass.READ,
        handler=explain,
        from_database=True,
        params=_VALUE,
        answer=wire.ExplanationShape,
        errors=("not_found",),
        tag="Indicators",
    ),
)
