"""Campaigns for people: pages, statistics, one in full, and what operators decide about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from threatcloud.domain.access import Caller
from threatcloud.domain.campaign import Campaign, CampaignStatus, activity_bounds, campaign_id, status_at
from threatcloud.domain.countries import country_code
from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import NotFound, Problem, invalid, invalid_all
from threatcloud.domain.features import words
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, detect, indicator_key
from threatcloud.domain.report import Severity
from threatcloud.domain.times import DAY_MS, MINUTE_MS, iso
from threatcloud.domain.wording import counted
from threatcloud.enrich.attack import AttackCatalog
from threatcloud.enrich.mitigations import Mitigations, load_mitigations
from threatcloud.services.answers import Answers
from threatcloud.services.lookup import Page
from threatcloud.services.screening import Screener
from threatcloud.storage import campaign_reading as reading
from threatcloud.storage import campaigns, indicators, ledger
from threatcloud.storage.campaign_reading import Wanted
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

MAX_TIMELINE: Final = 100
TOP: Final = 10
_log = structlog.get_logger("campaigns")


class Event(NamedTuple):
    """Something on a campaign's timeline."""

    at: int
    event: str
    details: str


class Reason(NamedTuple):
    """Why members belong together: the kind of feature, its text, how many share it, a sentence."""

    feature: str
    value: str
    members: int
    reason: str


class Full(NamedTuple):
    """A campaign with everything its members say."""

    campaign: Campaign
    description: str
    by_type: dict[str, int]
    top_ips: list[tuple[str, int, int]]
    top_domains: list[tuple[str, int, int]]
    timeline: list[Event]
    source_countries: list[str]
    target_countries: list[str]
    evidence: list[Reason]
    recommendations: list[str]


class Totals(NamedTuple):
    """All campaigns in numbers; techniques as (id, campaigns), most frequent first."""

    by_status: dict[CampaignStatus, int]
    by_severity: dict[str, int]
    techniques: list[tuple[str, int]]
    indicators: int
    orgs: int


class Change(msgspec.Struct, frozen=True):
    """What an operator changes; None leaves it. Values are indicators in any spelling, ``merge`` ids of campaigns."""

    name: str | None = None
    description: str | None = None
    severity: Severity | None = None
    tags: Sequence[str] | None = None
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    merge: Sequence[str] = ()


class Campaigns:
    """Reads and edits campaigns."""

    def __init__(self, store: Store, names: Names, screener: Screener, audit_secret: bytes, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._screener = screener
        self._audit_secret = audit_secret
        self._clock = clock
        self._answers = Answers(store)

    @cached_property
    def _mitigations(self) -> Mitigations:
        found = load_mitigations(self._screener.attack)
        if found.problem:
            _log.warning("degraded", problem=found.problem)
        return found

    async def page(
        self, status: CampaignStatus | None, wanted: Wanted, page: int, limit: int, cursor: str | None
    ) -> Page:
        """One page, the last active first."""
        after = read_cursor(cursor, 2) if cursor else None
        if status is not None:
            wanted = wanted._replace(activity=activity_bounds(status, self._clock()))
        offset = 0 if after else (page - 1) * limit
        place = (after[0], after[1]) if after else None
        found, total = await self._store.scan(lambda db: reading.page(db, wanted, place, offset, limit))
        more = make_cursor(found[-1].last_activity, found[-1].pk) if len(found) == limit else None
        return Page(found, total, more)

    async def totals(self) -> Totals:
        """The statistics of all campaigns."""
        minute = self._clock() // MINUTE_MS  # activity ages without a commit
        return await self._answers.of(minute, lambda db: self._totals(db, minute * MINUTE_MS))

    def _totals(self, db: Connection, now: int) -> Totals:
        found = reading.totals(db)
        statuses = Counter(status_at(activity, now) for activity, _, _ in found.campaigns)
        severities = Counter(severity for _, severity, _ in found.campaigns)
        techniques: Counter[str] = Counter()
        for technique, count in found.techniques.items():
            techniques[present_id(self._screener.attack, technique)] += count
        return Totals(
            {status: statuses[status] for status in CampaignStatus},
            {severity.word: severities[severity] for severity in Severity},
            sorted(techniques.items(), key=lambda item: (-item[1], item[0]))[:TOP],
            sum(iocs for _, _, iocs in found.campaigns),
            len(found.orgs),
        )

    async def find(self, wanted: str) -> Full:
        """One campaign in full, or the one it went into; NotFound when there is none of this id."""
        return await self._store.scan(lambda db: self._full(db, _known(db, wanted)))

    async def members(self, wanted: str, page: int, limit: int, cursor: str | None) -> Page:
        """One page of the members, in the order they were stored."""
        after = read_cursor(cursor, 1)[0] if cursor else 0

        def read(db: Connection) -> Page:
            campaign = _known(db, wanted)
            offset = 0 if cursor else (page - 1) * limit
            found = reading.members(db, campaign.pk, after, offset, limit, self._names)
            more = make_cursor(found[-1].state.pk) if len(found) == limit else None
            return Page(found, campaign.iocs, more)

        return await self._store.scan(read)

    async def create(self, change: Change, caller: Caller) -> Full:
        """Makes a campaign by hand; InvalidInput names values that are no known indicators."""

        def work(tx: Transaction) -> Full:
            keys, pks = _indicators(tx.db, change.add, "iocs", self._names)
            made = campaigns.NewCampaign(
                campaign_id([*keys, (change.name or "").encode()], tx.now),
                change.name or "",
                change.description or "",
                True,
                change.severity,
                change.tags or (),
            )
            pk = campaigns.add(tx, made)
            campaigns.note(
                tx, pk, "created", f"by {caller.mask or 'an operator'}, with {counted(len(pks), 'indicator')}"
            )
            campaigns.join(tx, pk, pks, by_hand=True)
            self._finish(tx, pk, pks, "create", {"id": made.id, "name": made.name, "iocs": len(pks)}, caller)
            return self._full(tx.db, _known(tx.db, made.id))

        return await self._store.write(work)

    async def edit(self, wanted: str, change: Change, caller: Caller) -> Full:
        """Changes a campaign: from now on it is the operator's; NotFound, InvalidInput, with nothing stored."""

        def work(tx: Transaction) -> Full:
            campaign = _known(tx.db, wanted)
            moved = self._move(tx, campaign, change)
            campaigns.describe(tx, campaign.pk, change.name, change.description, change.severity, change.tags)
            said = [name for name in ("name", "description", "severity", "tags") if getattr(change, name) is not None]
            lists = {name: len(getattr(change, name)) for name in ("add", "remove", "merge") if getattr(change, name)}
            text = "; ".join([*said, *(f"{name} {count}" for name, count in lists.items())])
            campaigns.note(tx, campaign.pk, "edited", f"by {caller.mask or 'an operator'}: {text or 'nothing'}")
            details = {"id": campaign.id, "changed": said, **lists}
            self._finish(tx, campaign.pk, moved, "update", details, caller)
            return self._full(tx.db, _known(tx.db, campaign.id))

        return await self._store.write(work)

    def _move(self, tx: Transaction, campaign: Campaign, change: Change) -> list[int]:
        """Puts in, takes out and merges; gives the indicators this touches."""
        _, added = _indicators(tx.db, change.add, "addIocs", self._names)
        _, removed = _indicators(tx.db, change.remove, "removeIocs", self._names)
        if both := set(added) & set(removed):
            raise invalid("removeIocs", f"{len(both)} of these are in addIocs too")
        touched = [*added, *removed]
        for index, other_id in enumerate(change.merge):
            other = campaigns.find(tx.db, other_id)
            if other is None or other.pk == campaign.pk:
                reason = "is this campaign itself" if other else f"there is no campaign {other_id}"
                raise invalid(f"merge[{index}]", reason)
            touched += self._merge(tx, other, campaign)
        campaigns.join(tx, campaign.pk, added, by_hand=True)
        campaigns.lift_bans(tx, campaign.pk, added)
        campaigns.leave(tx, campaign.pk, removed)
        campaigns.ban(tx, campaign.pk, removed)
        return touched

    def _merge(self, tx: Transaction, other: Campaign, into: Campaign) -> list[int]:
        pks = [pk for pk, _ in reading.member_pks(tx.db, other.pk)]
        campaigns.leave(tx, other.pk, pks)
        campaigns.join(tx, into.pk, pks, by_hand=True)
        campaigns.merge(tx, other.pk, into.pk)
        campaigns.note(tx, into.pk, "merged", f"took in {other.name}, {counted(len(pks), 'indicator')}")
        return pks

    async def delete(self, wanted: str, caller: Caller) -> Campaign:
        """Takes a campaign out of sight for good, and gives it as it was; NotFound when there is none."""

        def work(tx: Transaction) -> Campaign:
            campaign = _known(tx.db, wanted)
            campaigns.dismiss(tx, campaign.pk)
            details = {"id": campaign.id, "name": campaign.name, "iocs": campaign.iocs}
            ledger.append(
                tx, self._audit_secret, ledger.Act("delete", "campaign", caller.mask, caller.address, details)
            )
            return campaign

        return await self._store.write(work)

    def _full(self, db: Connection, campaign: Campaign) -> Full:
        by_type, evidence = reading.by_type(db, campaign.pk), _evidence(db, campaign.pk)
        return Full(
            campaign,
            campaign.description or _described(campaign, by_type, evidence),
            by_type,
            reading.top(db, campaign.pk, IndicatorType.IP, TOP),
            reading.top(db, campaign.pk, IndicatorType.DOMAIN, TOP),
            _timeline(db, campaign.pk),
            reading.source_countries(db, campaign.pk),
            _targets(reading.contexts(db, campaign.pk)),
            evidence,
            self._mitigations.recommend(present_id(self._screener.attack, item) for item in campaign.mitre_ids),
        )

    def _finish(
        self, tx: Transaction, pk: int, touched: Sequence[int], action: str, details: dict[str, Any], caller: Caller
    ) -> None:
        campaigns.refresh(tx, [pk])
        campaigns.make_due(tx, touched)
        ledger.append(tx, self._audit_secret, ledger.Act(action, "campaign", caller.mask, caller.address, details))


def present_id(attack: AttackCatalog, technique: str) -> str:
    """The id of the technique that took its place, or its own."""
    found = attack.resolve(technique)
    return found.id if found else technique


def _known(db: Connection, wanted: str) -> Campaign:
    found = campaigns.find(db, wanted)
    if found is None:
        raise NotFound("there is no campaign of this id; see GET /api/campaigns")
    return found


def _indicators(db: Connection, values: Sequence[str], field: str, names: Names) -> tuple[list[bytes], list[int]]:
    """Ids and row numbers of known indicators, each once; InvalidInput names every value that is none."""
    problems: list[Problem] = []
    keys: dict[bytes, int] = {}
    for index, value in enumerate(values):
        try:
            keys[indicator_key(*detect(value))] = index
        except InvalidIndicator as error:
            problems.append(Problem(f"{field}[{index}]", error.reason))
    known = indicators.find_many(db, list(keys), names)
    problems += [
        Problem(f"{field}[{index}]", "is not a known indicator; report it with POST /api/threats")
        for key, index in keys.items()
        if key not in known
    ]
    if problems:
        raise invalid_all(problems)
    return list(known), [state.pk for state in known.values()]


def _described(campaign: Campaign, by_type: Mapping[str, int], evidence: Sequence[Reason]) -> str:
    """What a campaign nobody has described is: how many of what, when, and what most of them share."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in by_type.items() if count)
    first, last = iso(campaign.first_seen)[:10], iso(campaign.last_activity)[:10]
    seen = f"seen on {first}" if first == last else f"seen from {first} to {last}"
    said = f"{counted(campaign.iocs, 'indicator')} ({kinds}), {seen}." if campaign.iocs else ""
    return f"{said} {evidence[0].reason}." if evidence else said


def _timeline(db: Connection, campaign: int) -> list[Event]:
    """What happened, oldest first; the newest ``MAX_TIMELINE``."""
    days: dict[int, list[str]] = {}
    counts: Counter[int] = Counter()
    for day, kind, count in reading.first_seen_days(db, campaign):
        days.setdefault(day, []).append(f"{count} {kind}")
        counts[day] += count
    found = [
        Event(day * DAY_MS, "first seen", f"{counted(counts[day], 'indicator')} first seen: {', '.join(kinds)}")
        for day, kinds in days.items()
    ]
    found += [Event(*event) for event in reading.events(db, campaign, MAX_TIMELINE)]
    return sorted(found)[-MAX_TIMELINE:]


def _targets(contexts: Sequence[tuple[bool, dict[str, Any]]]) -> list[str]:
    """The countries that were attacked, as far as reporters say, most frequent first."""
    found: Counter[str] = Counter()
    for is_mere_sighting, context in contexts:
        names = ("targetCountry", "region", "country") if is_mere_sighting else ("targetCountry", "region")
        codes = [country_code(context[name]) for name in names if isinstance(context.get(name), str)]
        found.update({code for code in codes if code})
    return [code for code, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def _evidence(db: Connection, campaign: int) -> list[Reason]:
    found = [reason_of(item) for item in reading.shared(db, campaign)]
    by_hand = reading.by_hand(db, campaign)
    if by_hand:
        found.append(Reason("operator", "", by_hand, f"{by_hand} were put together by an operator"))
    return found


def reason_of(item: reading.Shared) -> Reason:
    """A shared feature in words."""
    kind = item.kind.name.lower().replace("_", " ")
    return Reason(kind, item.text, item.members, words(item.kind, item.text, item.members))


def day_of(event: Event) -> str:
    """The day of an event, as on a calendar."""
    return iso(event.at)[:10]
