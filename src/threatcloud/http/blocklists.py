"""``/api/feeds/…-blocklist`` and ``/api/feeds/all``: what to block, in the format of whoever loads it."""

import re
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import InvalidInput, NotAcceptable, NotFound, Problem, invalid
from threatcloud.domain.feed import EVERYTHING, FeedList, Least
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.times import DAY_MS, HOUR_MS
from threatcloud.formats.feeds import FORMATS, LISTED_KINDS, PLAIN, Format, find_format
from threatcloud.http.answer import TEXT, Answer
from threatcloud.http.endpoint import Access, Call, Endpoint, Handler, NoQuery, RateClass
from threatcloud.http.negotiation import choose_media
from threatcloud.http.published import conditional, kept_body
from threatcloud.http.wire import CategoryWord
from threatcloud.services.rendering import Shape

_ALL: Final = "all"
_KINDS: Final[dict[str, tuple[IndicatorType, ...]]] = {
    **{f"{kind.value}-blocklist": (kind,) for kind in LISTED_KINDS},
    _ALL: LISTED_KINDS,
}
_JOINT_FORMATS: Final = tuple(known for known in FORMATS if known.write_all is not None)
_FOR_GOOD: Final = "private, max-age=31536000, immutable"


class Selection(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a blocklist selects. ``minReputation`` is, despite its name, the highest reputation included."""

    min_reputation: (
        Annotated[int, Meta(ge=0, le=100, description="the HIGHEST reputation included; default 30")] | None
    ) = None
    max_reputation: Annotated[int, Meta(ge=0, le=100, description="the same by its right name")] | None = None
    category: CategoryWord | None = None
    min_confidence: Annotated[float, Meta(ge=0, le=1, description="the least confidence")] | None = None
    max_age_days: Annotated[int, Meta(ge=1, le=3650, description="seen in the last so many days")] | None = None
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1: `NL`")] | None = None
    hosts: Annotated[bool, Meta(description="leave networks out")] = False
    top: Annotated[int, Meta(ge=1, le=10_000_000, description="only so many, the worst (of each type)")] | None = None
    since: Annotated[str, Meta(max_length=64, description="a version (X-Feed-Version): only what changed")] | None = (
        None
    )


class FileQuery(Selection):
    """The same for a list of any type."""

    aggregate: Annotated[bool, Meta(description="the fewest networks that hold exactly the same addresses")] = False
    min_fill: (
        Annotated[
            int,
            Meta(
                ge=10,
                le=100,
                description="with aggregate: a network up to /24 is taken whole when so many percent of it are listed; "
                "`X-Feed-Collateral` says how many addresses come with it that nobody listed",
            ),
        ]
        | None
    ) = None


def _format(formats: tuple[Format, ...]) -> Meta:
    """What the format of a list is, as documented; the words themselves are checked by ``find_format``."""
    about = "by default what Accept asks for, else plain"
    return Meta(max_length=64, description=about, extra_json_schema={"enum": [known.name for known in formats]})


@cache
def _formats_of(kind: IndicatorType) -> tuple[Format, ...]:
    return tuple(known for known in FORMATS if kind in known.kinds)


class IpQuery(FileQuery):
    """What a list of addresses selects, and its format."""

    format: Annotated[str, _format(_formats_of(IndicatorType.IP))] | None = None


class DomainQuery(Selection):
    """What a list of names selects, and its format."""

    format: Annotated[str, _format(_formats_of(IndicatorType.DOMAIN))] | None = None


class UrlQuery(Selection):
    """What a list of URLs selects, and its format."""

    format: Annotated[str, _format(_formats_of(IndicatorType.URL))] | None = None


class HashQuery(Selection):
    """What a list of hashes selects, and its format."""

    format: Annotated[str, _format(_formats_of(IndicatorType.HASH))] | None = None


class AllQuery(Selection):
    """What a list of all types selects, and its format."""

    format: Annotated[str, _format(_JOINT_FORMATS)] | None = None


async def ip_blocklist(call: Call) -> Answer:
    """Addresses and networks."""
    format_ = _wanted_format(call, _formats_of(IndicatorType.IP))
    return await _blocklist(call, "ip-blocklist", format_, joined=call.query)


async def domain_blocklist(call: Call) -> Answer:
    """Domain names."""
    return await _blocklist(call, "domain-blocklist", _wanted_format(call, _formats_of(IndicatorType.DOMAIN)))


async def url_blocklist(call: Call) -> Answer:
    """URLs."""
    return await _blocklist(call, "url-blocklist", _wanted_format(call, _formats_of(IndicatorType.URL)))


async def hash_blocklist(call: Call) -> Answer:
    """File hashes."""
    return await _blocklist(call, "hash-blocklist", _wanted_format(call, _formats_of(IndicatorType.HASH)))


async def all_types(call: Call) -> Answer:
    """Everything there is a list of."""
    format_ = _wanted_format(call, _JOINT_FORMATS, is_strict=True)
    return await _blocklist(call, _ALL, format_)


async def blocklist_file(call: Call) -> Answer:
    """A list in the format that an extension names."""
    name, format_ = _named(call.params["name"])
    return await _blocklist(call, name, format_, joined=call.query)


async def delta_file(call: Call) -> Answer:
    """What changed between two versions, which never changes again."""
    name, format_ = _named(call.params["name"])
    since, dots, to = call.params["versions"].partition("..")
    if not dots:
        raise NotFound("a delta is named by its two versions: FROM..TO")
    return await _delta(call, name, format_, since, to, _FOR_GOOD)


def _named(text: str) -> tuple[str, Format]:
    """The list and the format of a file name: ``ip-blocklist.csv``, or without an extension the plain one."""
    name, dot, extension = text.partition(".")
    if name not in _KINDS:
        raise NotFound(f"there is no such feed; there are {', '.join(_KINDS)}, each with .EXTENSION for a format")
    return name, find_format(extension) if dot else PLAIN


def _wanted_format(call: Call, formats: tuple[Format, ...], *, is_strict: bool = False) -> Format:
    """The format a call asks for by name, or by Accept; plain where it asks for none that there is, unless strict."""
    if call.query.format is not None:
        return find_format(call.query.format)
    media = choose_media(call.header(b"accept") or "*/*", tuple([known.media for known in formats]))
    if media is None and is_strict:
        there = ", ".join(f"{known.media} ({known.name})" for known in formats)
        raise NotAcceptable(f"none of what Accept asks for is here; there are {there}")
    return next((known for known in formats if known.media == media), PLAIN)


async def _blocklist(call: Call, name: str, format_: Format, joined: FileQuery | None = None) -> Answer:
    query: Selection = call.query
    shape = Shape(format_, query.top, *_joining(joined))
    wanted = [_list(call, kind) for kind in _KINDS[name]]
    if query.since is not None:
        if not all(one.is_default for one in wanted) or shape != Shape(format_):
            raise invalid("since", "goes with the default list only, without other parameters than the format")
        return await _delta(call, name, format_, query.since, None, "no-cache")
    # The version first: a list may hold a little more than its version says, never less.
    version = await call.services.publisher.version()
    renderer = call.services.renderer
    published = await (renderer.get_all(wanted, shape) if name == _ALL else renderer.get(wanted[0], shape))
    return await conditional(call, published, format_.media, version)


def _joining(query: FileQuery | None) -> tuple[bool, int | None]:
    """Whether networks are to be joined, and which may be taken whole."""
    if query is None:
        return False, None
    if query.min_fill is not None and not query.aggregate:
        raise invalid("minFill", "goes with aggregate=true")
    return query.aggregate, query.min_fill


def _list(call: Call, kind: IndicatorType) -> FeedList:
    query: Selection = call.query
    if query.min_reputation is not None and query.max_reputation is not None:
        reason = "means the same as maxReputation; give one of them"
        raise InvalidInput(f"minReputation {reason}", [Problem("minReputation", reason)])
    given = query.max_reputation if query.min_reputation is None else query.min_reputation
    hosts_only = query.hosts and kind is not IndicatorType.URL  # whose slashes are none of a network
    highest = BLOCK_REPUTATION if given is None else given
    return FeedList(kind, highest, query.category, hosts_only, _least(query, call.services.clock()))


def _least(query: Selection, now: int) -> Least:
    """What entries must have. Ages are told by the hour: a list that was asked for is good for the rest of it."""
    days = query.max_age_days
    seen_since = None if days is None else now - now % HOUR_MS - days * DAY_MS
    found = Least(query.min_confidence, query.country, seen_since)
    return found if any(part is not None for part in found) else EVERYTHING


async def _delta(call: Call, name: str, format_: Format, since: str, to: str | None, cache: str) -> Answer:
    found = await call.services.deltas.get(_KINDS[name], format_, since, to, is_all=name == _ALL)
    place = f"/api/feeds/{name}.{format_.extension}/deltas/{found.since}..{found.to}"
    headers = {"X-Feed-Version": found.to, "Cache-Control": cache, "Content-Location": place}
    return await kept_body(call, found.published, format_.media, headers)


_NOTE: Final = (
    "One value a line, worst reputation first, after three comment lines; or another `format`, by its name, by an "
    "extension or by `Accept`. Revalidate with If-None-Match or If-Modified-Since: 304 while the content is the same. "
    "With `since` (the `X-Feed-Version` of the list you have) only what changed, as the format says it; "
    "`Content-Location` names the address at which that delta never changes. `X-Feed-Truncated`: how many entries are "
    "missing because whoever reads the format takes no more; `X-Feed-Left-Out`: how many values the format cannot say, "
    "and why."
)
_MEDIA: Final = tuple(dict.fromkeys(known.media for known in FORMATS))


def _list_endpoint(path: str, summary: str, handler: Handler, query: type[msgspec.Struct], **more: Any) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        summary=summary,
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=handler,
        query=query,
        media=TEXT,
        other_media=_MEDIA,
        tag="Feeds",
        **{"description": _NOTE, "also": {304: "unchanged"}, "errors": ("gone", "busy"), **more},
    )


def _formats_of_list(name: str) -> tuple[Format, ...]:
    return _JOINT_FORMATS if name == _ALL else _formats_of(_KINDS[name][0])


def _file_names(*, only_deltas: bool = False) -> str:
    """The pattern of the names of lists with an extension, or of those that have deltas."""
    lists = []
    for name in _KINDS:
        formats = [known for known in _formats_of_list(name) if known.delta or not only_deltas]
        words = sorted({re.escape(word) for known in formats for word in (known.name, known.extension)})
        extension = rf"\.({'|'.join(words)})"
        lists.append(rf"{name}({extension})?" if only_deltas else name + extension)
    return f"^({'|'.join(lists)})$"


ENDPOINTS: Final = (
    _list_endpoint("/api/feeds/ip-blocklist", "Addresses and networks to block", ip_blocklist, IpQuery),
    _list_endpoint("/api/feeds/domain-blocklist", "Domains to block", domain_blocklist, DomainQuery),
    _list_endpoint("/api/feeds/url-blocklist", "URLs to block", url_blocklist, UrlQuery),
    _list_endpoint("/api/feeds/hash-blocklist", "File hashes to block", hash_blocklist, HashQuery),
    _list_endpoint(
        "/api/feeds/all",
        "All types in one file",
        all_types,
        AllQuery,
        errors=("gone", "busy", "not_acceptable"),
    ),
    _list_endpoint(
        "/api/feeds/{name}",
        "A list in the format that its extension names",
        blocklist_file,
        FileQuery,
        params={"name": "the list, a dot, and a format or its extension: `ip-blocklist.csv`"},
        patterns={"name": _file_names()},
        errors=("gone", "busy", "not_found"),
    ),
    _list_endpoint(
        "/api/feeds/{name}/deltas/{versions}",
        "What changed in a list between two versions",
        delta_file,
        NoQuery,
        description="What `since` gives, at an address that may be cached for good.",
        params={
            "name": "the list, and the extension of a format unless it is to be plain: `ip-blocklist.nft`",
            "versions": "the version you have, two dots, and a later one",
        },
        patterns={"name": _file_names(only_deltas=True), "versions": r"^v[0-9]{8}\.[0-9]{6}\.\.v[0-9]{8}\.[0-9]{6}$"},
        also={},
        errors=("gone", "busy", "not_found"),
    ),
)
