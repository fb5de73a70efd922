"""From facts to the state of an indicator: what each reporter said, folded, and what follows from all of it.

Two kinds of facts speak: single reports (summed per reporter and source into one ``Evidence``) and listings (the
interval in which a bulk source listed the value), which read as an ``Evidence`` too. ``conclude`` is a pure function
of that set, so the stored state can be rebuilt from facts at any time.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import TRUSTED_ROLES, Report, Role, Severity, SightingKind
from threatcloud.domain.reputation import (
    COUNTER_MASS,
    LISTING_GRACE_DAYS,
    Assessment,
    Voice,
    add_mass,
    assess,
    report_mass,
)
from threatcloud.domain.times import DAY_MS

SEVERITY_WINDOW_DAYS: Final = 30
MIN_INDEPENDENT_REPORTERS: Final = 2
MIN_ANONYMOUS_REPORTERS: Final = 4
_NEVER: Final = (0, 0, 0, 0)
_WORST_FIRST: Final = tuple(sorted(Severity, reverse=True))
_BY_WEIGHT: Final = attrgetter("weight", "weight_at", "source", "confidence")
_BY_CATEGORY: Final = attrgetter("category_weight", "category_at", "category")


class Evidence(NamedTuple):
    """All that one reporter said of one indicator through one source.

    ``mass_at`` is the time both masses stand at. ``severity_at`` holds, for each severity from low to critical, when
    it was last observed (0: never). ``vouched`` says that an operator reported it in person, not by importing a list.
    """

    reporter: int
    role: Role
    source: str
    reports: int = 0
    positive: float = 0.0
    negative: float = 0.0
    mass_at: int = 0
    first_at: int = 0
    last_at: int = 0
    weight: float = 0.0
    weight_at: int = 0
    confidence: float = 0.0
    category: str | None = None
    category_weight: float = 0.0
    category_at: int = 0
    severity_at: tuple[int, int, int, int] = _NEVER
    vouched: bool = False


class Listing(NamedTuple):
    """The fact of a bulk source: since when and until when it listed an indicator, and what it says of it.

    ``gone_at`` is None while the source still lists it; ``context`` is JSON text of what else it says.
    """

    reporter: int
    source: str
    first_listed_at: int
    last_confirmed_at: int
    gone_at: int | None = None
    category: str | None = None
    severity: Severity | None = None
    confidence: float = 0.5
    context: str | None = None

    def evidence(self) -> Evidence:
        """The listing as evidence: one report, ageing only after its grace or from the day it was gone."""
        return _evidence_of_listing(self)


@lru_cache(maxsize=1024)  # thousands of rows of one import say the same
def _evidence_of_listing(listing: Listing) -> Evidence:
    mass = report_mass(Role.FEED, listing.source, listing.severity, listing.confidence)
    stands_until = listing.gone_at or listing.last_confirmed_at + LISTING_GRACE_DAYS * DAY_MS
    return Evidence(
        reporter=listing.reporter,
        role=Role.FEED,
        source=listing.source,
        reports=1,
        positive=mass,
        mass_at=stands_until,
        first_at=listing.first_listed_at,
        last_at=listing.last_confirmed_at,
        weight=mass,
        weight_at=listing.last_confirmed_at,
        confidence=listing.confidence,
        category=listing.category,
        category_weight=mass if listing.category else 0.0,
        category_at=listing.last_confirmed_at if listing.category else 0,
        severity_at=_seen(_NEVER, listing.severity, listing.last_confirmed_at),
    )


class Conclusion(NamedTuple):
    """The state of an indicator that follows from its evidence (every field recomputable)."""

    first_seen: int
    last_seen: int
    sightings: int
    source: str
    sources: tuple[str, ...]
    category: str | None
    severity: Severity | None
    confidence: float
    corroborated: bool
    seconded: bool
    assessment: Assessment


def add_report(evidence: Evidence, indicator_type: IndicatorType, report: Report) -> Evidence:
    """The evidence with one more report of the same reporter and source in it."""
    if report.kind is not SightingKind.POSITIVE:
        negative, mass_at = add_mass(
            indicator_type, evidence.negative, evidence.mass_at, COUNTER_MASS[report.kind], report.observed_at
        )
        positive, _ = add_mass(indicator_type, evidence.positive, evidence.mass_at, 0.0, report.observed_at)
        return evidence._replace(positive=positive, negative=negative, mass_at=mass_at)
    mass = report_mass(evidence.role, report.source, report.severity, report.confidence)
    positive, mass_at = add_mass(indicator_type, evidence.positive, evidence.mass_at, mass, report.observed_at)
    negative, _ = add_mass(indicator_type, evidence.negative, evidence.mass_at, 0.0, report.observed_at)
    # Ties go to the newest; of one time, to what does not depend on who came first.
    heavier = (mass, report.observed_at, report.confidence) >= (
        evidence.weight,
        evidence.weight_at,
        evidence.confidence,
    )
    names = report.category is not None and (mass, report.observed_at, report.category) >= (
        evidence.category_weight,
        evidence.category_at,
        evidence.category or "",
    )
    # All fields in their order: _replace goes through a dictionary, and every report comes through here.
    return Evidence(
        evidence.reporter,
        evidence.role,
        evidence.source,
        evidence.reports + 1,
        positive,
        negative,
        mass_at,
        min(evidence.first_at, report.observed_at) if evidence.reports else report.observed_at,
        max(evidence.last_at, report.observed_at),
        mass if heavier else evidence.weight,
        report.observed_at if heavier else evidence.weight_at,
        report.confidence if heavier else evidence.confidence,
        report.category if names else evidence.category,
        mass if names else evidence.category_weight,
        report.observed_at if names else evidence.category_at,
        _seen(evidence.severity_at, report.severity, report.observed_at),
        evidence.vouched or evidence.role is Role.OPERATOR,
    )


def conclude(indicator_type: IndicatorType, evidence: Sequence[Evidence], benign: bool, at_ms: int) -> Conclusion:
    """What all the evidence says at a time. ``evidence`` must not be empty."""
    seen = [item for item in evidence if item.reports] or list(evidence)
    heaviest = max(seen, key=_BY_WEIGHT)
    named = [item for item in seen if item.category is not None]
    last_seen = max([item.last_at for item in seen])
    return Conclusion(
        first_seen=min([item.first_at for item in seen]),
        last_seen=last_seen,
        sightings=sum([item.reports for item in seen]),
        source=heaviest.source,
        sources=tuple(sorted({item.source for item in seen})),
        category=max(named, key=_BY_CATEGORY).category if named else None,
        severity=_worst_severity(seen, last_seen),
        confidence=heaviest.confidence,
        corroborated=is_corroborated(seen),
        seconded=is_seconded(seen),
        assessment=assess(indicator_type, voices_of(indicator_type, evidence), benign, at_ms),
    )


def voices_of(indicator_type: IndicatorType, evidence: Iterable[Evidence]) -> list[Voice]:
    """One voice per reporter, its sources added up, in order of first appearance."""
    voices: dict[int, Voice] = {}
    for item in evidence:
        voice = voices.get(item.reporter)
        if voice is None:
            voices[item.reporter] = Voice(item.reporter, item.role, item.positive, item.negative, item.mass_at)
            continue
        positive, as_of = add_mass(indicator_type, voice.positive, voice.as_of, item.positive, item.mass_at)
        negative, _ = add_mass(indicator_type, voice.negative, voice.as_of, item.negative, item.mass_at)
        voices[item.reporter] = voice._replace(positive=positive, negative=negative, as_of=as_of)
    return list(voices.values())


def is_corroborated(evidence: Iterable[Evidence]) -> bool:
    """True when the indicator does not rest on a single stranger.

    A trusted reporter suffices, or two different community keys, or four anonymous address blocks.
    """
    by_role: dict[Role, set[int]] = {}
    for item in evidence:
        if item.positive:
            if item.role in TRUSTED_ROLES:
                return True
            by_role.setdefault(item.role, set()).add(item.reporter)
    strangers = len(by_role.get(Role.ANONYMOUS, ()))
    known = len(by_role.get(Role.COMMUNITY, ()))
    return known >= MIN_INDEPENDENT_REPORTERS or (strangers + 2 * known) >= MIN_ANONYMOUS_REPORTERS


def is_seconded(evidence: Sequence[Evidence]) -> bool:
    """True when an operator vouches for it or two different reporters saw it: what a rented cloud host needs."""
    if any(item.vouched for item in evidence):
        return True
    return len({item.reporter for item in evidence if item.positive}) >= MIN_INDEPENDENT_REPORTERS


def _worst_severity(evidence: Iterable[Evidence], last_seen: int) -> Severity | None:
    """The worst severity observed within the window that ends with the newest report."""
    since = last_seen - SEVERITY_WINDOW_DAYS * DAY_MS
    times = list(map(max, zip(_NEVER, *[item.severity_at for item in evidence], strict=True)))
    for severity in _WORST_FIRST:
        if times[severity - 1] and times[severity - 1] >= since:
            return severity
    return None


def _seen(times: tuple[int, int, int, int], severity: Severity | None, at_ms: int) -> tuple[int, int, int, int]:
    if severity is None or times[severity - 1] >= at_ms:
        return times
    low, medium, high, critical = (at_ms if rank == severity else time for rank, time in enumerate(times, 1))
    return low, medium, high, critical
