"""Reputation: a pure function of evidence, in log-odds of being malicious.

``L = PRIOR + sum of terms`` and reputation = ``100 * (1 - sigmoid(L))``: 0 is worst, 80 is what nobody reported.
There is one term per reporter, of the form ``ceiling * (1 - exp(-mass))``: the ceiling is how far one voice of its
role can go however often it repeats itself, the mass grows with severity, confidence and kind of each report and
halves with age. Additive evidence in log-odds is I. J. Good's weight of evidence (Probability and the Weighing of
Evidence, 1950). The figures are chosen so that

- one operator's report of severity high and confidence 0.5 brings an unknown indicator to 30 or less,
- one anonymous or community voice, however loud, does not,
- a false-positive sighting outweighs the same reporter's earlier report.
"""

from collections.abc import Iterable, Sequence
from math import exp, log
from typing import Final, NamedTuple

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import Role, Severity, SightingKind
from threatcloud.domain.times import DAY_MS

UNKNOWN_REPUTATION: Final = 80
BLOCK_REPUTATION: Final = 30
PRIOR_LOG_ODDS: Final = log(0.25)
BENIGN_LOG_ODDS: Final = -4.0
LISTING_GRACE_DAYS: Final = 7

#: How far one reporter of the role can move the log-odds.
CEILING: Final = {
    Role.OPERATOR: 5.0,
    Role.FEED: 5.0,
    Role.HONEYPOT: 4.0,
    Role.AGENT: 3.0,
    Role.COMMUNITY: 1.6,
    Role.ANONYMOUS: 0.8,
}
SEVERITY_MASS: Final = {Severity.LOW: 0.35, Severity.MEDIUM: 0.7, Severity.HIGH: 1.3, Severity.CRITICAL: 2.0}
#: A completed attack on a honeypot is hard evidence; hearsay is weaker.
KIND_FACTOR: Final = {"honeypot": 1.1, "manual": 1.0, "guard-agent": 0.95, "feed": 0.93, "community": 0.92}
OTHER_KIND_FACTOR: Final = 0.95
#: What a role may claim at most: a claimed source never weighs more than the key behind it.
ROLE_FACTOR: Final = {
    Role.OPERATOR: 1.1,
    Role.HONEYPOT: 1.1,
    Role.AGENT: 0.95,
    Role.FEED: 0.93,
    Role.COMMUNITY: 0.92,
    Role.ANONYMOUS: 0.92,
}
#: A false positive outweighs the heaviest report there is (critical, confidence 1, on a honeypot: 2.2).
COUNTER_MASS: Final = {SightingKind.NEGATIVE: 0.5, SightingKind.FALSE_POSITIVE: 2.5}
#: Evidence halves in this time; None does not age. Addresses and URLs change hands in days, names in weeks, a file
#: never (URLhaus hosts live 1.5 days for an address and 3.5 for a domain in the median, with many returns).
HALF_LIFE_DAYS: Final[dict[IndicatorType, float | None]] = {
    IndicatorType.IP: 14.0,
    IndicatorType.URL: 7.0,
    IndicatorType.DOMAIN: 30.0,
    IndicatorType.EMAIL: 30.0,
    IndicatorType.HASH: None,
    IndicatorType.CVE: None,
}
#: After so many half-lives nothing of any mass is left.
_MOST_HALF_LIVES: Final = 100


class Voice(NamedTuple):
    """What one reporter says of one indicator, summed up: masses for and against, as they stand at ``as_of``.

    ``as_of`` may lie ahead (a listing that its source still confirms does not age until its grace is over).
    """

    reporter: int
    role: Role
    positive: float
    negative: float
    as_of: int


class Term(NamedTuple):
    """One summand of the log-odds: ``evidence`` for, ``counter-evidence`` against, or ``benign-list``."""

    name: str
    log_odds: float
    reporter: int | None = None
    age_factor: float = 1.0


class Assessment(NamedTuple):
    """The reputation (0-100, 0 worst), the log-odds it follows from, and the time it needs a new look (or None)."""

    reputation: int
    log_odds: float
    next_change_at: int | None


def report_mass(role: Role, source: str, severity: Severity | None, confidence: float) -> float:
    """The mass of one positive report when new; severity defaults to medium."""
    kind = KIND_FACTOR.get(source.partition(":")[0], OTHER_KIND_FACTOR)
    return min(kind, ROLE_FACTOR[role]) * SEVERITY_MASS[severity or Severity.MEDIUM] * confidence


def decay(indicator_type: IndicatorType, from_ms: int, to_ms: int) -> float:
    """The share of a mass left after the time between: 1 at or before ``from_ms``, halved each half-life."""
    half_life_days = HALF_LIFE_DAYS[indicator_type]
    if half_life_days is None or to_ms <= from_ms:
        return 1.0
    return float(0.5 ** ((to_ms - from_ms) / (half_life_days * DAY_MS)))


def add_mass(indicator_type: IndicatorType, mass: float, as_of: int, new: float, new_at: int) -> tuple[float, int]:
    """The sum of two masses, each at its own time, as ``(mass, as_of)`` at the later one; the order is indifferent."""
    if new_at >= as_of:
        return mass * decay(indicator_type, as_of, new_at) + new, new_at
    return mass + new * decay(indicator_type, new_at, as_of), as_of


def terms(indicator_type: IndicatorType, voices: Iterable[Voice], benign: bool, at_ms: int) -> list[Term]:
    """Every summand but the prior, in the order of the voices; empty when nobody said anything."""
    found: list[Term] = []
    for voice in voices:
        ceiling = CEILING[voice.role]
        left = decay(indicator_type, voice.as_of, at_ms)
        if voice.positive:
            found.append(Term("evidence", ceiling * (1 - exp(-voice.positive * left)), voice.reporter, left))
        if voice.negative:
            against = -ceiling * (1 - exp(-voice.negative * left))
            found.append(Term("counter-evidence", against, voice.reporter, left))
    if benign:
        found.append(Term("benign-list", BENIGN_LOG_ODDS))
    return found


def reputation_of(log_odds: float) -> int:
    """Reputation 0-100 for log-odds of being malicious."""
    return round(100 / (1 + exp(log_odds)))


def assess(indicator_type: IndicatorType, voices: Sequence[Voice], benign: bool, at_ms: int) -> Assessment:
    """The reputation at a time, and when it can have moved by a point."""
    log_odds = PRIOR_LOG_ODDS + sum(term.log_odds for term in terms(indicator_type, voices, benign, at_ms))
    return Assessment(reputation_of(log_odds), log_odds, _next_change(indicator_type, voices, log_odds, at_ms))


def _next_change(indicator_type: IndicatorType, voices: Sequence[Voice], log_odds: float, at_ms: int) -> int | None:
    """A time before which age cannot change the reputation; None when it never will.

    Fading evidence only raises it and fading counter-evidence only lowers it, so each has the way to the next half
    point before it. The speed of a term in log-odds is at most ``ceiling * ln 2 * _steepest(mass)`` per half-life, that
    of the score ``p * (100 - p) / 100`` per unit of log-odds, taken where it is largest on the way.
    """
    half_life_days = HALF_LIFE_DAYS[indicator_type]
    if half_life_days is None or not voices:
        return None
    starts_at = max(at_ms, min(voice.as_of for voice in voices))
    rise = fall = 0.0
    for voice in voices:
        left = decay(indicator_type, voice.as_of, starts_at)
        rise += CEILING[voice.role] * _steepest(voice.positive * left)
        fall += CEILING[voice.role] * _steepest(voice.negative * left)
    exact = 100 / (1 + exp(log_odds))
    shown = round(exact)
    fastest = max(shown - 0.5, min(50.0, shown + 0.5))
    slope = log(2) * fastest * (100 - fastest) / 100
    half_lives = min(_quotient(shown + 0.5 - exact, rise * slope), _quotient(exact - shown + 0.5, fall * slope))
    if half_lives >= _MOST_HALF_LIVES:
        return None
    return starts_at + int(half_lives * half_life_days * DAY_MS)


def _steepest(mass: float) -> float:
    """The largest value of ``m * exp(-m)`` while the mass fades away."""
    return mass * exp(-mass) if mass < 1 else exp(-1)


def _quotient(way: float, speed: float) -> float:
    return way / speed if speed > way / _MOST_HALF_LIVES else _MOST_HALF_LIVES
