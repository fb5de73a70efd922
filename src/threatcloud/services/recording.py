"""The one way facts become state: a batch of reports or listings is folded into evidence, concluded and stored.

Every step works on the whole batch (one look-up, one insert, one update, sorted by id), since that is what makes a
bulk import fast; a single report is a batch of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from threatcloud.domain.address import is_network, packed, parse_network
from threatcloud.domain.evidence import Conclusion, Evidence, Listing, add_report, conclude, voices_of
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.metadata import gathered_lists, merge_metadata
from threatcloud.domain.publication import Withheld
from threatcloud.domain.report import TRUSTED_ROLES, Report, SightingKind
from threatcloud.domain.reputation import UNKNOWN_REPUTATION, assess
from threatcloud.domain.state import ANONYMISED_CODE, BENIGN_CODES, IndicatorState, Status, is_listed, is_shared
from threatcloud.services.screening import Screened, allowed
from threatcloud.storage import facts, feeds, indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names, Reporter
from threatcloud.storage.rollups import RollupChanges

MAX_TAG_LENGTH: Final = 64
MAX_ASN_DIGITS: Final = 10
#: Of the ports and techniques of one report: a scan names hundreds, and each would be a row an hour.
MAX_TRAITS: Final = 10


class Prepared(NamedTuple):
    """A report with what the server adds to it, made off the database.

    ``related`` are ids of other indicators. ``describes`` says whether the report's metadata becomes the indicator's
    (a sighting's context stays with the sighting).
    """

    report: Report
    screened: Screened
    related: tuple[bytes, ...] = ()
    describes: bool = True


class Listed(NamedTuple):
    """One value of a bulk source, with what the server adds to it."""

    indicator: Indicator
    key: bytes
    screened: Screened
    listing: Listing
    metadata: Mapping[str, Any] | None = None


class Restated(NamedTuple):
    """What is said of an indicator beside its evidence."""

    screened: Screened
    metadata: Mapping[str, Any] | None
    expires_at: int | None
    tlp: str | None


class Recorded(NamedTuple):
    """What a batch did to one indicator: its state now and before (None: it is new), and the evidence before."""

    state: IndicatorState
    old: IndicatorState | None = None
    old_evidence: Sequence[Evidence] = ()

    @property
    def is_new(self) -> bool:
        """Whether it was unknown before."""
        return self.old is None

    @property
    def reputation_before(self) -> int:
        """Its reputation just before, at that time: worked out when asked, which most reports never are."""
        if self.old is None:
            return UNKNOWN_REPUTATION
        kind = self.old.indicator.type
        return assess(kind, voices_of(kind, self.old_evidence), self.old.benign, self.state.updated_at).reputation


class _Subject:
    """An indicator while a batch is folded into it."""

    __slots__ = (
        "evidence",
        "expires_at",
        "indicator",
        "key",
        "labelled",
        "listings",
        "metadata",
        "old",
        "pk",
        "screened",
        "tlp",
    )

    def __init__(self, key: bytes, indicator: Indicator, old: IndicatorState | None, pk: int) -> None:
        self.key = key
        self.indicator = indicator
        self.old = old
        self.pk = pk
        self.screened: Screened | None = None
        self.evidence: dict[tuple[int, str], Evidence] = {}
        self.listings: dict[str, Listing] = {}
        self.metadata: Mapping[str, Any] | None = old.metadata if old else None
        #: The metadata that its stored labels stand for.
        self.labelled = self.metadata
        self.expires_at = old.expires_at if old else None
        self.tlp = old.tlp if old else None


class Batch:
    """One batch of facts on its way into the database, inside one unit of work."""

    def __init__(self, tx: Transaction, names: Names, wanted: Iterable[tuple[bytes, Indicator]]) -> None:
        self._tx = tx
        self._names = names
        self._rollups = RollupChanges()
        unique = dict(wanted)
        known = indicators.find_many(tx.db, list(unique), names)
        free_pk = indicators.next_pk(tx.db)
        self.subjects: dict[bytes, _Subject] = {}
        for key in sorted(unique):
            old = known.get(key)
            pk = old.pk if old else free_pk
            free_pk += old is None
            self.subjects[key] = _Subject(key, unique[key], old, pk)
        self._before = facts.evidence_of(tx.db, [state.pk for state in known.values()], names) if known else {}
        self._allowlist = names.allowlist.current(tx.db)

    def report(self, reporter: Reporter, prepared: Prepared) -> None:
        """Folds one report in."""
        report = prepared.report
        subject = self.subjects[report.key]
        slot = (reporter.pk, report.source)
        evidence = subject.evidence.get(slot) or self._stored(subject, slot)
        evidence = evidence or Evidence(reporter.pk, reporter.role, report.source, mass_at=report.observed_at)
        subject.evidence[slot] = add_report(evidence, report.indicator.type, report)
        is_explicit = prepared.describes and reporter.role in TRUSTED_ROLES
        subject.screened = _lasting(subject.old, subject.screened, prepared.screened, is_explicit)
        if report.kind is SightingKind.POSITIVE:
            if report.metadata and prepared.describes:
                subject.metadata = merge_metadata(subject.metadata, report.metadata)
            is_over = subject.expires_at is not None and subject.expires_at <= self._tx.now
            subject.expires_at = report.expires_at or (None if is_over else subject.expires_at)
            subject.tlp = report.tlp or subject.tlp
            techniques, traits = traits_of(_counted_country(prepared), report.metadata)
            self._rollups.seen(report.indicator.type.code, report.observed_at, report.category, techniques, traits)

    def _stored(self, subject: _Subject, slot: tuple[int, str]) -> Evidence | None:
        for item in self._before.get(subject.pk, ()):
            if (item.reporter, item.source) == slot:
                return item
        return None

    def list(self, listed: Listed, known: Listing | None) -> None:
        """Folds one listing in; ``known`` is what the same source listed before."""
        subject = self.subjects[listed.key]
        previous = subject.listings.get(listed.listing.source) or known
        listing = listed.listing
        if previous is not None:
            listing = listing._replace(first_listed_at=previous.first_listed_at)
        if previous is None or previous.category != listing.category:
            code, first_at = listed.indicator.type.code, listing.first_listed_at
            self._rollups.seen(code, first_at, listing.category)
            if previous is not None:
                self._rollups.unseen(code, first_at, previous.category)
        if subject.expires_at is not None and subject.expires_at <= self._tx.now:
            subject.expires_at = None
        subject.listings[listing.source] = listing
        subject.screened = _lasting(subject.old, subject.screened, listed.screened, True)
        if listed.metadata:
            subject.metadata = merge_metadata(subject.metadata, listed.metadata)

    def restate(self, key: bytes, restated: Restated) -> None:
        """Has a known indicator described anew, where facts were taken back, and its labels with them."""
        it = self.subjects[key]
        it.labelled = None
        it.screened, it.metadata, it.expires_at, it.tlp = restated

    def store(self) -> dict[bytes, Recorded]:
        """Concludes every indicator of the batch and writes all that changed; the answer is by id."""
        recorded: dict[bytes, Recorded] = {}
        for key, subject in self.subjects.items():
            assert subject.screened is not None
            subject.screened = allowed(self._allowlist, subject.indicator, subject.screened)
            recorded[key] = self._conclude(subject)
        moves = [(item.old, item.state) for item in recorded.values()]
        for old, state in moves:
            self._rollups.moved(old, state)
        new = [state for old, state in moves if old is None]
        indicators.insert(self._tx, new, self._names)
        indicators.update(self._tx, [(old, state) for old, state in moves if old is not None], self._names)
        self._store_facts()
        self._store_networks(new)
        self._store_labels(state for _, state in moves)
        self._rollups.apply(self._tx)
        feeds.record_changes(self._tx, moves)
        return recorded

    def _conclude(self, subject: _Subject) -> Recorded:
        if subject.old is None:
            evidence = (*subject.evidence.values(), *(item.evidence() for item in subject.listings.values()))
            return Recorded(_state_of(subject, evidence, self._tx.now))
        known = self._before.get(subject.pk, [])
        replaced = {(item.reporter, item.source) for item in subject.evidence.values()}
        replaced |= {(item.reporter, item.source) for item in subject.listings.values()}
        evidence = (
            *(item for item in known if (item.reporter, item.source) not in replaced),
            *subject.evidence.values(),
            *(item.evidence() for item in subject.listings.values()),
        )
        return Recorded(_state_of(subject, evidence, self._tx.now), subject.old, known)

    def _store_facts(self) -> None:
        subjects = self.subjects.values()
        put = [(subject.pk, item) for subject in subjects for item in subject.evidence.values()]
        facts.put_evidence(self._tx, put, self._names)
        listings = [(subject.pk, item) for subject in subjects for item in subject.listings.values()]
        facts.put_listings(self._tx, listings, self._names)

    def _store_networks(self, new: Sequence[IndicatorState]) -> None:
        networks = {
            packed(parse_network(state.indicator.value)): state.pk
            for state in new
            if state.indicator.type is IndicatorType.IP and is_network(state.indicator.value)
        }
        if networks:
            indicators.add_networks(self._tx, networks, self._names)

    def _store_labels(self, states: Iterable[IndicatorState]) -> None:
        labels = [
            (kind, str(value), state.pk)
            for state in states
            if state.metadata
            for kind, name in (("tag", "tags"), ("technique", "mitreIds"))
            for value in _new_items(self.subjects[state.id].labelled, state.metadata, name)
        ]
        if labels:
            indicators.add_labels(self._tx, labels)


def _new_items(old: Mapping[str, Any] | None, new: Mapping[str, Any], name: str) -> Sequence[Any]:
    """What a list of the metadata holds that it did not hold before."""
    items: Sequence[Any] = new.get(name, ())
    if not items or not old or name not in old:
        return items
    known = old[name]
    return [] if known == items else [item for item in items if item not in known]


def record_reports(tx: Transaction, names: Names, said: Sequence[tuple[Reporter, Prepared]]) -> dict[bytes, Recorded]:
    """Stores reports as facts, in their order, and brings the state of their indicators up to date; answers by id."""
    names.ensure_sources(tx, (item.report.source for _, item in said))
    batch = Batch(tx, names, ((item.report.key, item.report.indicator) for _, item in said))
    for reporter, item in said:
        batch.report(reporter, item)
    recorded = batch.store()
    facts.add_sightings(tx, [_fact(batch, names, reporter, item, tx.now) for reporter, item in said])
    relations = [(item.report.key, other, "related", reporter.pk) for reporter, item in said for other in item.related]
    if relations:
        indicators.add_relations(tx, relations)
    return recorded


def record_listings(
    tx: Transaction, names: Names, source: str, listed: Sequence[Listed]
) -> tuple[dict[bytes, Recorded], int]:
    """Stores what a bulk source lists; answers by id, and how many it had listed before (now confirmed)."""
    names.ensure_sources(tx, (source,))
    batch = Batch(tx, names, ((item.key, item.indicator) for item in listed))
    stored = [subject.pk for subject in batch.subjects.values() if subject.old]
    known = facts.listings_of(tx.db, names.source_pk(source), stored, names) if stored else {}
    for item in listed:
        batch.list(item, known.get(batch.subjects[item.key].pk))
    return batch.store(), len(known)


def reassess(tx: Transaction, names: Names, keys: Sequence[bytes]) -> int:
    """Brings stored indicators to the present: the age of their evidence, and their expiry; gives how many changed.

    What leaves the lists by that is fading until the caller settles it (``services.holding``).
    """
    states = indicators.find_many(tx.db, keys, names)
    evidence = facts.evidence_of(tx.db, [state.pk for state in states.values()], names)
    moved = [(state, _as_of(state, evidence.get(state.pk, []), tx.now)) for state in states.values()]
    rollups = RollupChanges()
    for old, new in moved:
        rollups.moved(old, new)
    rollups.apply(tx)
    indicators.update(tx, moved, names)
    feeds.record_changes(tx, moved, by_time=True)
    return sum((old.reputation, old.status) != (new.reputation, new.status) for old, new in moved)


def judged(state: IndicatorState, screened: Screened, evidence: Sequence[Evidence], now: int) -> IndicatorState:
    """The state that follows from the same evidence under another finding."""
    subject = _Subject(state.id, state.indicator, state, state.pk)
    subject.screened = screened
    return _state_of(subject, tuple(evidence), now)


def _as_of(state: IndicatorState, evidence: Sequence[Evidence], now: int) -> IndicatorState:
    """The state at a later time. What age alone moves is no update that a follower of changes needs to see."""
    kind = state.indicator.type
    found = assess(kind, voices_of(kind, evidence), state.benign, now)
    status = _status(state.status is Status.WHITELISTED, state.expires_at, now)
    shared = state.shared and status is Status.ACTIVE
    return state._replace(
        reputation=found.reputation,
        next_change_at=found.next_change_at,
        status=status,
        shared=shared,
        listed=is_listed(shared, found.reputation),
        updated_at=state.updated_at if status is state.status else now,
    )


def _fact(batch: Batch, names: Names, reporter: Reporter, prepared: Prepared, now: int) -> facts.NewSighting:
    report = prepared.report
    return facts.NewSighting(
        indicator=batch.subjects[report.key].pk,
        reporter=reporter.pk,
        source=names.source_pk(report.source),
        kind=report.kind.value,
        observed_at=report.observed_at,
        received_at=now,
        category=report.category,
        severity=None if report.severity is None else int(report.severity),
        confidence=report.confidence,
        context=facts.context_text(report.metadata),
        country=_counted_country(prepared),
        expires_at=report.expires_at,
        tlp=report.tlp,
        anonymised=report.anonymised,
        describes=prepared.describes,
    )


#: Thousands of rows of one bulk source come to the same conclusion in the same commit.
_conclude_once = lru_cache(maxsize=256)(conclude)


def _state_of(subject: _Subject, evidence: tuple[Evidence, ...], now: int) -> IndicatorState:
    old, screened = subject.old, subject.screened
    assert screened is not None
    withheld = screened.withheld
    benign = withheld is not None and withheld.code in BENIGN_CODES
    said: Conclusion = _conclude_once(subject.indicator.type, evidence, benign, now)
    status = _status(withheld is not None, subject.expires_at, now)
    shared = is_shared(status, said.corroborated, said.seconded, screened.cloud)
    metadata = subject.metadata
    return IndicatorState(
        pk=subject.pk,
        id=subject.key,
        indicator=subject.indicator,
        status=status,
        reputation=said.assessment.reputation,
        category=said.category,
        severity=said.severity,
        confidence=said.confidence,
        source=said.source,
        sources=said.sources,
        sightings=said.sightings,
        first_seen=said.first_seen,
        last_seen=said.last_seen,
        created_at=old.created_at if old else now,
        updated_at=now,
        expires_at=subject.expires_at,
        next_change_at=said.assessment.next_change_at,
        withheld_code=withheld.code if withheld else None,
        withheld_list=withheld.list_name if withheld else None,
        cloud=screened.cloud,
        country=screened.country or (_reported_country(metadata) if metadata else None),
        asn=screened.asn or (_reported_asn(metadata) if metadata else None),
        tlp=subject.tlp,
        metadata=subject.metadata or None,
        shared=shared,
        listed=is_listed(shared, said.assessment.reputation),
    )


def _lasting(old: IndicatorState | None, earlier: Screened | None, found: Screened, is_explicit: bool) -> Screened:
    """The finding that holds, where some saw a network anonymised and others name it.

    Only a trusted reporter that names the network lets it out, and then no anonymised observation hides it again.
    """
    before = earlier or (Screened(_withheld(old), old.cloud, old.country, old.asn) if old else None)
    if before is None or is_explicit:
        return before if before and not _is_anonymised(before) and _is_anonymised(found) else found
    return before if _is_anonymised(before) != _is_anonymised(found) else found


def _is_anonymised(screened: Screened) -> bool:
    return screened.withheld is not None and screened.withheld.code == ANONYMISED_CODE


def _withheld(state: IndicatorState) -> Withheld | None:
    return Withheld(state.withheld_code, state.withheld_list or "", "") if state.withheld_code else None


def _status(withheld: bool, expires_at: int | None, now: int) -> Status:
    if withheld:
        return Status.WHITELISTED
    return Status.EXPIRED if expires_at is not None and expires_at <= now else Status.ACTIVE


def _counted_country(prepared: Prepared) -> str | None:
    return prepared.screened.country or _reported_country(prepared.report.metadata)


def traits_of(country: str | None, metadata: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """What one report counts for: its techniques, and what trends tell (country, last 10 ports and techniques)."""
    traits = [("country", country)] if country else []
    if not metadata:
        return [], traits
    said = gathered_lists(metadata)
    techniques = [str(item) for item in said.get("mitreIds", ())]
    traits += [("port", str(port)) for port in said.get("ports", ())[-MAX_TRAITS:]]
    traits += [("technique", technique) for technique in techniques[-MAX_TRAITS:]]
    return techniques, traits


def _reported_country(metadata: Mapping[str, Any]) -> str | None:
    country = metadata.get("country")
    return country.upper() if isinstance(country, str) and len(country) == 2 and country.isalpha() else None


def _reported_asn(metadata: Mapping[str, Any]) -> int | None:
    if "asn" not in metadata:
        return None
    text = str(metadata["asn"]).upper().removeprefix("AS")
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_ASN_DIGITS
    return int(text) if is_number and int(text) < 1 << 32 else None
