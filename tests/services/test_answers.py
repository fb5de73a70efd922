"""Kept answers: exact until something is committed, and after that only as old as they were dear."""

import asyncio
import time

from tests.services.conftest import System
from threatcloud.services.answers import Answers
from threatcloud.storage.driver import Connection


class Reading:
    """Counts the indicators, and how often it was asked to; takes some processor time over it."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.times = 0
        self._takes_s = takes_s

    def __call__(self, db: Connection) -> int:
        self.times += 1
        until_s = time.thread_time() + self._takes_s
        while time.thread_time() < until_s:
            pass
        row = db.row("SELECT count(*) FROM indicator")
        assert row is not None
        return int(row[0])


def test_an_answer_is_found_once_while_nothing_is_committed(system: System) -> None:
    answers, reading = Answers(system.store), Reading()
    assert [system.run(answers.of("all", reading)) for _ in range(3)] == [0, 0, 0]
    assert reading.times == 1


def test_other_questions_have_other_answers(system: System) -> None:
    answers, reading = Answers(system.store), Reading()
    for asked in ("all", ("all", 1), ("all", 2)):
        system.run(answers.of(asked, reading))
    assert reading.times == 3


def test_a_quick_answer_follows_each_commit(system: System) -> None:
    answers, reading = Answers(system.store), Reading()
    for number in range(3):
        assert system.run(answers.of("all", reading)) == number
        system.report(f"91.240.0.{number + 1}")


def test_a_dear_answer_outlasts_a_commit(system: System) -> None:
    answers, reading = Answers(system.store), Reading(takes_s=0.3)
    assert system.run(answers.of("all", reading)) == 0
    system.report("91.240.0.1")
    assert system.run(answers.of("all", reading)) == 0
    assert reading.times == 1


def test_who_comes_when_it_has_grown_old_has_it_at_once_while_it_is_found_anew(system: System) -> None:
    answers, reading = Answers(system.store, kept_times=1), Reading(takes_s=0.5)
    assert system.run(answers.of("all", reading)) == 0
    system.report("91.240.0.1")

    async def ask_until(number: int) -> list[int]:
        seen = [await answers.of("all", reading)]
        while seen[-1] < number:
            await asyncio.sleep(0.01)
            seen.append(await answers.of("all", reading))
        return seen

    seen = system.run(ask_until(1))
    assert set(seen) == {0, 1}
    assert reading.times == 2


def test_an_answer_that_must_not_be_old_follows_each_commit_however_dear(system: System) -> None:
    answers, reading = Answers(system.store, kept_times=0), Reading(takes_s=0.1)
    for number in range(2):
        assert system.run(answers.of("all", reading)) == number
        system.report(f"91.240.0.{number + 1}")


def test_no_more_than_so_many_are_kept(system: System) -> None:
    answers, reading = Answers(system.store, most=2), Reading()
    for asked in ("a", "b", "c", "b", "c", "a"):
        system.run(answers.of(asked, reading))
    assert reading.times == 4


def test_those_who_ask_together_wait_for_one_reading(system: System) -> None:
    answers, reading = Answers(system.store), Reading()

    async def ask() -> list[int]:
        return await asyncio.gather(*(answers.of("all", reading) for _ in range(10)))

    assert system.run(ask()) == [0] * 10
    assert reading.times == 1
