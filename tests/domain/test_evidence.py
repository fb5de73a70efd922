"""From facts to state: nothing depends on the order in which facts arrive, and a stranger alone decides nothing."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.evidence import (
    MIN_ANONYMOUS_REPORTERS,
    Conclusion,
    Evidence,
    Listing,
    add_report,
    conclude,
    is_corroborated,
    is_seconded,
    voices_of,
)
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.report import CATEGORIES, TRUSTED_ROLES, Report, Role, Severity, SightingKind
from threatcloud.domain.reputation import LISTING_GRACE_DAYS, UNKNOWN_REPUTATION, report_mass
from threatcloud.domain.times import DAY_MS, HOUR_MS

NOW = 1_772_870_400_000
KIND = IndicatorType.IP
INDICATOR = Indicator(KIND, "192.0.2.1")
ROLES = list(Role)
Said = tuple[int, Report]


def report(
    source: str = "manual",
    days_ago: float = 0,
    severity: Severity | None = None,
    confidence: float = 0.5,
    category: str | None = None,
    kind: SightingKind = SightingKind.POSITIVE,
) -> Report:
    observed_at = NOW - int(days_ago * DAY_MS)
    key = indicator_key(*INDICATOR)
    return Report(INDICATOR, key, False, source, observed_at, kind, category, severity, confidence)


def fold(said: Sequence[Said], kind: IndicatorType = KIND) -> list[Evidence]:
    """The evidence of reports of (reporter, report); the reporter's number says its role."""
    found: dict[tuple[int, str], Evidence] = {}
    for reporter, item in said:
        slot = (reporter, item.source)
        role = ROLES[reporter % len(ROLES)]
        known = found.get(slot) or Evidence(reporter, role, item.source, mass_at=item.observed_at)
        found[slot] = add_report(known, kind, item)
    return list(found.values())


def concluded(*said: Said) -> Conclusion:
    return conclude(KIND, fold(said), benign=False, at_ms=NOW)


def reporter_of(role: Role, number: int = 0) -> int:
    """The number of the n-th reporter of a role."""
    return ROLES.index(role) + number * len(ROLES)


OPERATOR = reporter_of(Role.OPERATOR)

# Few distinct values, so that ties are common.
reports = st.builds(
    report,
    source=st.sampled_from(["manual", "honeypot", "feed:acme", "x"]),
    days_ago=st.sampled_from([0, 0, 1, 29, 30, 31, 90, 0.25]),
    severity=st.sampled_from([None, *Severity]),
    confidence=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    category=st.sampled_from([None, *CATEGORIES[:3]]),
    kind=st.sampled_from([SightingKind.POSITIVE] * 4 + [SightingKind.NEGATIVE, SightingKind.FALSE_POSITIVE]),
)
said_by_some = st.tuples(st.integers(0, 2 * len(ROLES) - 1), reports)
two_orders = st.lists(said_by_some, min_size=1, max_size=12).flatmap(
    lambda said: st.tuples(st.just(said), st.permutations(said))
)


@given(two_orders, st.sampled_from(list(IndicatorType)), st.booleans())
def test_the_order_of_reports_does_not_matter(
    orders: tuple[list[Said], list[Said]], kind: IndicatorType, benign: bool
) -> None:
    one, other = (conclude(kind, fold(said, kind), benign, NOW) for said in orders)
    assert one.assessment.log_odds == pytest.approx(other.assessment.log_odds, abs=1e-9)
    assert one._replace(assessment=other.assessment) == other


@given(two_orders)
def test_every_report_counts_once(orders: tuple[list[Said], list[Said]]) -> None:
    said = orders[0]
    positive = [item for _, item in said if item.kind is SightingKind.POSITIVE]
    found = conclude(KIND, fold(said), benign=False, at_ms=NOW)
    assert found.sightings == len(positive)
    if positive:
        assert found.first_seen == min(item.observed_at for item in positive)
        assert found.last_seen == max(item.observed_at for item in positive)
        assert found.sources == tuple(sorted({item.source for item in positive}))
        assert found.source in found.sources


@given(two_orders, said_by_some)
def test_one_more_report_never_raises_the_reputation(orders: tuple[list[Said], list[Said]], more: Said) -> None:
    more = (more[0], more[1]._replace(kind=SightingKind.POSITIVE))
    before, after = (
        conclude(KIND, fold(said), benign=False, at_ms=NOW).assessment.log_odds
        for said in (orders[0], [*orders[0], more])
    )
    assert after >= before - 1e-9


def test_one_report() -> None:
    found = concluded((OPERATOR, report("manual", 2, Severity.HIGH, 0.7, "scanner")))
    assert found[:7] == (
        NOW - 2 * DAY_MS,
        NOW - 2 * DAY_MS,
        1,
        "manual",
        ("manual",),
        "scanner",
        Severity.HIGH,
    )
    assert (found.confidence, found.corroborated, found.seconded) == (0.7, True, True)


def test_the_heaviest_report_names_source_category_and_confidence() -> None:
    found = concluded(
        (OPERATOR, report("x", 9, Severity.CRITICAL, 1.0, "c2")),
        (OPERATOR, report("manual", 0, Severity.LOW, 0.9, "scanner")),
    )
    assert (found.source, found.category, found.confidence) == ("x", "c2", 1.0)
    assert found.sources == ("manual", "x")


def test_ties_go_to_the_newest() -> None:
    for newest, days_ago in (("x", (0, 5)), ("something", (5, 0))):
        said = zip(("x", "something"), days_ago, ("c2", "scanner"), strict=True)
        found = concluded(*((OPERATOR, report(source, days, category=word)) for source, days, word in said))
        assert found.source == newest
        assert found.category == ("c2" if newest == "x" else "scanner")


def test_a_report_without_category_leaves_the_category_of_a_lighter_one() -> None:
    found = concluded(
        (OPERATOR, report("manual", severity=Severity.LOW, category="phishing")),
        (OPERATOR, report("x", severity=Severity.CRITICAL)),
    )
    assert (found.source, found.category) == ("x", "phishing")


@pytest.mark.parametrize(
    ("days_before", "worst"), [(0, Severity.CRITICAL), (30, Severity.CRITICAL), (30.01, Severity.LOW)]
)
def test_the_worst_severity_of_30_days(days_before: float, worst: Severity) -> None:
    said = [(OPERATOR, report(days_ago=10 + days_before, severity=Severity.CRITICAL))]
    said += [(reporter_of(Role.AGENT), report(days_ago=10, severity=Severity.LOW))]
    assert concluded(*said).severity is worst


def test_no_severity_is_none() -> None:
    assert concluded((OPERATOR, report())).severity is None


def test_counter_evidence_is_no_sighting() -> None:
    said = (OPERATOR, report("manual", 3, Severity.HIGH, 0.5, "c2"))
    denied = (OPERATOR, report("doubter", 0, Severity.CRITICAL, 1.0, "scanner", SightingKind.FALSE_POSITIVE))
    alone, both = concluded(said), concluded(said, denied)
    assert both[:9] == alone[:9]
    assert both.assessment.reputation > UNKNOWN_REPUTATION > alone.assessment.reputation


def test_one_reporter_is_one_voice_through_however_many_sources() -> None:
    names = [f"source-{number}" for number in range(40)]
    many = fold([(reporter_of(Role.ANONYMOUS), report(name, 0, Severity.CRITICAL, 1.0)) for name in names])
    assert len(many) == 40
    (voice,) = voices_of(KIND, many)
    assert voice.positive == pytest.approx(40 * report_mass(Role.ANONYMOUS, "x", Severity.CRITICAL, 1.0), rel=0.05)
    assert conclude(KIND, many, benign=False, at_ms=NOW).assessment.reputation > 60


@pytest.mark.parametrize("role", sorted(TRUSTED_ROLES))
def test_a_trusted_voice_is_enough(role: Role) -> None:
    assert is_corroborated(fold([(reporter_of(role), report())]))


@pytest.mark.parametrize(("known", "strangers"), [(k, s) for k in range(4) for s in range(7) if k or s])
def test_strangers_need_one_another(known: int, strangers: int) -> None:
    said = [(reporter_of(Role.COMMUNITY, number), report("community")) for number in range(known)]
    said += [(reporter_of(Role.ANONYMOUS, number), report()) for number in range(strangers)]
    enough = known >= 2 or 2 * known + strangers >= MIN_ANONYMOUS_REPORTERS
    assert is_corroborated(fold(said)) is enough
    assert is_seconded(fold(said)) is (known + strangers >= 2)


@pytest.mark.parametrize("role", sorted(set(Role) - TRUSTED_ROLES))
def test_a_stranger_does_not_corroborate_itself(role: Role) -> None:
    said = [(reporter_of(role), report(f"source-{number}", number)) for number in range(9)]
    assert not is_corroborated(fold(said))
    assert not is_seconded(fold(said))


def test_who_says_nothing_corroborates_nothing() -> None:
    silent = [report(confidence=0.0), report(kind=SightingKind.NEGATIVE), report(kind=SightingKind.FALSE_POSITIVE)]
    for roles in combinations_with_replacement(ROLES, 2):
        said = [(reporter_of(role, number), item) for number, role in enumerate(roles) for item in silent]
        assert not is_corroborated(fold(said))


@pytest.mark.parametrize("role", Role)
def test_only_an_operator_in_person_vouches(role: Role) -> None:
    assert is_seconded(fold([(reporter_of(role), report())])) is (role is Role.OPERATOR)


def test_an_operators_import_does_not_vouch_and_is_trusted() -> None:
    listed = [Listing(1, "feed:acme", NOW, NOW).evidence()]
    assert is_corroborated(listed)
    assert not is_seconded(listed)
    assert is_seconded([*listed, *fold([(reporter_of(Role.ANONYMOUS), report())])])


def listing_reputations(listing: Listing, days: Sequence[float]) -> list[float]:
    evidence = [listing.evidence()]
    return [conclude(KIND, evidence, False, NOW + int(day * DAY_MS)).assessment.log_odds for day in days]


def test_a_listing_ages_only_after_its_grace() -> None:
    confirmed = Listing(1, "feed:acme", NOW - 300 * DAY_MS, NOW, None, "c2", Severity.HIGH, 0.8)
    during = listing_reputations(confirmed, [0, 1, LISTING_GRACE_DAYS])
    assert len(set(during)) == 1
    after = listing_reputations(confirmed, [LISTING_GRACE_DAYS, LISTING_GRACE_DAYS + 0.1, 30, 60])
    assert after == sorted(set(after), reverse=True)


def test_a_listing_that_is_gone_ages_from_that_day() -> None:
    gone = Listing(1, "feed:acme", NOW - 9 * DAY_MS, NOW - DAY_MS, NOW, None, Severity.HIGH)
    at_once = listing_reputations(gone, [0, 0.1, 1, LISTING_GRACE_DAYS])
    assert at_once == sorted(set(at_once), reverse=True)


def test_a_listing_is_one_report_and_says_what_its_source_says() -> None:
    listing = Listing(5, "feed:acme", NOW - 9 * DAY_MS, NOW - HOUR_MS, None, "c2", Severity.LOW, 0.8)
    found = conclude(KIND, [listing.evidence()], benign=False, at_ms=NOW)
    assert (found.sightings, found.first_seen, found.last_seen) == (1, NOW - 9 * DAY_MS, NOW - HOUR_MS)
    assert (found.source, found.category, found.severity, found.confidence) == ("feed:acme", "c2", Severity.LOW, 0.8)
    without = conclude(KIND, [listing._replace(category=None, severity=None).evidence()], benign=False, at_ms=NOW)
    assert (without.category, without.severity) == (None, None)


@given(st.permutations([report("a", 1), report("b", 2), report("c", 3), report("d", 0, confidence=1.0)]))
def test_the_order_of_evidence_does_not_matter_to_the_conclusion(said: list[Report]) -> None:
    """Equal in weight and time from two reporters: the stored order is by reporter, the arriving one is not."""
    evidence = fold([(number, item) for number, item in enumerate(said)])
    twice = [*evidence, *(item._replace(reporter=item.reporter + 50, confidence=0.3) for item in evidence)]
    forward, backward = (conclude(KIND, items, False, NOW) for items in (twice, twice[::-1]))
    assert forward._replace(assessment=backward.assessment) == backward
    assert forward.assessment.log_odds == pytest.approx(backward.assessment.log_odds)
