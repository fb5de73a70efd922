"""Incremental = rebuilt: whatever happens in whatever order, the stored state is what the facts alone say."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from tests.engines import Engine
from tests.services.truth import (
    LISTS,
    SOURCES,
    SUBJECTS,
    Aged,
    Imported,
    Reported,
    Said,
    Step,
    System,
    check,
    facts_of,
    histories,
)
from threatcloud.domain.indicator import indicator_key
from threatcloud.domain.report import CATEGORIES, Role, Severity, SightingKind
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.domain.times import DAY_MS, HOUR_MS
from threatcloud.services.recording import record_reports
from threatcloud.storage import indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names


@settings(max_examples=100, deadline=None)
@given(histories())
def test_what_is_stored_is_what_the_facts_say(module_engine: Engine, history: list[Step]) -> None:
    with module_engine.fresh() as place, System(place) as system:
        for step in history:
            system.apply(step)
        check(system)


@pytest.fixture
def system(engine: Engine) -> Any:
    with System(engine.place("test.db")) as made:
        yield made


def say(subject: int = 0, **changes: Any) -> Said:
    """A plain report."""
    plain = Said(subject, "manual", SightingKind.POSITIVE, 0, None, Severity.HIGH, 0.9, {}, None, True)
    return plain._replace(**changes)


def state_of(system: System, subject: int = 0) -> IndicatorState:
    """The stored state of an indicator."""
    names = Names()
    system.read(names.load)
    state = system.read(lambda db: indicators.find(db, indicator_key(*SUBJECTS[subject][0]), names))
    assert state is not None
    return state


def test_the_order_of_reports_is_indifferent(engine: Engine) -> None:
    said = [
        say(age_ms=age * DAY_MS, source=SOURCES[age % 4], category=CATEGORIES[age % 7], confidence=age / 30)
        for age in range(30)
    ]
    states = []
    for number, order in enumerate((said, said[::-1], said[::2] + said[1::2])):
        with System(engine.place(f"{number}.db")) as system:
            system.apply(Reported(0, 1, list(order)))
            states.append(state_of(system))

    assert states[0] == states[1] == states[2]


def test_one_batch_or_many_is_the_same(engine: Engine) -> None:
    said = [say(number % 5, age_ms=number * HOUR_MS, source=SOURCES[number % 4]) for number in range(20)]
    states = []
    for name, batches in (("one", [said]), ("many", [[one] for one in said])):
        with System(engine.place(f"{name}.db")) as system:
            for batch in batches:
                system.apply(Reported(0, 0, batch))
            system.apply(Aged(DAY_MS))
            check(system)
            states.append([state_of(system, subject)[3:11] for subject in range(5)])

    assert states[0] == states[1]


def test_a_list_that_changes_its_mind_moves_its_sighting(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.apply(Imported(0, "feed:a", [(0, 0)]))
    monkeypatch.setitem(LISTS, "feed:a", ("phishing", Severity.HIGH, 0.5))
    system.apply(Imported(DAY_MS, "feed:a", [(0, 0)]))

    check(system)


def test_what_a_list_still_lists_is_not_expired(system: System) -> None:
    system.apply(Reported(0, 0, [say(expires_in_ms=HOUR_MS)]))
    system.apply(Imported(DAY_MS, "feed:a", [(0, 0)]))

    assert state_of(system).status is Status.ACTIVE


def failing_unit(system: System, reporter: tuple[str, Role], source: str) -> Callable[[Transaction], None]:
    """A unit that makes a reporter and a source, stores a report, and fails."""

    def work(tx: Transaction) -> None:
        made = system.names.ensure_reporter(tx, *reporter)
        record_reports(tx, system.names, [(made, system._prepared(say(source=source), tx.now))])
        raise RuntimeError("this unit fails")

    return work


def test_a_unit_that_fails_leaves_no_name_to_another(system: System) -> None:
    """The row numbers it took are given to others: a stranger must not come out as the operator."""
    stranger, operator = ("block:192.0.2.0/24", Role.ANONYMOUS), ("key:new-operator", Role.OPERATOR)
    with pytest.raises(RuntimeError, match="this unit fails"):
        system.write(failing_unit(system, stranger, "strange"))
    system.expires.clear()

    def report(reporter: tuple[str, Role], source: str) -> None:
        def work(tx: Transaction) -> None:
            made = system.names.ensure_reporter(tx, *reporter)
            record_reports(tx, system.names, [(made, system._prepared(say(source=source), tx.now))])
            system._judge({0}, tx.now)

        system.write(work)

    report(operator, "official")
    report(stranger, "strange")

    rows = system.read(lambda db: db.rows("SELECT name, role FROM reporter"))
    assert set(rows) == {(stranger[0], "anonymous"), (operator[0], "operator")}
    pk = state_of(system).pk
    assert {fact.source: fact.role for fact in system.read(lambda db: facts_of(db, pk))} == {
        "official": Role.OPERATOR,
        "strange": Role.ANONYMOUS,
    }
    check(system)
