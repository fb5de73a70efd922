"""``/api/feeds``: what is published, the indicator feed, and the agents' update package."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import JSON, Answer, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import END, Cursor, Since, read_since
from threatcloud.http.published import kept_body
from threatcloud.http.wire import TypeWord
from threatcloud.services.agents import HEARTBEAT_INTERVAL_S, Package
from threatcloud.services.holding import ListState
from threatcloud.storage.rules import RuleDelta


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
    return await kept_body(call, package, JSON, {})


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


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/feeds",
        summary="The default lists, and which of them are held",
        description="A list of over 1,000 entries that time alone (expiry, decay) would shrink by more than half "
        "within a day is held at what it was.",
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
