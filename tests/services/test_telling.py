"""Requests told at once: each is answered as if the others had come before or after it, and never in between."""

import asyncio
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.services.conftest import System, claim
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.report import SightingKind
from threatcloud.services.access import LOCAL_OPERATOR, caller_without_key
from threatcloud.services.auditing import Auditing
from threatcloud.services.reporting import Retry, Submitted
from threatcloud.services.telling import turns
from threatcloud.storage.driver import Transaction

IP, OTHER = "91.240.118.7", "91.240.118.8"
STRANGER = caller_without_key("198.51.100.9")


@given(st.lists(st.lists(st.integers(0, 5), max_size=4)))
def test_no_two_of_a_turn_touch_the_same_and_first_come_has_it_first(touched: list[list[int]]) -> None:
    found = turns(touched)
    assert sorted(place for turn in found for place in turn) == list(range(len(touched)))
    turn_of = {place: number for number, turn in enumerate(found) for place in turn}
    for later in range(len(touched)):
        for earlier in range(later):
            if set(touched[later]) & set(touched[earlier]):
                assert turn_of[earlier] < turn_of[later]


def told_at_once(system: System, *asked: Any) -> list[Any]:
    """The answers of requests that were all waiting when the writer came to them."""
    entered, opened = threading.Event(), threading.Event()

    def gate(_: Transaction) -> None:
        entered.set()
        assert opened.wait(10)

    async def run() -> list[Any]:
        first = asyncio.ensure_future(system.store.write(gate))
        await asyncio.to_thread(entered.wait, 10)
        others = [asyncio.ensure_future(one) for one in asked]
        await asyncio.sleep(0.05)
        opened.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    commits = system.store.figures().commits
    answers: list[Any] = system.run(run())
    assert system.store.figures().commits - commits <= 2
    return answers


def sight(system: System, value: str, caller: Any = LOCAL_OPERATOR) -> Any:
    return system.reporting.sight(value, "manual", SightingKind.POSITIVE, {}, caller)


def test_each_sighting_is_numbered_and_counted_by_itself(system: System) -> None:
    system.run(system.reporting.submit([claim(IP), claim(OTHER)], LOCAL_OPERATOR))
    noted = told_at_once(system, sight(system, IP), sight(system, OTHER), sight(system, IP))
    assert [item.pk for item in noted] == [3, 4, 5]
    assert [(item.value, item.total_sightings) for item in noted] == [(IP, 2), (OTHER, 2), (IP, 3)]


def test_a_change_is_that_of_the_sighting_alone(system: System) -> None:
    system.run(system.reporting.submit([claim(IP)._replace(severity="low", confidence=0.2)], STRANGER))
    before = system.find(IP).reputation
    callers = [caller_without_key(f"198.51.{block}.9") for block in range(3)]
    noted = told_at_once(system, *(sight(system, IP, caller) for caller in callers))
    assert all(item.reputation_change < 0 for item in noted)
    assert before + sum(item.reputation_change for item in noted) == system.find(IP).reputation


def test_an_indicator_that_one_reports_is_new_to_that_one_only(system: System) -> None:
    batches = [[claim(IP)], [claim(IP), claim(OTHER)], [claim(OTHER)]]
    answers = told_at_once(system, *(system.reporting.submit(batch, LOCAL_OPERATOR) for batch in batches))
    assert [(answer.new, answer.updated) for answer in answers] == [(1, 0), (1, 1), (0, 1)]


def test_who_sights_what_is_reported_at_the_same_time_finds_it_and_others_do_not(system: System) -> None:
    report = system.reporting.submit([claim(IP)], LOCAL_OPERATOR)
    unknown, known = "91.240.118.99", sight(system, IP)
    answers = told_at_once(system, report, sight(system, unknown), known)
    assert [type(answer).__name__ for answer in answers] == ["Submitted", "NotFound", "Noted"]
    assert isinstance(answers[1], NotFound)
    assert answers[2].total_sightings == 2


def test_a_retry_that_overtakes_its_request_is_answered_and_stores_nothing(system: System) -> None:
    def submit(value: str) -> Any:
        return system.reporting.submit([claim(value)], LOCAL_OPERATOR, retry=Retry.of("again", value.encode()))

    first, second, other = told_at_once(system, submit(IP), submit(IP), submit(OTHER))
    assert isinstance(first, Submitted)
    assert first == second
    assert system.find(IP).sightings == 1
    assert isinstance(other, Conflict)


def test_every_request_has_its_own_entry_in_the_ledger(system: System) -> None:
    told_at_once(
        system,
        system.reporting.submit([claim(IP)], LOCAL_OPERATOR),
        system.reporting.submit([claim(OTHER), claim(OTHER)], STRANGER),
    )
    auditing = Auditing(system.store, system.secret.audit, system.clock)
    entries = system.run(auditing.page("create", 0, 1, 50, None)).items
    assert [(entry.ip, entry.details) for entry in entries[:2]] == [
        ("198.51.100.9", '{"received":2,"new":1,"updated":0,"rejected":0}'),
        ("local", '{"received":1,"new":1,"updated":0,"rejected":0}'),
    ]
    assert system.run(auditing.verify()).problem is None
