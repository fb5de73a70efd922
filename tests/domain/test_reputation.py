"""The promises the figures were chosen for, in every role, kind and severity; and the shape of the curve."""

from itertools import pairwise, product
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import TRUSTED_ROLES, Role, Severity, SightingKind
from threatcloud.domain.reputation import (
    BENIGN_LOG_ODDS,
    BLOCK_REPUTATION,
    CEILING,
    COUNTER_MASS,
    HALF_LIFE_DAYS,
    KIND_FACTOR,
    PRIOR_LOG_ODDS,
    ROLE_FACTOR,
    UNKNOWN_REPUTATION,
    Assessment,
    Voice,
    add_mass,
    assess,
    decay,
    report_mass,
    reputation_of,
    terms,
)
from threatcloud.domain.times import DAY_MS

NOW = 1_772_870_400_000
SOURCES = (*KIND_FACTOR, "feed:acme", "honeypot:", "something-else", "x")
AGEING = [kind for kind, days in HALF_LIFE_DAYS.items() if days is not None]
AGELESS = [kind for kind, days in HALF_LIFE_DAYS.items() if days is None]
SEVERITIES = (None, *Severity)
STRANGERS = sorted(set(Role) - TRUSTED_ROLES)

kinds = st.sampled_from(list(IndicatorType))
ageing = st.sampled_from(AGEING)
masses = st.one_of(st.just(0.0), st.floats(0.001, 60.0))
voices = st.builds(
    Voice, st.integers(1, 9), st.sampled_from(list(Role)), masses, masses, st.integers(NOW - 90 * DAY_MS, NOW)
)
many_voices = st.lists(voices, max_size=5)


def after(kind: IndicatorType, half_lives: float) -> int:
    """The time so many half-lives from now."""
    return NOW + int(half_lives * (HALF_LIFE_DAYS[kind] or 10) * DAY_MS)


def one_voice(role: Role, positive: float = 0.0, negative: float = 0.0) -> list[Voice]:
    return [Voice(1, role, positive, negative, NOW)]


@pytest.mark.parametrize("kind", IndicatorType)
def test_what_nobody_reported_reads_80(kind: IndicatorType) -> None:
    assert assess(kind, [], benign=False, at_ms=NOW) == Assessment(UNKNOWN_REPUTATION, PRIOR_LOG_ODDS, None)
    assert UNKNOWN_REPUTATION == 80


@pytest.mark.parametrize(("kind", "source"), list(product(IndicatorType, SOURCES)))
def test_one_operator_report_of_severity_high_and_confidence_a_half_blocks(kind: IndicatorType, source: str) -> None:
    for severity, confidence in product((Severity.HIGH, Severity.CRITICAL), (0.5, 0.75, 1.0)):
        mass = report_mass(Role.OPERATOR, source, severity, confidence)
        assert assess(kind, one_voice(Role.OPERATOR, mass), benign=False, at_ms=NOW).reputation <= BLOCK_REPUTATION


@pytest.mark.parametrize(("role", "kind"), list(product(STRANGERS, IndicatorType)))
def test_one_stranger_however_loud_never_blocks(role: Role, kind: IndicatorType) -> None:
    loudest = assess(kind, one_voice(role, 1e9), benign=False, at_ms=NOW)
    assert loudest.reputation > BLOCK_REPUTATION


@pytest.mark.parametrize(("role", "severity"), list(product(Role, SEVERITIES)))
def test_a_false_positive_outweighs_the_same_reporters_earlier_report(role: Role, severity: Severity | None) -> None:
    for source, kind in product(SOURCES, IndicatorType):
        mass = report_mass(role, source, severity, 1.0)
        said = one_voice(role, mass, COUNTER_MASS[SightingKind.FALSE_POSITIVE])
        assert assess(kind, said, benign=False, at_ms=NOW).log_odds < PRIOR_LOG_ODDS
        assert assess(kind, said, benign=False, at_ms=after(kind, 3)).log_odds < PRIOR_LOG_ODDS


@pytest.mark.parametrize(("role", "source", "severity"), list(product(Role, SOURCES, SEVERITIES)))
def test_a_claimed_source_never_weighs_more_than_its_role(role: Role, source: str, severity: Severity | None) -> None:
    most = report_mass(role, "honeypot", severity, 1.0)
    assert 0 < report_mass(role, source, severity, 1.0) <= most
    assert most == pytest.approx(ROLE_FACTOR[role] * report_mass(Role.OPERATOR, "manual", severity, 1.0))


@pytest.mark.parametrize(("role", "source"), list(product(Role, SOURCES)))
def test_mass_grows_with_severity_and_confidence(role: Role, source: str) -> None:
    by_severity = [report_mass(role, source, severity, 0.5) for severity in Severity]
    assert by_severity == sorted(set(by_severity))
    by_confidence = [report_mass(role, source, Severity.LOW, step / 10) for step in range(11)]
    assert by_confidence == sorted(set(by_confidence))
    assert by_confidence[0] == 0
    assert report_mass(role, source, None, 0.5) == report_mass(role, source, Severity.MEDIUM, 0.5)


@pytest.mark.parametrize(
    ("kind", "days"), [("ip", 14), ("url", 7), ("domain", 30), ("email", 30), ("hash", None), ("cve", None)]
)
def test_half_lives(kind: str, days: int | None) -> None:
    kind = IndicatorType(kind)
    assert decay(kind, NOW, NOW) == decay(kind, NOW, NOW - DAY_MS) == 1.0
    left = decay(kind, NOW, NOW + (days or 10_000) * DAY_MS)
    assert left == (1.0 if days is None else pytest.approx(0.5))


@given(kinds, st.tuples(*[st.integers(0, 400 * DAY_MS)] * 3))
def test_decay_over_two_spans_is_decay_over_both(kind: IndicatorType, times: tuple[int, int, int]) -> None:
    first, second, third = sorted(times)
    both = decay(kind, first, second) * decay(kind, second, third)
    assert both == pytest.approx(decay(kind, first, third), rel=1e-9)
    assert 0 < both <= 1


@given(
    kinds,
    st.lists(st.tuples(masses, st.integers(0, 300 * DAY_MS)), min_size=1, max_size=8).flatmap(
        lambda parts: st.tuples(st.just(parts), st.permutations(parts))
    ),
)
def test_masses_add_up_in_any_order(
    kind: IndicatorType, orders: tuple[list[tuple[float, int]], list[tuple[float, int]]]
) -> None:
    sums = []
    for parts in orders:
        mass, as_of = 0.0, parts[0][1]
        for new, new_at in parts:
            mass, as_of = add_mass(kind, mass, as_of, new, new_at)
        sums.append((mass, as_of))
    (mass, as_of), (other_mass, other_as_of) = sums
    assert as_of == other_as_of == max(at for _, at in orders[0])
    assert mass == pytest.approx(other_mass, rel=1e-9, abs=1e-12)


@given(kinds, many_voices, st.booleans(), st.integers(0, 400 * DAY_MS))
def test_reputation_follows_from_the_terms(kind: IndicatorType, said: list[Voice], benign: bool, later: int) -> None:
    found = assess(kind, said, benign, NOW + later)
    shares = terms(kind, said, benign, NOW + later)
    assert found.log_odds == pytest.approx(PRIOR_LOG_ODDS + sum(term.log_odds for term in shares))
    assert found.reputation == reputation_of(found.log_odds) == round(100 / (1 + exp(found.log_odds)))
    assert 0 <= found.reputation <= 100
    spoken = [("evidence", voice) for voice in said if voice.positive]
    assert sum(term.name == "evidence" for term in shares) == len(spoken)
    for term in shares:
        assert 0 < term.age_factor <= 1
        assert term.log_odds >= 0 if term.name == "evidence" else term.log_odds <= 0


@given(kinds, st.sampled_from(list(Role)), st.lists(st.floats(0.01, 3.0), min_size=1, max_size=200))
def test_repeats_of_one_voice_are_bounded_by_its_ceiling(kind: IndicatorType, role: Role, repeats: list[float]) -> None:
    mass = 0.0
    for new in repeats:
        mass, _ = add_mass(kind, mass, NOW, new, NOW)
    (term,) = terms(kind, one_voice(role, mass), benign=False, at_ms=NOW)
    assert 0 < term.log_odds <= CEILING[role]


@given(kinds, many_voices, voices)
def test_one_more_voice_against_an_indicator_never_raises_its_reputation(
    kind: IndicatorType, said: list[Voice], more: Voice
) -> None:
    before = assess(kind, said, benign=False, at_ms=NOW)
    against = assess(kind, [*said, more._replace(negative=0.0)], benign=False, at_ms=NOW)
    in_favour = assess(kind, [*said, more._replace(positive=0.0)], benign=False, at_ms=NOW)
    assert against.reputation <= before.reputation <= in_favour.reputation


@given(kinds, voices, masses, st.integers(NOW - 90 * DAY_MS, NOW))
def test_more_of_the_same_voice_never_raises_the_reputation(
    kind: IndicatorType, voice: Voice, mass: float, at_ms: int
) -> None:
    positive, as_of = add_mass(kind, voice.positive, voice.as_of, mass, at_ms)
    negative, _ = add_mass(kind, voice.negative, voice.as_of, 0.0, at_ms)
    more = Voice(voice.reporter, voice.role, positive, negative, as_of)
    before, now = (assess(kind, [said], benign=False, at_ms=NOW).log_odds for said in (voice, more))
    assert now >= before - 1e-9


@given(kinds, many_voices, st.lists(st.floats(0, 40), min_size=2, max_size=12))
def test_what_speaks_one_way_fades_steadily_towards_80(
    kind: IndicatorType, said: list[Voice], half_lives: list[float]
) -> None:
    times = [after(kind, span) for span in sorted(half_lives)]
    against = [voice._replace(negative=0.0) for voice in said]
    in_favour = [voice._replace(positive=0.0) for voice in said]
    falling = [assess(kind, against, benign=False, at_ms=time).reputation for time in times]
    rising = [assess(kind, in_favour, benign=False, at_ms=time).reputation for time in times]
    assert all(earlier <= later <= UNKNOWN_REPUTATION for earlier, later in pairwise(falling))
    assert all(earlier >= later >= UNKNOWN_REPUTATION for earlier, later in pairwise(rising))


@given(ageing, many_voices)
def test_in_the_end_all_is_forgotten(kind: IndicatorType, said: list[Voice]) -> None:
    assert assess(kind, said, benign=False, at_ms=after(kind, 40)).reputation == UNKNOWN_REPUTATION


@pytest.mark.parametrize("kind", AGELESS)
def test_a_file_and_a_vulnerability_do_not_age(kind: IndicatorType) -> None:
    said = one_voice(Role.OPERATOR, 1.3)
    now = assess(kind, said, benign=False, at_ms=NOW)
    assert now == assess(kind, said, benign=False, at_ms=NOW + 10_000 * DAY_MS)
    assert now.next_change_at is None


@settings(max_examples=400)
@given(ageing, st.lists(voices, min_size=1, max_size=4), st.booleans(), st.integers(0, 60 * DAY_MS), st.data())
def test_the_reputation_does_not_change_before_its_next_look(
    kind: IndicatorType, said: list[Voice], benign: bool, later: int, data: st.DataObject
) -> None:
    at_ms = NOW - 30 * DAY_MS + later
    found = assess(kind, said, benign, at_ms)
    next_look = found.next_change_at if found.next_change_at is not None else at_ms + 2_000 * DAY_MS
    assert next_look >= at_ms
    for share in (*data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=5)), 1.0):
        time = max(at_ms, at_ms + int((next_look - at_ms) * share) - 1)
        assert assess(kind, said, benign, time).reputation == found.reputation


@given(ageing, st.lists(voices, min_size=1, max_size=3))
def test_looking_when_told_follows_an_indicator_to_its_end(kind: IndicatorType, said: list[Voice]) -> None:
    """Looked at by a job that runs every hour, far less often than that."""
    time, looks = NOW, 0
    found = assess(kind, said, benign=False, at_ms=time)
    while found.next_change_at is not None and found.next_change_at < after(kind, 40):
        time, looks = max(time + DAY_MS // 24, found.next_change_at), looks + 1
        found = assess(kind, said, benign=False, at_ms=time)
    assert found.reputation == UNKNOWN_REPUTATION
    assert looks <= 40 * 32 * len(said)


@pytest.mark.parametrize("kind", AGEING)
def test_a_voice_that_stands_until_later_does_not_age_before(kind: IndicatorType) -> None:
    stands_until = NOW + 7 * DAY_MS
    said = [Voice(1, Role.FEED, 1.2, 0.0, stands_until)]
    now = assess(kind, said, benign=False, at_ms=NOW)
    assert now.log_odds == assess(kind, said, benign=False, at_ms=stands_until).log_odds
    assert now.next_change_at is not None
    assert now.next_change_at > stands_until


@pytest.mark.parametrize(("role", "kind"), list(product(Role, IndicatorType)))
def test_a_benign_list_outweighs_any_one_voice(role: Role, kind: IndicatorType) -> None:
    loud = one_voice(role, 1e9)
    without, with_list = (assess(kind, loud, benign, NOW) for benign in (False, True))
    assert with_list.log_odds == pytest.approx(without.log_odds + BENIGN_LOG_ODDS)
    assert with_list.reputation > BLOCK_REPUTATION
    assert assess(kind, [], benign=True, at_ms=NOW).reputation > UNKNOWN_REPUTATION


def test_terms_name_their_reporters_in_order() -> None:
    said = [Voice(7, Role.AGENT, 1.0, 0.5, NOW), Voice(3, Role.COMMUNITY, 0.0, 0.5, NOW), Voice(4, Role.FEED, 0, 0, 0)]
    found = terms(IndicatorType.IP, said, benign=True, at_ms=after(IndicatorType.IP, 1))
    assert [(term.name, term.reporter) for term in found] == [
        ("evidence", 7),
        ("counter-evidence", 7),
        ("counter-evidence", 3),
        ("benign-list", None),
    ]
    assert [term.age_factor for term in found] == [pytest.approx(0.5)] * 3 + [1.0]
