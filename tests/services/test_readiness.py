"""Whether a server can serve, over a real store."""

from collections.abc import Awaitable

import pytest

from tests.services.conftest import System
from threatcloud.services.readiness import NotReady, Readiness
from threatcloud.services.screening import Screener
from threatcloud.storage.driver import Transaction


def problem(system: System, check: Awaitable[None]) -> str:
    with pytest.raises(NotReady) as raised:
        system.run(check)
    return raised.value.message


def test_it_is_ready_once_the_lists_are_rendered(system: System, screener: Screener) -> None:
    before = Readiness(system.store, system.publisher, screener)
    assert problem(system, before.check()) == "the lists are not rendered yet"

    system.run(system.publisher.start())

    assert problem(system, before.check()) == "the lists are not rendered yet", "as of a second ago"
    system.run(Readiness(system.store, system.publisher, screener).check())


def test_without_its_benign_lists_it_is_not_ready(system: System, screener: Screener) -> None:
    system.run(system.publisher.start())
    poor = Screener(screener.guard, screener.locator, screener.attack, ("one", "two"))

    found = problem(system, Readiness(system.store, system.publisher, poor).check())

    assert found == "benign lists are missing: one, two"


def test_a_store_that_can_only_be_read_is_not_ready(system: System, screener: Screener) -> None:
    def end_writing(tx: Transaction) -> None:
        tx.db.run(system.end_writing)

    system.run(system.publisher.start())
    system.run(system.store.write(end_writing))

    found = problem(system, Readiness(system.store, system.publisher, screener).check())

    assert found.startswith("the database "), found
