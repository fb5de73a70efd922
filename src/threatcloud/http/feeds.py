"""``/api/feeds``: blocklists as text, the indicator feed, and the agents' update package."""

from email.utils import parsedate_to_datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import InvalidInput, Problem, invalid
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.times import http_date, iso
from threatcloud.http import wire
from threatcloud.http.answer import JSON, TEXT, Answer, ok, time_or_none
from threatcloud.http.compression import IDENTITY, MIN_BYTES, choose_coding
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import END, Cursor, Since, read_since
from threatcloud.http.wire import CategoryWord, TypeWord
from threatcloud.services.agents import HEARTBEAT_INTERVAL_S, Package
from threatcloud.services.holding import ListState
from threatcloud.services.publishing import CODINGS, Published
from threatcloud.storage.rules import RuleDelta

FORMATS: Final = ("plain",)
_SECOND_MS: Final = 1000
_VARY: Final = "Accept-Encoding, Authorization"


class ListQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a blocklist selects. ``minReputation`` is, despite its name, the highest reputation included."""

    min_reputation: (
        Annotated[int, Meta(ge=0, le=100, description="the HIGHEST reputation included; default 30")] | None
    ) = None
    max_reputation: Annotated[int, Meta(ge=0, le=100, description="the same by its right name")] | None = None
    category: CategoryWord | None = None
    hosts: Annotated[bool, Meta(description="leave networks out")] = False
    format: Annotated[str, Meta(max_length=64, extra_json_schema={"enum": list(FORMATS)})] = "plain"
    since: Annotated[str, Meta(max_length=64, description="a version (X-Feed-Version): only what changed")] | None = (
        None
    )


class IocFeedQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Where the indicator feed goes on."""

    since: Since | None = None
    type: TypeWord | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000
    cursor: Cursor | None = None


class AgentUpdateQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which agent asks, and what it has."""

    current_version: Annotated[str, Meta(max_length=64)] | None = None
    agent_id: Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_-]{{1,64}}{END}")] | None = None
    hostname: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    agent_version: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    delta: bool = False


class Removed(wire.Shape):
    """An indicator that left the feed."""

    value: str
    type: TypeWord
    at: wire.Time


class IocFeed(wire.Shape):
    """A page of the indicator feed; ``nextCursor`` is null when nothing is left for now."""

    generated_at: wire.Time
    count: int
    iocs: list[wire.FeedIoc]
    removed: list[Removed]
    next_cursor: str | None


class RuleFile(wire.Shape):
    """One detection rule."""

    id: str
    name: str
    content: str


class AtrRules(wire.Shape):
    """Rules added, updated and removed since the agent's version, with the files."""

    added: int
    updated: int
    removed: int
    removed_ids: list[str]
    files: list[RuleFile]


class PackageRules(wire.Shape):
    """Rules by kind."""

    atr: AtrRules


class RemovedLists(wire.Shape):
    """What left the lists, by type."""

    ip: list[str]
    domain: list[str]
    hash: list[str]


class PackageIocs(wire.Shape, omit_defaults=True):
    """Hosts only; whole, or what was added when ``removed`` is there."""

    ip_blocklist: list[str]
    domain_blocklist: list[str]
    hash_blocklist: list[str]
    removed: RemovedLists | None = None


class PackageConfig(wire.Shape):
    """How the agent is to behave."""

    heartbeat_interval: int
    log_level: str


class AgentPackage(wire.Shape):
    """An update package; ``full`` says that it is whole."""

    version: str
    full: bool
    rules: PackageRules
    iocs: PackageIocs
    config: PackageConfig


class FeedState(wire.Shape):
    """A default list; ``wouldHave`` is how many entries a confirmation would leave, null unless it is held."""

    name: str
    state: Literal["current", "held"]
    entries: int
    held_since: wire.Time | None
    would_have: int | None


async def ip_blocklist(call: Call) -> Answer:
    """Addresses and networks."""
    return await _blocklist(call, IndicatorType.IP)


async def domain_blocklist(call: Call) -> Answer:
    """Domain names."""
    return await _blocklist(call, IndicatorType.DOMAIN)


async def _blocklist(call: Call, kind: IndicatorType) -> Answer:
    query: ListQuery = call.query
    if query.min_reputation is not None and query.max_reputation is not None:
        reason = "means the same as maxReputation; give one of them"
        raise InvalidInput(f"minReputation {reason}", [Problem("minReputation", reason)])
    if query.format not in FORMATS:
        raise invalid("format", f"must be one of {', '.join(FORMATS)}")
    given = query.max_reputation if query.min_reputation is None else query.min_reputation
    wanted = FeedList(kind, BLOCK_REPUTATION if given is None else given, query.category, query.hosts)
    if query.since is not None:
        if not wanted.is_default:
            raise invalid("since", "goes with the default list only, without other parameters")
        version, delta = await call.services.publisher.delta(kind, query.since)
        return await _kept_body(call, delta, TEXT, {"X-Feed-Version": version, "Cache-Control": "no-cache"})
    return await _conditional(call, await call.services.publisher.get(wanted))


async def _conditional(call: Call, published: Published) -> Answer:
    """The list in the best coding the client takes, or 304 when it has it already in any coding."""
    coding = choose_coding(call.header(b"accept-encoding") or "")
    headers = {
        "ETag": _etag(published, coding),
        "Last-Modified": http_date(published.modified_s * _SECOND_MS),
        "Cache-Control": "no-cache",
        "X-Feed-Version": call.services.publisher.release.version if call.services.publisher.release else "",
        "Vary": _VARY,
    }
    if _is_fresh(call, published):
        return Answer(b"", status=304, media=TEXT, headers=headers, coding="identity")
    body = await call.services.publisher.body(published, coding)
    return Answer(body, media=TEXT, headers=headers, coding=coding)


async def _kept_body(call: Call, published: Published, media: str, headers: dict[str, str]) -> Answer:
    """A body that is kept in the codings it was asked for, whole."""
    is_long = len(published.bodies[IDENTITY]) > MIN_BYTES
    coding = choose_coding(call.header(b"accept-encoding") or "") if is_long else IDENTITY
    body = await call.services.publisher.body(published, coding)
    return Answer(body, media=media, headers={**headers, "Vary": _VARY}, coding=coding)


def _etag(published: Published, coding: str) -> str:
    return f'"{published.digest}"' if coding == "identity" else f'"{published.digest}-{coding}"'


def _is_fresh(call: Call, published: Published) -> bool:
    """RFC 9110 section 13.2.2: If-None-Match counts alone when it is there."""
    none_match = call.header(b"if-none-match")
    if none_match is not None:
        tags = {tag.strip().removeprefix("W/") for tag in none_match.split(",")}
        return "*" in tags or any(_etag(published, coding) in tags for coding in CODINGS)
    since = call.header(b"if-modified-since")
    return since is not None and _http_seconds(since) >= published.modified_s


def _http_seconds(text: str) -> float:
    """The time of an HTTP date; -1 when it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return -1.0


async def ioc_feed(call: Call) -> Answer:
    """Indicators the guard lets out, oldest update first, and what left."""
    query: IocFeedQuery = call.query
    since = read_since(query.since) or 0
    place = read_cursor(query.cursor, 3) if query.cursor else (since, -1, 0 if since else -1)
    kinds = (IndicatorType(query.type),) if query.type else tuple(IndicatorType)
    page = await call.services.feeds.page(kinds, place, since, query.limit)
    shape = IocFeed(
        generated_at=iso(page.generated_at),
        count=len(page.states),
        iocs=[wire.feed_ioc(state) for state in page.states],
        removed=[Removed(gone.value, gone.type, iso(gone.at)) for gone in page.removed],  # type: ignore[arg-type]
        next_cursor=make_cursor(*page.next_place) if page.next_place else None,
    )
    return ok(shape)


def _atr_rules(delta: RuleDelta) -> AtrRules:
    updated = len(delta.known)
    files = [RuleFile(rule.id, rule.file_name, rule.content) for rule in delta.rules]
    return AtrRules(len(files) - updated, updated, len(delta.removed), delta.removed, files)


async def agent_update(call: Call) -> Answer:
    """The update package of an agent."""
    query: AgentUpdateQuery = call.query
    agents = call.services.agents
    version, package = await agents.update(query.current_version, query.delta, _package_json)
    if query.agent_id is not None and call.caller.mask:
        await agents.remember(query.agent_id, query.hostname, query.agent_version, query.current_version or version)
    return await _kept_body(call, package, JSON, {})


def _package_json(package: Package) -> bytes:
    added, removed = package.added, package.removed
    gone = RemovedLists(removed["ip"], removed["domain"], removed["hash"]) if removed is not None else None
    shape = AgentPackage(
        version=package.version,
        full=package.full,
        rules=PackageRules(_atr_rules(package.rules)),
        iocs=PackageIocs(added["ip"], added["domain"], added["hash"], gone),
        config=PackageConfig(HEARTBEAT_INTERVAL_S, "info"),
    )
    return ok(shape).body


async def list_feeds(call: Call) -> Answer:
    """The default lists, and which of them are held."""
    return ok([_feed_state(found) for found in await call.services.holding.lists()])


async def confirm_feed(call: Call) -> Answer:
    """Has a held list shrink."""
    return ok(_feed_state(await call.services.holding.confirm(call.params["name"], call.caller)))


def _feed_state(found: ListState) -> FeedState:
    state: Literal["current", "held"] = "current" if found.held_at is None else "held"
    return FeedState(found.name, state, found.entries, time_or_none(found.held_at), found.would_have)


_LIST_NOTE: Final = (
    "Revalidate with If-None-Match or If-Modified-Since: 304 while the content is the same. With `since` (the "
    "`X-Feed-Version` of the list you have) only what changed: lines that begin with `+` or `-`."
)


def _list_endpoint(path: str, summary: str, handler: object) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        summary=summary,
        description="One value a line, worst reputation first, after three comment lines. " + _LIST_NOTE,
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=handler,  # type: ignore[arg-type]
        query=ListQuery,
        media=TEXT,
        tag="Feeds",
        also={304: "unchanged"},
        errors=("gone",),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/feeds",
        summary="The default lists, and which of them are held",
        description="A list of over 1,000 entries that time alone (expiry, decay) would shrink by more than half "
        "within a day is held at what it was. `hash-blocklist` is part of the agents' package.",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=list_feeds,
        answer=list[FeedState],
        tag="Feeds",
    ),
    Endpoint(
        method="POST",
        path="/api/feeds/{name}/confirm",
        summary="Have a held list shrink",
        description="Entered in the audit log. 409 when it is not held.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=confirm_feed,
        answer=FeedState,
        params={"name": "`ip-blocklist`, `domain-blocklist` or `hash-blocklist`"},
        errors=("not_found", "conflict", "busy"),
        tag="Feeds",
    ),
    _list_endpoint("/api/feeds/ip-blocklist", "Addresses and networks to block", ip_blocklist),
    _list_endpoint("/api/feeds/domain-blocklist", "Domains to block", domain_blocklist),
    Endpoint(
        method="GET",
        path="/api/feeds/iocs",
        summary="Indicators of any reputation, oldest update first",
        description="Walk with `nextCursor` until it is null, then ask again later with the last `updatedAt` as "
        "`since`. `removed` names what left since; 410 when that can no longer be told in full: take the whole feed, "
        "without `since`, in place of what you have.",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=ioc_feed,
        query=IocFeedQuery,
        answer=IocFeed,
        errors=("gone",),
        tag="Feeds",
    ),
    Endpoint(
        method="GET",
        path="/api/feeds/agent-update",
        summary="Update package of an agent",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=agent_update,
        query=AgentUpdateQuery,
        answer=AgentPackage,
        errors=("busy",),
        tag="Feeds",
    ),
)
