"""Upkeep: reputations follow the age of their evidence, what has expired leaves, what served its day is dropped."""

import pytest

from tests.clock import NOW
from tests.services.conftest import System
from threatcloud.domain.evidence import voices_of
from threatcloud.domain.reputation import UNKNOWN_REPUTATION, assess
from threatcloud.domain.state import Status
from threatcloud.domain.times import DAY_MS, HOUR_MS, iso
from threatcloud.services.access import LOCAL_OPERATOR
from threatcloud.services.reporting import Retry
from threatcloud.storage import facts, feeds

IP, DOMAIN, HASH = "91.240.118.7", "bad-login.xyz", "ab" * 32


def true_reputation(system: System, value: str) -> int:
    """What the evidence says at the time it is."""
    state = system.find(value)
    evidence = system.run(system.store.read(lambda db: facts.evidence_of(db, [state.pk], system.names)))
    voices = voices_of(state.indicator.type, evidence[state.pk])
    return assess(state.indicator.type, voices, state.benign, system.clock.now).reputation


def test_decay_moves_reputations_with_age(system: System) -> None:
    system.report(IP, DOMAIN, HASH)
    fresh = {value: system.find(value).reputation for value in (IP, DOMAIN, HASH)}
    assert all(reputation <= 30 for reputation in fresh.values())
    assert system.run(system.maintenance.decay()) == ""
    system.clock.now += 14 * DAY_MS
    assert system.run(system.maintenance.decay()) == "2 reputations moved"
    aged = {value: system.find(value).reputation for value in (IP, DOMAIN, HASH)}
    assert aged[IP] > aged[DOMAIN] > fresh[DOMAIN]
    assert aged[HASH] == fresh[HASH]
    assert system.run(system.maintenance.decay()) == ""


def test_an_hourly_decay_is_never_behind(system: System) -> None:
    system.report(IP, severity="critical", confidence=1.0)
    system.report(DOMAIN, confidence=0.3)
    for hours in (1, 1, 5, 20, 30, 60, 200, 400, 1000, 3000):
        system.clock.now += hours * HOUR_MS
        system.run(system.maintenance.decay())
        for value in (IP, DOMAIN):
            assert system.find(value).reputation == true_reputation(system, value), hours
    assert system.find(IP).reputation == UNKNOWN_REPUTATION


def test_who_has_faded_leaves_the_list_and_a_new_report_brings_it_back(system: System) -> None:
    system.report(IP)
    pk = system.find(IP).pk
    system.clock.now += 60 * DAY_MS
    system.run(system.maintenance.decay())
    state = system.find(IP)
    assert (state.listed, state.shared) == (False, True)
    log = [row[0] for row in system.rows("SELECT change FROM feed_change WHERE indicator = ? ORDER BY seq", pk)]
    assert log == [feeds.LISTED, feeds.UNLISTED]
    system.report(IP)
    assert system.find(IP).listed


def test_decay_reaches_every_slice(system: System) -> None:
    for start in range(0, 600, 100):
        system.report(*(f"91.240.{number // 200}.{number % 200 + 1}" for number in range(start, start + 100)))
    system.clock.now += 20 * DAY_MS
    assert system.run(system.maintenance.decay()) == "600 reputations moved"
    assert system.rows("SELECT count(DISTINCT reputation), count(*) FROM indicator") == [(1, 600)]


def test_what_its_reporter_gave_an_end_expires_then(system: System) -> None:
    system.report(IP, expires_at=iso(NOW + 10_000))
    system.report(DOMAIN)
    assert system.run(system.maintenance.expire()) == ""
    system.clock.now += 10_000
    assert system.run(system.maintenance.expire()) == "1 indicators expired"
    gone, kept = system.find(IP), system.find(DOMAIN)
    assert (gone.status, gone.shared, gone.listed) == (Status.EXPIRED, False, False)
    assert gone.updated_at >= system.clock.now
    assert (kept.status, kept.listed) == (Status.ACTIVE, True)
    assert system.run(system.maintenance.expire()) == ""
    totals = dict(
        system.rows("SELECT status, sum(indicators) FROM rollup_total GROUP BY status HAVING sum(indicators) > 0")
    )
    assert totals == {"active": 1, "expired": 1}


def test_many_expire_in_one_run(system: System) -> None:
    for start in range(0, 700, 100):
        values = (f"91.240.{number // 200}.{number % 200 + 1}" for number in range(start, start + 100))
        system.report(*values, expires_at=iso(NOW + 10_000))
    system.clock.now += 10_000
    assert system.run(system.maintenance.expire()) == "700 indicators expired"


@pytest.mark.parametrize(("age_ms", "kept"), [(DAY_MS - 1000, 1), (DAY_MS + 1000, 0)])
def test_answers_are_forgotten_after_a_day(system: System, age_ms: int, kept: int) -> None:
    system.run(system.reporting.submit([], LOCAL_OPERATOR, retry=Retry.of("again", b"body")))
    system.clock.now += age_ms
    system.run(system.maintenance.forget())
    assert system.rows("SELECT count(*) FROM idempotency") == [(kept,)]
