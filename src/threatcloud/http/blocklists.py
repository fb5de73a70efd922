"""``/api/feeds/…-blocklist``: what to block, one value a line or in the format of whoever loads it."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import InvalidInput, NotFound, Problem, invalid
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.formats.feeds import FORMATS, LISTED_KINDS, PLAIN, find_format
from threatcloud.http.answer import TEXT, Answer
from threatcloud.http.endpoint import Access, Call, Endpoint, Handler, RateClass
from threatcloud.http.published import conditional, kept_body
from threatcloud.http.wire import CategoryWord
from threatcloud.services.rendering import Shape

_KINDS: Final = {f"{kind.value}-blocklist": kind for kind in LISTED_KINDS}


class Selection(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a blocklist selects. ``minReputation`` is, despite its name, the highest reputation included."""

    min_reputation: (
        Annotated[int, Meta(ge=0, le=100, description="the HIGHEST reputation included; default 30")] | None
    ) = None
    max_reputation: Annotated[int, Meta(ge=0, le=100, description="the same by its right name")] | None = None
    category: CategoryWord | None = None
    hosts: Annotated[bool, Meta(description="leave networks out")] = False
    top: Annotated[int, Meta(ge=1, le=10_000_000, description="only so many, the worst")] | None = None
    since: Annotated[str, Meta(max_length=64, description="a version (X-Feed-Version): only what changed")] | None = (
        None
    )


class FileQuery(Selection):
    """The same for a list of any type."""

    aggregate: Annotated[bool, Meta(description="the fewest networks that hold exactly the same addresses")] = False


def _format(kind: IndicatorType) -> Meta:
    """What the format of a list is, as documented; the words themselves are checked by ``find_format``."""
    names = [known.name for known in FORMATS if kind in known.kinds]
    return Meta(max_length=64, extra_json_schema={"enum": names})


class IpQuery(FileQuery):
    """What a list of addresses selects, and its format."""

    format: Annotated[str, _format(IndicatorType.IP)] = PLAIN.name


class DomainQuery(Selection):
    """What a list of names selects, and its format."""

    format: Annotated[str, _format(IndicatorType.DOMAIN)] = PLAIN.name


class UrlQuery(Selection):
    """What a list of URLs selects, and its format."""

    format: Annotated[str, _format(IndicatorType.URL)] = PLAIN.name


class HashQuery(Selection):
    """What a list of hashes selects, and its format."""

    format: Annotated[str, _format(IndicatorType.HASH)] = PLAIN.name


async def ip_blocklist(call: Call) -> Answer:
    """Addresses and networks."""
    return await _blocklist(call, IndicatorType.IP, call.query.format, call.query.aggregate)


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
    return await _blocklist(call, kind, extension, call.query.aggregate)


async def _blocklist(call: Call, kind: IndicatorType, word: str, aggregate: bool = False) -> Answer:
    query: Selection = call.query
    shape = Shape(find_format(word), query.top, aggregate)
    if query.min_reputation is not None and query.max_reputation is not None:
        reason = "means the same as maxReputation; give one of them"
        raise InvalidInput(f"minReputation {reason}", [Problem("minReputation", reason)])
    given = query.max_reputation if query.min_reputation is None else query.min_reputation
    hosts_only = query.hosts and kind is not IndicatorType.URL  # whose slashes are none of a network
    wanted = FeedList(kind, BLOCK_REPUTATION if given is None else given, query.category, hosts_only)
    if query.since is not None:
        if not wanted.is_default or shape != Shape():
            raise invalid("since", "goes with the default list only, without other parameters")
        version, delta = await call.services.publisher.delta(kind, query.since)
        return await kept_body(call, delta, TEXT, {"X-Feed-Version": version, "Cache-Control": "no-cache"})
    # The version first: a list may hold a little more than its version says, never less.
    version = await call.services.publisher.version()
    return await conditional(call, await call.services.renderer.get(wanted, shape), shape.format.media, version)


_NOTE: Final = (
    "One value a line, worst reputation first, after three comment lines; or another `format`. Revalidate with "
    "If-None-Match or If-Modified-Since: 304 while the content is the same. With `since` (the `X-Feed-Version` of the "
    "list you have) only what changed: lines that begin with `+` or `-`. `X-Feed-Truncated`: how many entries are "
    "missing because whoever reads the format takes no more; `X-Feed-Left-Out`: how many values the format cannot say, "
    "and why."
)
_MEDIA: Final = tuple(dict.fromkeys(known.media for known in FORMATS))


def _list_endpoint(path: str, summary: str, handler: Handler, query: type[Selection], **more: Any) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        summary=summary,
        description=_NOTE,
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=handler,
        query=query,
        media=TEXT,
        other_media=_MEDIA,
        tag="Feeds",
        also={304: "unchanged"},
        **{"errors": ("gone", "busy"), **more},
    )


def _file_names() -> str:
    """The pattern of the names of lists with an extension."""
    lists = []
    for name, kind in _KINDS.items():
        words = sorted({word for known in FORMATS if kind in known.kinds for word in (known.name, known.extension)})
        lists.append(rf"{name}\.({'|'.join(words)})")
    return f"^({'|'.join(lists)})$"


ENDPOINTS: Final = (
    _list_endpoint("/api/feeds/ip-blocklist", "Addresses and networks to block", ip_blocklist, IpQuery),
    _list_endpoint("/api/feeds/domain-blocklist", "Domains to block", domain_blocklist, DomainQuery),
    _list_endpoint("/api/feeds/url-blocklist", "URLs to block", url_blocklist, UrlQuery),
    _list_endpoint("/api/feeds/hash-blocklist", "File hashes to block", hash_blocklist, HashQuery),
    _list_endpoint(
        "/api/feeds/{name}",
        "A list in the format that its extension names",
        blocklist_file,
        FileQuery,
        params={"name": "the list, a dot, and a format or its extension: `ip-blocklist.csv`"},
        patterns={"name": _file_names()},
        errors=("gone", "busy", "not_found"),
    ),
)
