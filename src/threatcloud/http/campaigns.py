"""``/api/campaigns``: indicators that belong together, found by correlation or put together by hand."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.campaign import Campaign, CampaignStatus, status_at
from threatcloud.domain.errors import invalid
from threatcloud.domain.report import Severity
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import END, Cursor, Limit200, PageNumber, Since, read_since
from threatcloud.services.campaigns import Change, Full, day_of, present_id, reason_of
from threatcloud.storage.campaign_reading import Member, Wanted

StatusWord = Literal["active", "dormant", "resolved"]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Description = Annotated[str, Meta(max_length=4000)]
_Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=50)]
_Values = Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(max_length=1000)]


class CampaignsQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which campaigns, and the place."""

    status: StatusWord | None = None
    since: Since | None = None
    mitre_id: Annotated[str, Meta(pattern=rf"^[Tt][0-9]{{4}}(\.[0-9]{{3}})?{END}")] | None = None
    tag: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    page: PageNumber = 1
    limit: Annotated[int, Meta(ge=1, le=100, description="items a page")] = 20
    cursor: Cursor | None = None


class MembersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The place."""

    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


class CampaignBody(msgspec.Struct, rename="camel"):
    """A campaign to be made by hand; ``iocs`` are known indicators in any spelling."""

    name: _Text
    description: _Description = ""
    severity: wire.SeverityWord | None = None
    tags: _Tags = []
    iocs: _Values = []


class CampaignChange(msgspec.Struct, rename="camel"):
    """What to change; what is left out stays. ``merge``: ids of campaigns that go into this one."""

    name: _Text | None = None
    description: _Description | None = None
    severity: wire.SeverityWord | None = None
    tags: _Tags | None = None
    add_iocs: _Values = []
    remove_iocs: _Values = []
    merge: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=20)] = []


class CampaignShape(wire.Shape):
    """A campaign as listed; ``affectedOrgs`` counts the organisations whose keys reported members."""

    id: str
    name: str
    status: StatusWord
    severity: wire.SeverityWord | None
    first_seen: wire.Time
    last_activity: wire.Time
    ioc_count: int
    affected_orgs: int
    mitre_ids: list[str]
    tags: list[str]
    updated_at: wire.Time
    by_hand: bool


class TopShape(wire.Shape):
    """A member seen often."""

    value: str
    sightings: int
    reputation: wire.Reputation


class MembersShape(wire.Shape):
    """The members in numbers."""

    total: int
    by_type: dict[str, int]
    top_ips: list[TopShape]
    top_domains: list[TopShape]


class EventShape(wire.Shape):
    """Something on the timeline."""

    date: str
    event: str
    details: str


class GeographyShape(wire.Shape):
    """ISO 3166 codes, most frequent first: where the members are, and whom reporters say they attacked."""

    source_countries: list[str]
    target_countries: list[str]


class ReasonShape(wire.Shape):
    """Why members belong together."""

    feature: str
    value: str
    members: int
    reason: str


class CampaignDetail(wire.Shape):
    """A campaign in full; the first fields are those of the list."""

    id: str
    name: str
    status: StatusWord
    severity: wire.SeverityWord | None
    first_seen: wire.Time
    last_activity: wire.Time
    ioc_count: int
    affected_orgs: int
    mitre_ids: list[str]
    tags: list[str]
    updated_at: wire.Time
    by_hand: bool
    description: str
    iocs: MembersShape
    timeline: list[EventShape]
    geography: GeographyShape
    recommendations: list[str]
    evidence: list[ReasonShape]


class MemberShape(wire.Shape):
    """A member, since when, whether an operator put it there, and why it belongs here."""

    ioc: wire.Ioc
    joined_at: wire.Time
    by_hand: bool
    reasons: list[str]


class TechniqueShape(wire.Shape):
    """A technique and how many campaigns use it."""

    id: str
    name: str | None
    campaigns: int


class CampaignStatsShape(wire.Shape):
    """All campaigns in numbers."""

    total_campaigns: int
    active_campaigns: int
    dormant_campaigns: int
    resolved_campaigns: int
    by_severity: dict[str, int]
    top_mitre_techniques: list[TechniqueShape]
    avg_iocs_per_campaign: float
    total_affected_orgs: int


def _shape(call: Call, campaign: Campaign) -> CampaignShape:
    attack = call.services.screener.attack
    return CampaignShape(
        campaign.id,
        campaign.name,
        status_at(campaign.last_activity, call.services.clock()).value,
        campaign.severity.word if campaign.severity else None,  # type: ignore[arg-type]
        iso(campaign.first_seen),
        iso(campaign.last_activity),
        campaign.iocs,
        len(campaign.orgs),
        list(dict.fromkeys(present_id(attack, technique) for technique in campaign.mitre_ids)),
        list(campaign.tags),
        iso(campaign.updated_at),
        campaign.by_hand,
    )


def _detail(call: Call, full: Full) -> CampaignDetail:
    campaign = full.campaign
    members = MembersShape(
        campaign.iocs,
        full.by_type,
        [TopShape(*item) for item in full.top_ips],
        [TopShape(*item) for item in full.top_domains],
    )
    return CampaignDetail(
        **msgspec.structs.asdict(_shape(call, campaign)),
        description=full.description,
        iocs=members,
        timeline=[EventShape(day_of(event), event.event, event.details) for event in full.timeline],
        geography=GeographyShape(full.source_countries, full.target_countries),
        recommendations=full.recommendations,
        evidence=[ReasonShape(*reason) for reason in full.evidence],
    )


def _member(member: Member) -> MemberShape:
    reasons = [reason_of(item).reason for item in member.shares]
    if member.by_hand:
        reasons.append("an operator put it there")
    return MemberShape(wire.ioc(member.state), iso(member.joined_at), member.by_hand, reasons)


async def list_campaigns(call: Call) -> Answer:
    """One page of campaigns."""
    query: CampaignsQuery = call.query
    technique = normalise_technique_id(query.mitre_id) if query.mitre_id else None
    wanted = Wanted(None, read_since(query.since), technique, query.tag)
    status = CampaignStatus(query.status) if query.status else None
    page = await call.services.campaigns.page(status, wanted, query.page, query.limit, query.cursor)
    items = [_shape(call, item) for item in page.items]
    return collection(items, page.total, query.page, query.limit, page.next_cursor)


async def campaign_stats(call: Call) -> Answer:
    """All campaigns in numbers."""
    found = await call.services.campaigns.totals()
    total = sum(found.by_status.values())
    name = call.services.screener.attack.name
    shown = CampaignStatsShape(
        total_campaigns=total,
        active_campaigns=found.by_status[CampaignStatus.ACTIVE],
        dormant_campaigns=found.by_status[CampaignStatus.DORMANT],
        resolved_campaigns=found.by_status[CampaignStatus.RESOLVED],
        by_severity=found.by_severity,
        top_mitre_techniques=[TechniqueShape(item, name(item), count) for item, count in found.techniques],
        avg_iocs_per_campaign=round(found.indicators / total, 1) if total else 0.0,
        total_affected_orgs=found.orgs,
    )
    return ok(shown)


async def get_campaign(call: Call) -> Answer:
    """One campaign in full."""
    return ok(_detail(call, await call.services.campaigns.find(call.params["id"])))


async def list_campaign_iocs(call: Call) -> Answer:
    """One page of a campaign's members."""
    query: MembersQuery = call.query
    page = await call.services.campaigns.members(call.params["id"], query.page, query.limit, query.cursor)
    items = [_member(item) for item in page.items]
    return collection(items, page.total, query.page, query.limit, page.next_cursor)


async def create_campaign(call: Call) -> Answer:
    """Makes a campaign by hand."""
    body: CampaignBody = call.body
    change = Change(
        _line("name", body.name), body.description.strip(), _severity(body.severity), _tags(body.tags), body.iocs
    )
    return ok(_detail(call, await call.services.campaigns.create(change, call.caller)), 201)


async def edit_campaign(call: Call) -> Answer:
    """Changes a campaign."""
    body: CampaignChange = call.body
    change = Change(
        None if body.name is None else _line("name", body.name),
        None if body.description is None else body.description.strip(),
        _severity(body.severity),
        None if body.tags is None else _tags(body.tags),
        body.add_iocs,
        body.remove_iocs,
        body.merge,
    )
    return ok(_detail(call, await call.services.campaigns.edit(call.params["id"], change, call.caller)))


async def delete_campaign(call: Call) -> Answer:
    """Takes a campaign out of sight for good."""
    return ok(_shape(call, await call.services.campaigns.delete(call.params["id"], call.caller)))


def _line(field: str, text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise invalid(field, "must be one line of printable characters")
    return text


def _tags(tags: list[str]) -> list[str]:
    return [_line(f"tags[{index}]", tag) for index, tag in enumerate(tags)]


def _severity(word: str | None) -> Severity | None:
    return None if word is None else Severity.of(word)


_ID: Final = {"id": "the id of the campaign, cmp_…"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/campaigns",
        summary="Campaigns, the last active first",
        description="`active`: activity within 7 days; `dormant`: within 30; `resolved`: longer ago.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=list_campaigns,
        from_database=True,
        query=CampaignsQuery,
        answer=CampaignShape,
        collection=True,
        tag="Campaigns",
    ),
    Endpoint(
        method="POST",
        path="/api/campaigns",
        summary="Make a campaign by hand",
        description="Correlation may add what belongs to it, and never takes out or merges what an operator put "
        "together.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=create_campaign,
        body=CampaignBody,
        answer=CampaignDetail,
        status=201,
        errors=("busy",),
        tag="Campaigns",
        example={"name": "Operation Example", "severity": "high", "tags": ["apt"], "iocs": ["203.0.113.7"]},
    ),
    Endpoint(
        method="GET",
        path="/api/campaigns/stats",
        summary="All campaigns in numbers",
        access=Access.READ,
        rate=RateClass.READ,
        handler=campaign_stats,
        from_database=True,
        answer=CampaignStatsShape,
        tag="Campaigns",
    ),
    Endpoint(
        method="GET",
        path="/api/campaigns/{id}",
        summary="A campaign in full",
        description="The id of a campaign that went into another answers with the other.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=get_campaign,
        from_database=True,
        params=_ID,
        answer=CampaignDetail,
        errors=("not_found",),
        tag="Campaigns",
    ),
    Endpoint(
        method="PATCH",
        path="/api/campaigns/{id}",
        summary="Rename, describe, add, take out, merge",
        description="What was taken out does not come back by itself; campaigns named in `merge` go into this one.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=edit_campaign,
        params=_ID,
        body=CampaignChange,
        answer=CampaignDetail,
        errors=("not_found", "busy"),
        tag="Campaigns",
        example={"name": "Operation Example", "addIocs": ["203.0.113.7"]},
    ),
    Endpoint(
        method="DELETE",
        path="/api/campaigns/{id}",
        summary="Delete a campaign",
        description="For good: correlation does not make it again. Answers with the campaign as it was.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=delete_campaign,
        params=_ID,
        answer=CampaignShape,
        errors=("not_found", "busy"),
        tag="Campaigns",
    ),
    Endpoint(
        method="GET",
        path="/api/campaigns/{id}/iocs",
        summary="The members of a campaign, and why they are",
        access=Access.READ,
        rate=RateClass.READ,
        handler=list_campaign_iocs,
        from_database=True,
        params=_ID,
        query=MembersQuery,
        answer=MemberShape,
        collection=True,
        errors=("not_found",),
        tag="Campaigns",
    ),
)
