"""What the stored state ought to be, and random histories to hold it against.

The truth here is computed anew from the tables of facts (``sighting``, ``listing``), report by report and with none of
the folding that makes recording fast.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from math import exp
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from hypothesis import strategies as st

from threatcloud.domain.evidence import Listing
from threatcloud.domain.holding import HELD_TYPES
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.publication import Withheld
from threatcloud.domain.report import CATEGORIES, Report, Role, Severity, SightingKind
from threatcloud.domain.reputation import (
    BLOCK_REPUTATION,
    COUNTER_MASS,
    LISTING_GRACE_DAYS,
    PRIOR_LOG_ODDS,
    Voice,
    decay,
    report_mass,
    terms,
)
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.domain.times import DAY_MS, HOUR_MS
from threatcloud.services.kept_list import KeptList
from threatcloud.services.recording import Listed, Prepared, reassess, record_listings, record_reports
from threatcloud.services.screening import Screened
from threatcloud.storage import feeds, indicators
from threatcloud.storage.driver import Connection, Read, T, Transaction, Work
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store
from threatcloud.storage.store import Store

START = 1_772_870_400_000  # 2026-03-07T08:00:00Z
CLEAR = Screened(None, None, "DE", 64496)
SUBJECTS = (
    (Indicator(IndicatorType.IP, "91.240.1.1"), CLEAR),
    (Indicator(IndicatorType.IP, "52.95.110.1"), Screened(None, "amazon-aws", "US", None)),
    (Indicator(IndicatorType.IP, "8.8.8.8"), Screened(Withheld("benign-list", "public-dns", ""), None, "US", None)),
    (Indicator(IndicatorType.DOMAIN, "bad.xyz"), Screened(None, None, None, None)),
    (Indicator(IndicatorType.HASH, "ab" * 32), Screened(None, None, None, None)),
)
REPORTERS = (
    ("key:operator", Role.OPERATOR),
    ("key:agent", Role.AGENT),
    ("key:honeypot", Role.HONEYPOT),
    ("key:community-1", Role.COMMUNITY),
    ("key:community-2", Role.COMMUNITY),
    *((f"block:192.0.{number}.0/24", Role.ANONYMOUS) for number in range(4)),
)
SOURCES = ("manual", "honeypot", "guard-agent", "other")
#: What each bulk source says of everything it lists.
LISTS = {
    "feed:a": ("malware", Severity.HIGH, 0.5),
    "feed:b": (None, None, 0.3),
    "feed:c": ("c2", Severity.LOW, 1.0),
}
TRUSTED = {Role.OPERATOR, Role.AGENT, Role.HONEYPOT, Role.FEED}


class Said(NamedTuple):
    """One report of a history; times are milliseconds before (or, negative, after) its receipt."""

    subject: int
    source: str
    kind: SightingKind
    age_ms: int
    category: str | None
    severity: Severity | None
    confidence: float
    metadata: Mapping[str, Any]
    expires_in_ms: int | None
    describes: bool


class Reported(NamedTuple):
    """A batch of one reporter, so long after the step before."""

    after_ms: int
    reporter: int
    said: list[Said]


class Imported(NamedTuple):
    """A chunk of a bulk source: (subject, how long ago it was first listed)."""

    after_ms: int
    source: str
    rows: list[tuple[int, int]]


class Aged(NamedTuple):
    """Time passes, and everything stored is brought to the present."""

    after_ms: int


Step = Reported | Imported | Aged

_pauses = st.one_of(st.integers(0, HOUR_MS), st.integers(0, 40 * DAY_MS))
_ages = st.one_of(st.just(0), st.integers(-HOUR_MS, HOUR_MS), st.integers(0, 120 * DAY_MS))
_kinds = st.sampled_from([*[SightingKind.POSITIVE] * 3, SightingKind.NEGATIVE, SightingKind.FALSE_POSITIVE])
_metadata = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(0, 65_535),
        "mitreId": st.sampled_from(["T1110", "T1078"]),
        "mitreIds": st.lists(st.sampled_from(["T1110", "T1190"]), max_size=2),
        "country": st.sampled_from(["FR", "NZ"]),
        "attempts": st.integers(0, 9),
    },
)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """A history with a small cast, so that its members meet again and again."""
    subjects = st.sampled_from(draw(st.lists(st.integers(0, len(SUBJECTS) - 1), min_size=1, max_size=2)))
    reporters = st.sampled_from(draw(st.lists(st.integers(0, len(REPORTERS) - 1), min_size=1, max_size=4)))
    sources = st.sampled_from(draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=2)))
    said = st.builds(
        Said,
        subjects,
        sources,
        _kinds,
        _ages,
        st.none() | st.sampled_from(CATEGORIES),
        st.none() | st.sampled_from(Severity),
        st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
        _metadata,
        st.none() | st.integers(1, 3 * DAY_MS),
        st.booleans(),
    )
    report = st.builds(Reported, _pauses, reporters, st.lists(said, min_size=1, max_size=4))
    rows = st.lists(st.tuples(subjects, st.integers(0, 60 * DAY_MS)), min_size=1, max_size=3)
    listing = st.builds(Imported, _pauses, st.sampled_from(sorted(LISTS)), rows)
    others = st.one_of(listing, st.builds(Aged, _pauses)) if draw(st.booleans()) else st.builds(Aged, _pauses)
    return draw(st.lists(st.one_of(report, report, report, others), min_size=2, max_size=16))


class System:
    """A real store with a clock to turn, and what facts do not hold: expiries, and when each was last judged."""

    def __init__(self, place: Path | str) -> None:
        self.now = START
        self._runner = asyncio.Runner()
        self.store: Store = open_store(place, lambda: self.now)
        self.names = Names()
        #: Read after each step, so that all but the first times they are edited.
        self.lists = {kind: KeptList(self.store, kind) for kind in HELD_TYPES}
        self.expires: dict[int, int | None] = {}
        self.judged_at: dict[int, int] = {}
        self.is_expired: dict[int, bool] = {}
        #: Of months whose sightings are forgotten: before when, and for good how often what was seen in which hour.
        self.closed_before = 0
        self.closed = Counter[Seen]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()
        self._runner.close()

    def write(self, work: Work[T]) -> T:
        """The result of a unit of work."""
        return self._runner.run(self.store.write(work))

    def read(self, fn: Read[T]) -> T:
        """The answer of a read."""
        return self._runner.run(self.store.read(fn))

    def facts(self, pk: int) -> list["Fact"]:
        """What was said of an indicator, as far as anybody knows."""
        return self.read(lambda db: facts_of(db, pk))

    def apply(self, step: Step) -> None:
        """One step of a history."""
        self.now += step.after_ms
        if isinstance(step, Reported):
            self.write(lambda tx: self._report(tx, step))
        elif isinstance(step, Imported):
            self.write(lambda tx: self._import(tx, step))
        else:
            self.write(self._age)
        for kind in HELD_TYPES:
            self.listed(kind)

    def listed(self, kind: IndicatorType) -> list[str]:
        """The default list of a type, sorted."""
        return sorted(self._runner.run(self.lists[kind].read(self.now)).lines.decode().split())

    def _report(self, tx: Transaction, step: Reported) -> None:
        reporter = self.names.ensure_reporter(tx, *REPORTERS[step.reporter])
        record_reports(tx, self.names, [(reporter, self._prepared(said, tx.now)) for said in step.said])
        self._judge({said.subject for said in step.said}, tx.now)

    def _prepared(self, said: Said, now: int) -> Prepared:
        indicator, screened = SUBJECTS[said.subject]
        # Nobody can speak against what is not known.
        kind = said.kind if said.subject in self.expires else SightingKind.POSITIVE
        expires_at = None if said.expires_in_ms is None else now + said.expires_in_ms
        known = self.expires.setdefault(said.subject, None)
        if kind is SightingKind.POSITIVE:
            self.expires[said.subject] = expires_at or (None if known is not None and known <= now else known)
        report = Report(
            indicator,
            indicator_key(*indicator),
            anonymised=False,
            source=said.source,
            observed_at=now - said.age_ms,
            kind=kind,
            category=said.category,
            severity=said.severity,
            confidence=said.confidence,
            metadata=said.metadata,
            expires_at=expires_at,
        )
        return Prepared(report, screened, describes=said.describes)

    def _import(self, tx: Transaction, step: Imported) -> None:
        reporter = self.names.ensure_reporter(tx, step.source, Role.FEED)
        record_listings(
            tx, self.names, step.source, [_listed(*row, step.source, reporter.pk, tx.now) for row in step.rows]
        )
        for subject, _ in step.rows:
            known = self.expires.get(subject)
            self.expires[subject] = None if known is not None and known <= tx.now else known
        self._judge({subject for subject, _ in step.rows}, tx.now)

    def _age(self, tx: Transaction) -> None:
        reassess(tx, self.names, [indicator_key(*SUBJECTS[subject][0]) for subject in sorted(self.expires)])
        self._judge(self.expires, tx.now)

    def _judge(self, subjects: Iterable[int], now: int) -> None:
        for subject in subjects:
            ends_at = self.expires[subject]
            self.judged_at[subject] = now
            self.is_expired[subject] = ends_at is not None and ends_at <= now


def _listed(subject: int, age_ms: int, source: str, reporter: int, now: int) -> Listed:
    indicator, screened = SUBJECTS[subject]
    category, severity, confidence = LISTS[source]
    listing = Listing(reporter, source, now - age_ms, now, None, category, severity, confidence)
    return Listed(indicator, indicator_key(*indicator), screened, listing)


class Seen(NamedTuple):
    """A cell of a rollup of sightings: its table, the hour, and the rest of its key."""

    table: str
    hour: int
    key: tuple[Any, ...]


class Fact(NamedTuple):
    """One thing said of an indicator, straight from a table. ``stands_at``: when its mass begins to age."""

    reporter: int
    role: Role
    source: str
    is_positive: bool
    mass: float
    first_at: int
    last_at: int
    stands_at: int
    category: str | None
    severity: int | None
    confidence: float
    techniques: frozenset[str]


def facts_of(db: Connection, pk: int) -> list[Fact]:
    """Every sighting and listing of an indicator, in the order of receipt."""
    found = []
    for row in db.rows(
        "SELECT f.reporter, r.role, s.name, f.kind, f.observed_at, f.category, f.severity, f.confidence, f.context "
        "FROM sighting f JOIN reporter r ON r.pk = f.reporter JOIN source s ON s.pk = f.source "
        "WHERE f.indicator = ? ORDER BY f.pk",
        (pk,),
    ):
        reporter, role, source, kind, at, category, severity, confidence, context = row
        is_positive = kind == "positive"
        level = None if severity is None else Severity(severity)
        mass = report_mass(Role(role), source, level, confidence) if is_positive else COUNTER_MASS[SightingKind(kind)]
        said = msgspec.json.decode(context) if context else {}
        techniques = frozenset({*said.get("mitreIds", ()), *([said["mitreId"]] if "mitreId" in said else [])})
        found.append(
            Fact(
                reporter, Role(role), source, is_positive, mass, at, at, at, category, severity, confidence, techniques
            )
        )
    for row in db.rows(
        "SELECT l.reporter, s.name, l.first_listed_at, l.last_confirmed_at, l.category, l.severity, l.confidence "
        "FROM listing l JOIN source s ON s.pk = l.source WHERE l.indicator = ?",
        (pk,),
    ):
        reporter, source, first, last, category, severity, confidence = row
        mass = report_mass(Role.FEED, source, None if severity is None else Severity(severity), confidence)
        stands_at = last + LISTING_GRACE_DAYS * DAY_MS
        found.append(
            Fact(
                reporter,
                Role.FEED,
                source,
                True,
                mass,
                first,
                last,
                stands_at,
                category,
                severity,
                confidence,
                frozenset(),
            )
        )
    return found


def true_reputation(kind: IndicatorType, facts: list[Fact], benign: bool, at_ms: int) -> float:
    """The reputation before rounding: each reporter's masses, every one aged on its own."""
    voices = []
    for reporter in dict.fromkeys(fact.reporter for fact in facts):
        own = [fact for fact in facts if fact.reporter == reporter]
        as_of = max(fact.stands_at for fact in own)
        aged = [(fact.is_positive, fact.mass * decay(kind, fact.stands_at, as_of)) for fact in own]
        positive = sum(mass for is_positive, mass in aged if is_positive)
        negative = sum(mass for is_positive, mass in aged if not is_positive)
        voices.append(Voice(reporter, own[0].role, positive, negative, as_of))
    log_odds = PRIOR_LOG_ODDS + sum(term.log_odds for term in terms(kind, voices, benign, at_ms))
    return 100 / (1 + exp(log_odds))


def is_let_out(positive: list[Fact], needs_second: bool) -> bool:
    """Whether the indicator rests on more than one stranger's word, and in a rented cloud on a second voice."""
    heavy = {(fact.role, fact.reporter) for fact in positive if fact.mass}
    roles = Counter(role for role, _ in heavy)
    corroborated = bool(TRUSTED & roles.keys()) or roles[Role.COMMUNITY] >= 2
    corroborated = corroborated or roles[Role.ANONYMOUS] + 2 * roles[Role.COMMUNITY] >= 4
    vouched = any(fact.role is Role.OPERATOR for fact in positive)
    return corroborated and (not needs_second or vouched or len(heavy) >= 2)


def check_state(system: System, subject: int, state: IndicatorState, facts: list[Fact]) -> None:
    """The stored state against the facts."""
    indicator, screened = SUBJECTS[subject]
    positive = [fact for fact in facts if fact.is_positive]
    last_seen = max(fact.last_at for fact in positive)
    heaviest = max(positive, key=lambda fact: (fact.mass, fact.last_at, fact.source, fact.confidence))
    named = [fact for fact in positive if fact.category]
    recent = [fact.severity for fact in positive if fact.severity and fact.last_at >= last_seen - 30 * DAY_MS]
    benign = screened.withheld is not None
    status = Status.WHITELISTED if benign else Status.EXPIRED if system.is_expired[subject] else Status.ACTIVE
    exact = true_reputation(indicator.type, facts, benign, system.judged_at[subject])

    assert state.indicator == indicator
    assert state.sightings == len(positive)
    assert set(state.sources) == {fact.source for fact in positive}
    assert (state.first_seen, state.last_seen) == (min(fact.first_at for fact in positive), last_seen)
    assert (state.source, state.confidence) == (heaviest.source, heaviest.confidence)
    assert state.category == max(named, key=lambda f: (f.mass, f.last_at, f.category or ""), default=NOBODY).category
    assert state.severity == (Severity(max(recent)) if recent else None)
    assert state.reputation in {round(exact - 1e-9), round(exact + 1e-9)}
    assert state.status is status
    assert state.shared == (status is Status.ACTIVE and is_let_out(positive, screened.cloud is not None))
    assert state.listed == (state.shared and state.reputation <= 30)


NOBODY = Fact(0, Role.ANONYMOUS, "", True, 0.0, 0, 0, 0, None, None, 0.0, frozenset())


def nonzero(rows: Iterable[tuple[Any, ...]], keys: int) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """A rollup table as a mapping, cells that count nothing left out."""
    return {row[:keys]: row[keys:] for row in rows if any(row[keys:])}


def check_rollups(system: System, states: list[IndicatorState], facts: Mapping[int, list[Fact]]) -> None:
    """Every rollup against the states and the facts."""
    hours: Counter[tuple[int, int, str]] = Counter()
    seen: Counter[tuple[int, int, str]] = Counter()
    techniques: Counter[tuple[int, str]] = Counter()
    last_seen: Counter[tuple[int, int, str, str]] = Counter()
    totals: Counter[tuple[int, str, str]] = Counter()
    counted: Counter[tuple[int, str, str]] = Counter()
    for state in states:
        code, category = state.indicator.type.code, state.category or "uncategorized"
        hours[state.first_seen // HOUR_MS, code, category] += 1
        last_seen[state.last_seen // HOUR_MS, code, category, state.country or ""] += 1
        totals[code, category, state.status.value] += 1
        counted[code, category, state.status.value] += state.sightings
        for fact in facts[state.pk]:
            if fact.is_positive and (fact.role is Role.FEED or fact.first_at >= system.closed_before):
                seen[fact.first_at // HOUR_MS, code, fact.category or "uncategorized"] += 1
                techniques.update((fact.first_at // HOUR_MS, technique) for technique in fact.techniques)

    for (table, hour, key), count in system.closed.items():
        if table == "rollup_hour":
            seen[(hour, *key)] += count
        elif table == "rollup_technique":
            techniques[(hour, *key)] += count

    def stored(sql: str, keys: int) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return nonzero(system.read(lambda db: db.rows(sql)), keys)

    assert stored("SELECT hour, type, category, indicators, sightings FROM rollup_hour", 3) == {
        cell: (hours[cell], seen[cell]) for cell in hours.keys() | seen.keys()
    }
    assert stored("SELECT hour, technique, sightings FROM rollup_technique", 2) == {
        cell: (count,) for cell, count in techniques.items()
    }
    assert stored("SELECT hour, type, category, country, indicators FROM rollup_last_seen", 4) == {
        cell: (count,) for cell, count in last_seen.items()
    }
    assert stored("SELECT type, category, status, indicators, sightings FROM rollup_total", 3) == {
        cell: (totals[cell], counted[cell]) for cell in totals
    }


def check_log(system: System, states: list[IndicatorState]) -> None:
    """The log of the published set leads to it: comings and goings take turns, and the last one holds.

    What time took off still stands until it is settled; and what stands is what is rendered.
    """
    fading = {pk for (pk,) in system.read(lambda db: db.rows("SELECT indicator FROM fading"))}
    assert fading.isdisjoint(state.pk for state in states if state.listed or state.status is Status.WHITELISTED)
    for state in states:
        rows = system.read(
            lambda db, pk=state.pk: db.rows(  # type: ignore[misc]
                "SELECT change FROM feed_change WHERE indicator = ? AND change <> ? ORDER BY seq", (pk, feeds.UNSHARED)
            )
        )
        changes = [change for (change,) in rows]
        assert changes == [(feeds.LISTED, feeds.UNLISTED)[turn % 2] for turn in range(len(changes))]
        assert (len(changes) % 2 == 1) is (state.listed or state.pk in fading)
    for kind in HELD_TYPES:
        body = system.read(lambda db, kind=kind: feeds.render_list(db, kind, BLOCK_REPUTATION, None, False))  # type: ignore[misc]
        standing = [state for state in states if state.listed or state.pk in fading]
        wanted = sorted(state.indicator.value for state in standing if state.indicator.type is kind)
        assert sorted(body.lines.decode().split()) == wanted
        assert system.listed(kind) == wanted


def check(system: System) -> None:
    """All that is stored against what the facts say; read with names of its own, as after a restart."""
    names = Names()
    system.read(names.load)
    keys = {indicator_key(*SUBJECTS[subject][0]): subject for subject in system.expires}
    states = system.read(lambda db: indicators.find_many(db, list(keys), names))
    assert states.keys() == keys.keys()
    facts = {state.pk: system.read(lambda db, pk=state.pk: facts_of(db, pk)) for state in states.values()}  # type: ignore[misc]
    for key, state in states.items():
        check_state(system, keys[key], state, facts[state.pk])
    check_rollups(system, list(states.values()), facts)
    check_log(system, list(states.values()))
