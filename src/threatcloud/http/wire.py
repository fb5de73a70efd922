"""The JSON shapes of the contract and their mapping from domain values."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from threatcloud.domain.audit import AuditEntry
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import iso
from threatcloud.enrich.attack import AttackCatalog
from threatcloud.http.answer import time_or_none
from threatcloud.services.analytics import Stats
from threatcloud.services.lookup import Detail, Explanation, Unknown
from threatcloud.services.screening import Screener
from threatcloud.storage.agents import Agent
from threatcloud.storage.facts import Sighting

TypeWord = Literal["ip", "domain", "hash", "url", "email", "cve"]
CategoryWord = Literal["malware", "botnet", "phishing", "bruteforce", "scanner", "exploit", "c2"]
SeverityWord = Literal["low", "medium", "high", "critical"]
Reputation = Annotated[int, Meta(ge=0, le=100)]
Time = Annotated[
    str,
    Meta(
        description="ISO 8601, UTC, milliseconds",
        examples=["2026-03-07T08:15:00.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]

assert CategoryWord.__args__ == CATEGORIES  # type: ignore[attr-defined]


class Shape(msgspec.Struct, rename="camel"):
    """A JSON object with camelCase names."""


class Withheld(Shape):
    """Why an indicator is in no feed: a stable word and the list or rule that caught it."""

    code: str
    list: str


class Ioc(Shape):
    """An indicator as search shows it."""

    id: str
    value: str
    type: TypeWord
    reputation: Reputation
    category: CategoryWord | None
    source: str
    severity: SeverityWord | None
    confidence: Annotated[float, Meta(ge=0, le=1)]
    sightings: int
    first_seen: Time
    last_seen: Time
    updated_at: Time
    status: Literal["active", "expired", "whitelisted"]
    tags: list[str]
    metadata: dict[str, Any]
    withheld: Withheld | None = None


class FeedIoc(Shape):
    """An indicator in ``/api/feeds/iocs``."""

    id: str
    value: str
    type: TypeWord
    reputation: Reputation
    category: CategoryWord | None
    severity: SeverityWord | None
    confidence: float
    sightings: int
    first_seen: Time
    last_seen: Time
    updated_at: Time
    tags: list[str]
    metadata: dict[str, Any]


class Related(Shape):
    """An indicator that has to do with another."""

    value: str
    type: TypeWord
    relation: str


class Around(Shape):
    """A stored network that contains an address."""

    value: str
    reputation: Reputation
    status: str


class Technique(Shape):
    """An ATT&CK technique by name; ``id`` is as reported, ``replacedBy`` the technique that took its place."""

    id: str
    name: str | None
    tactic: str | None
    replaced_by: str | None = None


class IocDetail(Shape):
    """Everything about one indicator."""

    id: str
    value: str
    type: TypeWord
    reputation: Reputation
    category: CategoryWord | None
    severity: SeverityWord | None
    confidence: float
    sightings: int
    first_seen: Time
    last_seen: Time
    updated_at: Time
    expires_at: Time | None
    status: Literal["active", "expired", "whitelisted"]
    tlp: str | None
    tags: list[str]
    sources: list[str]
    campaigns: list[str]
    related_iocs: list[Related]
    networks: list[Around]
    techniques: list[Technique]
    metadata: dict[str, Any]
    withheld: Withheld | None
    published: bool


class UnknownIoc(Shape):
    """What an indicator nobody reported reads."""

    value: str
    type: TypeWord
    reputation: Reputation
    status: Literal["unknown"]
    sightings: int
    message: str
    networks: list[Around]


class TermShape(Shape):
    """One term of a reputation: its part of the log-odds, and the points the reputation would change by without it."""

    name: str
    log_odds: float
    points: int
    reporter: str | None
    sources: list[str]
    age_factor: Annotated[float, Meta(description="share of the evidence that age has left, 0 to 1")]


class ExplanationShape(Shape):
    """A reputation taken apart; the terms sum to ``logOdds``, and reputation = 100 / (1 + exp(logOdds))."""

    value: str
    type: TypeWord
    reputation: Reputation
    log_odds: float
    terms: list[TermShape]
    status: str
    withheld: Withheld | None


class Verdict(Shape, omit_defaults=True):
    """What a look-up says of one value; ``error`` when it is no indicator."""

    value: str
    type: TypeWord | None
    reputation: int | None
    status: str
    sightings: int = 0
    category: str | None = None
    error: str | UnsetType = UNSET


class SightingShape(Shape):
    """One sighting."""

    id: str
    value: str
    source: str
    kind: str
    context: dict[str, Any]
    timestamp: Time


class Last24h(Shape):
    """The last 24 hours: the current hour and the 23 before it."""

    new_iocs: int
    new_sightings: int
    top_category: str | None


class StatsShape(Shape):
    """The whole store in numbers."""

    total_iocs: int
    active_iocs: int
    total_sightings: int
    total_sources: int
    by_type: dict[str, int]
    by_category: dict[str, int]
    last_24h: Last24h = msgspec.field(name="last24h")
    held_feeds: list[str]
    updated_at: Time


class AuditShape(Shape):
    """One entry of the audit ledger; ``details`` is null once erased."""

    id: int
    action: str
    resource: str
    details: dict[str, Any] | None
    api_key: str
    ip: str
    timestamp: Time


class AgentShape(Shape):
    """An agent and its last contact."""

    id: str
    hostname: str | None
    version: str | None
    last_seen: Time
    rule_version: str | None


def metadata_of(state: IndicatorState) -> dict[str, Any]:
    """The metadata as shown: what reports said, with our own country and AS over theirs."""
    shown: dict[str, Any] = {"ports": [], "protocols": [], "mitreIds": []}
    if state.metadata:
        shown |= state.metadata
        shown.pop("tags", None)
    if state.country:
        shown["country"] = state.country
    if state.asn:
        shown["asn"] = f"AS{state.asn}"
    return shown


def _tags(state: IndicatorState) -> list[str]:
    return list(state.metadata.get("tags", ())) if state.metadata else []


def _severity(state: IndicatorState) -> Any:
    return state.severity.word if state.severity else None


def _withheld(state: IndicatorState) -> Withheld | None:
    if state.withheld_code is not None:
        return Withheld(state.withheld_code, state.withheld_list or "")
    if state.cloud is not None and not state.shared:
        return Withheld("uncorroborated-cloud", state.cloud)
    if not state.shared and state.status == "active":
        return Withheld("uncorroborated", "a single unproven reporter")
    return None


def _public_id(state: IndicatorState) -> str:
    return f"ioc_{state.id.hex()}"


def ioc(state: IndicatorState) -> Ioc:
    """A state as search shows it."""
    return Ioc(
        _public_id(state),
        state.indicator.value,
        state.indicator.type,  # type: ignore[arg-type]
        state.reputation,
        state.category,  # type: ignore[arg-type]
        state.source,
        _severity(state),
        state.confidence,
        state.sightings,
        iso(state.first_seen),
        iso(state.last_seen),
        iso(state.updated_at),
        state.status,  # type: ignore[arg-type]
        _tags(state),
        metadata_of(state),
        _withheld(state),
    )


def feed_ioc(state: IndicatorState) -> FeedIoc:
    """A state as the indicator feed shows it."""
    return FeedIoc(
        _public_id(state),
        state.indicator.value,
        state.indicator.type,  # type: ignore[arg-type]
        state.reputation,
        state.category,  # type: ignore[arg-type]
        _severity(state),
        state.confidence,
        state.sightings,
        iso(state.first_seen),
        iso(state.last_seen),
        iso(state.updated_at),
        _tags(state),
        metadata_of(state),
    )


def ioc_detail(detail: Detail, screener: Screener) -> IocDetail:
    """Everything about an indicator."""
    state = detail.state
    metadata = metadata_of(state)
    return IocDetail(
        _public_id(state),
        state.indicator.value,
        state.indicator.type,  # type: ignore[arg-type]
        state.reputation,
        state.category,  # type: ignore[arg-type]
        _severity(state),
        state.confidence,
        state.sightings,
        iso(state.first_seen),
        iso(state.last_seen),
        iso(state.updated_at),
        time_or_none(state.expires_at),
        state.status,  # type: ignore[arg-type]
        state.tlp,
        _tags(state),
        list(state.sources),
        detail.campaigns,
        [Related(value, kind, relation) for value, kind, relation in detail.related],  # type: ignore[arg-type]
        _around(detail.networks),
        [technique(item, screener) for item in metadata["mitreIds"]],
        metadata,
        _withheld(state),
        state.listed,
    )


def technique(reported: str, screener: Screener) -> Technique:
    """A reported technique id with its name; revoked ones with what replaced them."""
    return _technique(reported, screener.attack)


@lru_cache(maxsize=4_096)  # an indicator may have several, of some hundred that are ever reported: 5 us each
def _technique(reported: str, attack: AttackCatalog) -> Technique:
    found = attack.resolve(reported)
    if found is None:
        return Technique(reported, None, None)
    replaced_by = found.id if found.id != reported else None
    return Technique(reported, found.name, attack.primary_tactic(found.id), replaced_by)


def unknown_ioc(unknown: Unknown, reputation: int) -> UnknownIoc:
    """An indicator nobody reported."""
    return UnknownIoc(
        unknown.indicator.value,
        unknown.indicator.type.value,
        reputation,
        "unknown",
        0,
        "Nobody has reported this indicator.",
        _around(unknown.networks),
    )


def _around(networks: list[IndicatorState]) -> list[Around]:
    return [Around(item.indicator.value, item.reputation, item.status.value) for item in networks]


def explanation(found: Explanation) -> ExplanationShape:
    """A reputation taken apart, the prior as its first term."""
    shapes = [TermShape("prior", found.prior, 0, None, [], 1.0)]
    for share in found.shares:
        term = share.term
        shapes.append(
            TermShape(term.name, term.log_odds, share.points, share.reporter, list(share.sources), term.age_factor)
        )
    state = found.state
    return ExplanationShape(
        state.indicator.value,
        state.indicator.type,  # type: ignore[arg-type]
        found.reputation,
        found.log_odds,
        shapes,
        state.status.value,
        _withheld(state),
    )


def sighting(item: Sighting, value: str) -> SightingShape:
    """A sighting as listed; the entry of a bulk source has an id of its own kind."""
    public = f"sig_{item.pk:016x}" if item.pk >= 0 else f"sig_list_{-item.pk:x}"
    return SightingShape(public, value, item.source, item.kind.value, dict(item.context), iso(item.observed_at))


def stats(found: Stats) -> StatsShape:
    """Statistics."""
    return StatsShape(
        total_iocs=found.total_iocs,
        active_iocs=found.active_iocs,
        total_sightings=found.total_sightings,
        total_sources=found.total_sources,
        by_type=dict(found.by_type),
        by_category=dict(found.by_category),
        last_24h=Last24h(found.new_iocs_24h, found.sightings_24h, found.top_category_24h),
        held_feeds=found.held_feeds,
        updated_at=iso(found.updated_at),
    )


def audit_entry(entry: AuditEntry) -> AuditShape:
    """A ledger entry."""
    details: Mapping[str, Any] | None = msgspec.json.decode(entry.details) if entry.details is not None else None
    return AuditShape(
        entry.seq,
        entry.action,
        entry.resource,
        dict(details) if details is not None else None,
        entry.api_key,
        entry.ip,
        iso(entry.at),
    )


def agent(found: Agent) -> AgentShape:
    """An agent."""
    return AgentShape(found.id, found.hostname, found.version, iso(found.last_seen), found.rule_version)
