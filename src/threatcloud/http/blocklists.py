"""``/api/feeds/…-blocklist``: what to block, one value a line or in the format of whoever loads it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import InvalidInput, NotFound, Problem, invalid
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.formats.feeds import LISTED_KINDS, NAMES, PLAIN, find_format
from threatcloud.http.answer import TEXT, Answer
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.published import conditional, kept_body
from threatcloud.http.wire import CategoryWord
from threatcloud.services.rendering import Shape

_KINDS: Final = {f"{kind.value}-blocklist": kind for kind in LISTED_KINDS}


class FileQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a blocklist selects. ``minReputation`` is, despite its name, the highest reputation included."""

    min_reputation: (
        Annotated[int, Meta(ge=0, le=100, description="the HIGHEST reputation included; default 30")] | None
    ) = None
    max_reputation: Annotated[int, Meta(ge=0, le=100, description="the same by its right name")] | None = None
    category: CategoryWord | None = None
    hosts: Annotated[bool, Meta(description="leave networks out")] = False
    top: Annotated[int, Meta(ge=1, description="only so many, the worst")] | None = None
    aggregate: Annotated[bool, Meta(description="the fewest networks that hold exactly the same addresses")] = False
    since: Annotated[str, Meta(max_length=64, description="a version (X-Feed-Version): only what changed")] | None = (
        None
    )


class ListQuery(FileQuery):
    """The same, and in which format."""

    format: Annotated[str, Meta(max_length=64, extra_json_schema={"enum": list(NAMES)})] = PLAIN.name


async def ip_blocklist(call: Call) -> Answer:
    """Addresses and networks."""
    return await _blocklist(call, IndicatorType.IP, call.query.format)


async def domain_blocklist(call: Call) -> Answer:
    """Domain names."""
    return await _blocklist(call, IndicatorType.DOMAIN, call.query.format)


async def url_blocklist(call: Call) -> Answer:
    """URLs."""
    return await _blocklist(call, IndicatorType.URL, call.query.format)


async def hash_blocklist(call: Call) -> Answer:
    """File hashes."""
    return await _blocklist(call, IndicatorType.HASH, call.query.format)


async def blocklist_file(call: Call) -> Answer:
    """A list in the format that an extension names."""
    name, _, extension = call.params["name"].rpartition(".")
    kind = _KINDS.get(name)
    if kind is None:
        raise NotFound(f"there is no such feed; there are {', '.join(_KINDS)}, each with .EXTENSION for a format")
    return await _blocklist(call, kind, extension)


async def _blocklist(call: Call, kind: IndicatorType, word: str) -> Answer:
    query: FileQuery = call.query
    shape = Shape(find_format(word), query.top, query.aggregate)
    if query.min_reputation is not None and query.max_reputation is not None:
        reason = "means the same as maxReputation; give one of them"
        raise InvalidInput(f"minReputation {reason}", [Problem("minReputation", reason)])
    given = query.max_reputation if query.min_reputation is None else query.min_reputation
    wanted = FeedList(kind, BLOCK_REPUTATION if given is None else given, query.category, query.hosts)
    if query.since is not None:
        if not wanted.is_default or shape != Shape():
            raise invalid("since", "goes with the default list only, without other parameters")
        version, delta = await call.services.publisher.delta(kind, query.since)
        return await kept_body(call, delta, TEXT, {"X-Feed-Version": version, "Cache-Control": "no-cache"})
    # The version first: a list may hold a little more than its version says, never less.
    version = await call.services.publisher.version()
    return await conditional(call, await call.services.renderer.get(wanted, shape), shape.format.media, version)


_LIST_NOTE: Final = (
    "Revalidate with If-None-Match or If-Modified-Since: 304 while the content is the same. With `since` (the "
    "`X-Feed-Version` of the list you have) only what changed: lines that begin with `+` or `-`."
)


_FORMAT_NOTE: Final = (
    " `X-Feed-Truncated`: how many entries are missing because whoever reads the format takes no more; "
    "`X-Feed-Left-Out`: how many values the format cannot say, and why."
)


def _list_endpoint(
    path: str,
    summary: str,
    handler: object,
    query: type[FileQuery] = ListQuery,
    params: Mapping[str, str] = MappingProxyType({}),
) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        summary=summary,
        description="One value a line, worst reputation first, after three comment lines; or another `format`. "
        + _LIST_NOTE
        + _FORMAT_NOTE,
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=handler,  # type: ignore[arg-type]
        query=query,
        media=TEXT,
        tag="Feeds",
        also={304: "unchanged"},
        params=params,
        errors=("gone", "busy", *(("not_found",) if params else ())),
    )


ENDPOINTS: Final = (
    _list_endpoint("/api/feeds/ip-blocklist", "Addresses and networks to block", ip_blocklist),
    _list_endpoint("/api/feeds/domain-blocklist", "Domains to block", domain_blocklist),
    _list_endpoint("/api/feeds/url-blocklist", "URLs to block", url_blocklist),
    _list_endpoint("/api/feeds/hash-blocklist", "File hashes to block", hash_blocklist),
    _list_endpoint(
        "/api/feeds/{name}",
        "A list in the format that its extension names",
        blocklist_file,
        FileQuery,
        {"name": "the list, a dot, and a format or its extension: `ip-blocklist.csv`"},
    ),
)
