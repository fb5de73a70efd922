"""Joint work: units that wait together are done in one call, and none spoils it for the others."""

import asyncio
from collections.abc import Sequence

from tests.storage.conftest import Database
from tests.storage.test_store import Gate, Refused, names, put
from threatcloud.storage.driver import Transaction


class Putting:
    """Joint work that stores the names it is told, and notes how many it was told at a time."""

    def __init__(self, *, fails_together: bool = False) -> None:
        self.calls: list[list[str]] = []
        self._fails_together = fails_together

    def __call__(self, tx: Transaction, parts: Sequence[str]) -> list[int | Exception]:
        self.calls.append(list(parts))
        answers: list[int | Exception] = []
        for part in parts:
            put(part, topic=part)(tx)
            answers.append(Refused(part) if part.startswith("refused") else len(parts))
        if "bad" in parts or (self._fails_together and len(parts) > 1):
            raise Refused("all of them")
        return answers


async def told_behind_a_gate(database: Database, told: Sequence[tuple[Putting, str, int]]) -> list[int | BaseException]:
    gate = Gate()
    first = asyncio.ensure_future(database.store.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    others = [asyncio.ensure_future(database.store.write_jointly(*one)) for one in told]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


def test_what_waits_together_is_done_in_one_call(database: Database) -> None:
    work, heard = Putting(), set[str]()
    database.store.listen(heard.update)
    answers = database.run(told_behind_a_gate(database, [(work, name, 1) for name in "abc"]))
    assert work.calls == [["a", "b", "c"]]
    assert answers == [3, 3, 3]
    assert database.read(names) == heard == {"a", "b", "c"}


def test_who_waits_alone_is_done_alone(database: Database) -> None:
    work = Putting()
    assert database.run(database.store.write_jointly(work, "a")) == 1
    assert work.calls == [["a"]]


def test_an_error_that_is_an_answer_is_raised_where_it_was_asked_and_nowhere_else(database: Database) -> None:
    told = [(Putting(), "alone, before", 1)]
    work = Putting()
    told += [(work, name, 1) for name in ("a", "refused", "b")]
    answers = database.run(told_behind_a_gate(database, told))
    assert [type(answer) for answer in answers] == [int, int, Refused, int]


def test_a_call_that_raises_is_undone_and_each_is_done_alone(database: Database) -> None:
    work = Putting()
    answers = database.run(told_behind_a_gate(database, [(work, name, 1) for name in ("a", "bad", "b")]))
    assert work.calls == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    assert [answer if isinstance(answer, int) else str(answer) for answer in answers] == [1, "all of them", 1]
    assert database.read(names) == {"a", "b"}


def test_topics_of_a_call_that_was_undone_are_announced_once(database: Database) -> None:
    heard: list[set[str]] = []
    database.store.listen(heard.append)
    work = Putting(fails_together=True)
    database.run(told_behind_a_gate(database, [(work, name, 1) for name in ("a", "b")]))
    assert heard == [{"a", "b"}]


def test_other_work_in_between_keeps_its_place(database: Database) -> None:
    one, other = Putting(), Putting()
    told = [(one, "a", 1), (one, "b", 1), (other, "c", 1), (one, "d", 1), (one, "e", 1)]
    database.run(told_behind_a_gate(database, told))
    assert (one.calls, other.calls) == ([["a", "b"], ["d", "e"]], [["c"]])


def test_a_crowd_is_done_some_at_a_time(database: Database) -> None:
    work = Putting()
    answers = database.run(told_behind_a_gate(database, [(work, f"{n}", 200) for n in range(7)]))
    assert [len(call) for call in work.calls] == [3, 3, 1]
    assert answers == [3, 3, 3, 3, 3, 3, 1]


def test_what_was_accepted_before_a_close_is_stored(database: Database) -> None:
    work = Putting()

    async def run() -> list[int]:
        gate = Gate()
        first = asyncio.ensure_future(database.store.write(gate))
        await asyncio.to_thread(gate.entered.wait, 10)
        others = [asyncio.ensure_future(database.store.write_jointly(work, name)) for name in "ab"]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(database.store.close))
        await asyncio.sleep(0.1)
        gate.open.set()
        await closing
        await first
        return await asyncio.gather(*others)

    assert database.run(run()) == [2, 2]
