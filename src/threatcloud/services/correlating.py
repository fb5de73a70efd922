"""Correlation: after each change, what is new is compared with what it shares features with, and campaigns follow.

Only the neighbourhood of what changed is looked at: the indicators that share a feature with it, and the campaigns
those are in, whole. Since campaigns are the connected groups, what is not in the neighbourhood cannot be affected. A
step is one unit of work, so a crash between two leaves nothing half done.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, Protocol

from threatcloud.domain.campaign import MIN_MEMBERS, campaign_id
from threatcloud.domain.correlation import Group, Neighbourhood, groups, successors
from threatcloud.domain.features import (
    THRESHOLD,
    Feature,
    FeatureKind,
    Names,
    kind_of,
    most_members,
    relation_feature,
    said_features,
    value_features,
    weight,
)
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.publication import PublicSuffixes
from threatcloud.domain.wording import counted
from threatcloud.services.pacing import Pace, Stride
from threatcloud.services.screening import Screener
from threatcloud.storage import campaigns, correlation
from threatcloud.storage.correlation import Features, Place, Subject
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Store

#: A step holds the writer, so it takes as many as it gets through in this time: the more, the less each costs, for a
#: campaign they join is looked at once a step, and a page of an index is written once.
STEP_S: Final = 0.25
MIN_STEP: Final = 1_000
MAX_STEP: Final = 8_000
_MAX_RELATED: Final = 1_000
_HOSTS_KEPT: Final = 16_384

#: What was found out: by indicator, the text of each feature by its key.
Found = dict[int, dict[int, str]]


class _Suffixes:
    """Public suffixes that know the last names again: the guard asks for the same one as the features."""

    def __init__(self, suffixes: PublicSuffixes) -> None:
        self.is_public_suffix = suffixes.is_public_suffix
        self.registered_domain = lru_cache(maxsize=_HOSTS_KEPT)(suffixes.registered_domain)


class Stepped(NamedTuple):
    """How many indicators a step looked at, and how long that took."""

    looked_at: int
    took_s: float


class StepsApart(Protocol):
    """Takes steps in a process of its own, which runs from the first until ``end``."""

    async def step(self, most: int) -> Stepped:
        """As ``Stepper.timed_step``; raises Busy when the process ended early, with nothing done."""

    async def end(self) -> None:
        """Ends the process, if there is one."""


class Correlator:
    """Keeps campaigns up to date with what is stored.

    ``apart``: where the steps of a long backlog are taken. The interpreter of a server belongs to those who wait for
    an answer: look-ups beside the correlation of a million indicators had a p99 of 171 ms in one process.
    """

    def __init__(self, store: Store, screener: Screener, pace: Pace, apart: StepsApart | None = None) -> None:
        self._store = store
        self._stepper = Stepper(screener)
        self._pace = pace
        self._apart = apart
        self._stride = Stride(MIN_STEP, MAX_STEP, STEP_S)
        self.match = self._stepper.match

    async def run(self) -> str:
        """Takes up everything that is new; says how many indicators it looked at."""
        looked_at, is_long = 0, False
        try:
            while await self._store.read(_is_behind):
                await self._pace.stand_back()
                stepped = await self._step(is_apart=is_long)
                self._stride.took(*stepped)
                looked_at += stepped.looked_at
                is_long = stepped.looked_at >= MIN_STEP
        finally:
            if self._apart is not None:
                await self._apart.end()
        return f"{looked_at} indicators looked at" if looked_at else ""

    async def _step(self, *, is_apart: bool) -> Stepped:
        most = self._stride.length
        if is_apart and self._apart is not None:
            return await self._apart.step(most)
        return await self._store.write(lambda tx: self._stepper.timed_step(tx, most), bulk=True)


class Stepper:
    """Makes, extends, merges and splits campaigns, a step at a time."""

    def __init__(self, screener: Screener) -> None:
        suffixes = _Suffixes(screener.guard.suffixes)
        guard = replace(screener.guard, suffixes=suffixes)

        @lru_cache(maxsize=_HOSTS_KEPT)
        def is_common(host: str) -> bool:
            found = guard.screen(Indicator(IndicatorType.DOMAIN, host))
            return found.withheld is not None or found.needs_corroboration is not None

        self._names = Names(suffixes.registered_domain, is_common)

    def timed_step(self, tx: Transaction, most: int) -> Stepped:
        """A step, and how long it took."""
        started_s = time.monotonic()
        return Stepped(self.step(tx, most), time.monotonic() - started_s)

    def step(self, tx: Transaction, most: int) -> int:
        """Takes up the next few changes, as one unit of work; gives how many indicators they concern."""
        db, place = tx.db, correlation.place(tx.db)
        changed = correlation.changed(db, place, most)
        told = correlation.told(db, place.sighting, most)
        due = correlation.due(db, most)
        seen = {subject.pk: subject for subject in changed}
        seen |= correlation.subjects(db, [item.indicator for item in told if item.indicator not in seen])
        found = self._features(db, changed)
        for item in told:
            subject = seen.get(item.indicator)
            if subject is not None and not subject.benign:
                _add(found, subject.pk, said_features(subject.indicator, item.said))
        features = Features(tx)
        new = _store_new(tx, features, found)
        withdrawn = {pk for pk, subject in seen.items() if subject.benign}
        reached = correlation.members(db, sorted(new.mattering))
        moved = _regroup(tx, features, {*new.joining, *due, *withdrawn}, reached)
        campaigns.refresh(tx, sorted({*moved, *campaigns.campaigns_of(db, [*seen, *due])}))
        correlation.done(tx, due)
        correlation.keep_place(tx, _next_place(place, changed, told))
        return len(seen.keys() | set(due))

    def match(self, db: Connection, indicator: int) -> str | None:
        """The id of the campaign a stored indicator is in, or falls in by what it shares; the best of several."""
        known = campaigns.shown_of(db, [indicator])
        if known:
            return known[0]
        subject = correlation.subjects(db, [indicator])[indicator]
        if subject.benign:
            return None
        found = self._features(db, [subject])
        for item in correlation.latest(db, indicator):
            _add(found, indicator, said_features(subject.indicator, item.said))
        sums: Counter[str] = Counter()
        for key in found.get(indicator, {}):
            others = correlation.having(db, key, most_members(key) + 1)
            strength = weight(key, len(set(others) | {indicator}))
            if strength > 0:
                sums.update(dict.fromkeys(campaigns.shown_of(db, [pk for pk in others if pk != indicator]), strength))
        best = min(sums.items(), key=lambda entry: (-entry[1], entry[0]), default=("", 0.0))
        return best[0] if best[1] >= THRESHOLD else None

    def _features(self, db: Connection, subjects: Sequence[Subject]) -> Found:
        """What values and relations show, by indicator and key; of related indicators too."""
        found: Found = {}
        for subject in subjects:
            if not subject.benign:
                _add(found, subject.pk, value_features(subject.indicator, self._names))
        related = correlation.neighbours(db, [item.id for item in subjects if not item.benign], _MAX_RELATED)
        for subject in subjects:
            for other in related.get(subject.id, ()):
                if not other.benign and other.pk != subject.pk:
                    both = (relation_feature(subject.indicator), relation_feature(other.indicator))
                    _add(found, subject.pk, both)
                    _add(found, other.pk, both)
        return found


def _is_behind(db: Connection) -> bool:
    where = correlation.place(db)
    return bool(correlation.changed(db, where, 1) or correlation.told(db, where.sighting, 1) or correlation.due(db, 1))


def _next_place(place: Place, changed: Sequence[Subject], told: Sequence[correlation.Told]) -> Place:
    updated_at, pk = (changed[-1].updated_at, changed[-1].pk) if changed else place[:2]
    return Place(updated_at, pk, told[-1].pk if told else place.sighting)


def _add(found: Found, pk: int, features: Iterable[Feature]) -> None:
    mine = found.setdefault(pk, {})
    for feature in features:
        mine[feature.key] = feature.text


class _New(NamedTuple):
    """Features somebody did not have before, as (key, indicator), and those of them that matter: two or more are joined
    by them now, or were until they became too common to count. For who got no other (most of a long list) nothing
    changes."""

    rows: list[tuple[int, int]]
    mattering: set[int]

    @property
    def joining(self) -> set[int]:
        """Who got a feature that matters."""
        return {pk for key, pk in self.rows if key in self.mattering}


def _store_new(tx: Transaction, features: Features, found: Found) -> _New:
    """Stores what was not yet known, and the words of what is shared."""
    known = features.of(found)
    rows = sorted((key, pk) for pk, texts in found.items() for key in texts if key not in known[pk])
    before = features.counts({key for key, _ in rows})
    features.add(rows)
    having = features.counts(before)
    correlation.add_words(tx, {key: found[pk][key] for key, pk in rows if before[key] < 2 <= having[key]})
    return _New(rows, {key for key, count in having.items() if _matters(most_members(key), before[key], count)})


def _matters(most: int, before: int, having: int) -> bool:
    return 2 <= before <= most or 2 <= having <= most


def _partners(db: Connection, features: Features, loners: set[int]) -> set[int]:
    """Who shares a feature with those that are in no campaign: two of a pair are too few for one, and still a group.

    Those in campaigns are left out: what they share was not enough, and nothing about it has changed.
    """
    having = features.counts(set().union(*features.of(loners).values()))
    partners = correlation.members(db, [key for key, count in having.items() if 1 < count <= most_members(key)])
    return partners - correlation.in_campaigns(db, sorted(partners))


def _neighbourhood(
    db: Connection, features: Features, nodes: set[int], stored: correlation.Membership
) -> Neighbourhood:
    """The nodes with their features, but for those only one of them has: they join nothing."""
    found = features.of(nodes - correlation.benign(db, sorted(nodes)))
    often = Counter(chain.from_iterable(found.values()))
    shared = {key for key, count in often.items() if count > 1}
    relations = {key for key in shared if kind_of(key) is FeatureKind.RELATION}
    related = correlation.subjects(db, sorted(pk for pk, keys in found.items() if not relations.isdisjoint(keys)))
    own = {pk: relation_feature(subject.indicator).key for pk, subject in related.items()}
    kept = {pk: campaign for campaign in sorted(stored.kept) for pk in stored.nodes.get(campaign, ())}
    return Neighbourhood(
        {pk: keys & shared for pk, keys in found.items()},
        features.counts(shared),
        {pk: key for pk, key in own.items() if key in relations},
        {pk: campaign for pk, campaign in kept.items() if pk in found},
        stored.banned,
    )


def _regroup(tx: Transaction, features: Features, touched: set[int], reached: set[int]) -> set[int]:
    """Groups the neighbourhood anew and writes what is different; gives the campaigns with other members now."""
    if not touched:
        return set()
    db, nodes = tx.db, touched | reached
    stored = correlation.membership(db, campaigns.campaigns_of(db, sorted(nodes)))
    within = {pk for members in stored.nodes.values() for pk in members}
    nodes |= within | _partners(db, features, nodes - within)
    around = _neighbourhood(db, features, nodes, stored)
    made = [group for group in groups(around) if len(group.nodes) >= MIN_MEMBERS or group.kept is not None]
    follows = successors(made, stored.nodes)
    written = [_write(tx, group, follows.get(group.nodes), stored, around) for group in made]
    _close(tx, made, follows, stored)
    return {campaign for campaign in written if campaign is not None}


def _write(
    tx: Transaction,
    group: Group,
    campaign: int | None,
    stored: correlation.Membership,
    around: Neighbourhood,
) -> int | None:
    """Makes the campaign what the group is; gives it when that changed its members."""
    is_new = campaign is None
    if campaign is None:
        founders, category = correlation.founding(tx.db, sorted(group.nodes))
        name = _name(tx.db, group, category, around)
        campaign = campaigns.add(tx, campaigns.NewCampaign(campaign_id(founders, tx.now), name))
    before = stored.nodes.get(campaign, frozenset())
    joined = group.nodes - before - stored.banned.get(campaign, frozenset())
    if joined:
        campaigns.join(tx, campaign, sorted(joined), by_hand=False)
        if not is_new:
            campaigns.note(tx, campaign, "joined", f"{counted(len(joined), 'indicator')} joined by what they share")
    left = before - group.nodes
    if left and group.kept is None:
        campaigns.leave(tx, campaign, sorted(left))
    if is_new:
        campaigns.note(tx, campaign, "created", f"found by correlation, with {counted(len(group.nodes), 'indicator')}")
    return campaign if joined or left else None


def _close(
    tx: Transaction, made: Sequence[Group], follows: dict[frozenset[int], int], stored: correlation.Membership
) -> None:
    """Leads campaigns that went into others there, and forgets those that nothing holds together any more."""
    taken = set(follows.values())
    goes_to = {pk: follows[group.nodes] for group in made if group.nodes in follows for pk in group.nodes}
    for campaign, members in stored.nodes.items():
        if campaign in taken or campaign in stored.kept:
            continue
        campaigns.leave(tx, campaign, members)
        overlaps = Counter(goes_to[pk] for pk in members if pk in goes_to)
        if overlaps:
            into = max(overlaps, key=lambda other: (overlaps[other], other))
            campaigns.merge(tx, campaign, into)
            campaigns.note(tx, into, "merged", f"took in a campaign of {counted(len(members), 'indicator')}")
        else:
            correlation.delete_campaign(tx, campaign)


def _name(db: Connection, group: Group, category: str | None, around: Neighbourhood) -> str:
    """What most of them are, and what holds most of them together: ``phishing: login.example.net``."""
    often = Counter(key for pk in group.nodes for key in around.features[pk])
    texts = correlation.texts(db, sorted(key for key, count in often.items() if count > 1))
    family = _best(often, texts, {FeatureKind.FAMILY})
    what = family[1] if family else category or "activity"
    where = _best(often, texts, set(FeatureKind) - _UNSPEAKING)
    if where is None:
        return f"{what}: {counted(len(group.nodes), 'indicator')}"
    return f"{what}: {where[1]}" + (" and others" if where[0] < len(group.nodes) / 2 else "")


#: Features whose text names nothing to people.
_UNSPEAKING: Final = {
    FeatureKind.FAMILY,
    FeatureKind.SUBMISSION,
    FeatureKind.CREDENTIALS,
    FeatureKind.COMMANDS,
    FeatureKind.NETWORK_WEEK,
    FeatureKind.TECHNIQUES_WEEK,
}


def _best(often: Counter[int], texts: dict[int, str], kinds: set[FeatureKind]) -> tuple[int, str] | None:
    """The most shared of these kinds: (how many share it, its text). A publication only where there is no other."""
    candidates = [
        (kind_of(key) is not FeatureKind.REFERENCE, count, texts[key])
        for key, count in often.items()
        if key in texts and kind_of(key) in kinds
    ]
    return max(candidates)[1:] if candidates else None
