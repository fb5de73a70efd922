"""The store's promises: group commit, time that only grows, snapshots, back-pressure, a close that drains."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from tests.clock import NOW, Clock
from tests.engines import outside
from tests.storage.conftest import Database, Make, make_state
from threatcloud.domain.errors import Busy
from threatcloud.storage import feeds, ledger
from threatcloud.storage.driver import Connection, StorageUnavailable, Transaction
from threatcloud.storage.writer import MAX_WAITING_UNITS

SECRET = b"s" * 32
Unit = Callable[[Transaction], int]


class Refused(Exception):
    """What a unit of these tests raises."""


class Gate:
    """A unit that holds the writer up until it is opened, so that all others wait together."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, tx: Transaction) -> int:
        self.entered.set()
        assert self.open.wait(10)
        return tx.now


def put(name: str, topic: str | None = None) -> Unit:
    """A unit that stores a name, announces a topic, and gives its time."""

    def work(tx: Transaction) -> int:
        tx.db.run("INSERT INTO meta (name, value) VALUES (?, '')", (name,))
        if topic is not None:
            tx.announce(topic)
        return tx.now

    return work


def put_and_raise(name: str) -> Unit:
    def work(tx: Transaction) -> int:
        put(name, "refused")(tx)
        raise Refused(name)

    return work


def names(db: Connection) -> set[str]:
    return {row[0] for row in db.rows("SELECT name FROM meta")}


def on_disk(database: Database) -> set[str]:
    """What another process finds now."""
    return {row[0] for row in outside(database.place, "SELECT name FROM meta")}


async def behind_a_gate(database: Database, units: Sequence[Unit]) -> list[int | BaseException]:
    """The answers of units that were all waiting when the writer came to them."""
    gate = Gate()
    first = asyncio.ensure_future(database.store.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    others = [asyncio.ensure_future(database.store.write(unit)) for unit in units]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


def test_a_unit_that_raises_rolls_back_alone_while_its_neighbours_commit(database: Database) -> None:
    units = [put_and_raise(f"bad {n}") if n % 3 == 1 else put(f"good {n}") for n in range(30)]
    commits = database.store.figures().commits
    answers = database.run(behind_a_gate(database, units))
    assert [str(answer) for answer in answers if isinstance(answer, Refused)] == [f"bad {n}" for n in range(1, 30, 3)]
    assert [isinstance(answer, Refused) for answer in answers] == [n % 3 == 1 for n in range(30)]
    assert on_disk(database) == {f"good {n}" for n in range(30) if n % 3 != 1}
    assert database.store.figures().commits - commits <= 2


def test_a_unit_may_raise_what_it_likes(database: Database) -> None:
    def stop(tx: Transaction) -> int:
        put("stopped")(tx)
        raise asyncio.CancelledError

    def misspelt(tx: Transaction) -> int:
        put("misspelt")(tx)
        tx.db.run("SELECT nothing FROM nowhere")
        return tx.now

    def doubled(tx: Transaction) -> int:
        put("doubled")(tx)
        return put("doubled")(tx)

    def doubled_among_many(tx: Transaction) -> int:
        tx.db.run_many("INSERT INTO meta (name, value) VALUES (?, '')", [("first",), ("same",), ("same",), ("last",)])
        return tx.now

    answers = database.run(behind_a_gate(database, [stop, misspelt, put("good"), doubled, doubled_among_many]))
    errors = [type(answer).__name__ for answer in answers]
    assert errors in (
        ["CancelledError", "SQLError", "int", "ConstraintError", "ConstraintError"],
        ["CancelledError", "UndefinedTable", "int", "UniqueViolation", "UniqueViolation"],
    )
    assert on_disk(database) == {"good"}
    database.write(put("more"))


def test_a_failed_unit_leaves_no_gap_in_the_ledger(database: Database) -> None:
    def act(tx: Transaction) -> int:
        ledger.append(tx, SECRET, ledger.Act("create", "thing", "", "", {}))
        return tx.now

    def act_and_raise(tx: Transaction) -> int:
        act(tx)
        raise Refused

    database.run(behind_a_gate(database, [act, act_and_raise, act, act_and_raise]))
    database.run(behind_a_gate(database, [act_and_raise, act]))
    assert database.rows("SELECT seq FROM audit_entry ORDER BY seq") == [(1,), (2,), (3,)]
    assert database.rows("SELECT seq FROM audit_detail ORDER BY seq") == [(1,), (2,), (3,)]


def test_what_is_answered_is_on_the_disk(database: Database) -> None:
    for number in range(20):
        database.write(put(f"{number}"))
        assert f"{number}" in on_disk(database)


def test_who_wrote_reads_it(database: Database) -> None:
    async def write_and_read() -> None:
        for number in range(50):
            await database.store.write(put(f"{number}"))
            assert f"{number}" in await database.store.read(names)
            assert f"{number}" in await database.store.scan(names)

    database.run(write_and_read())


def test_many_writers_at_once_all_read_their_own(database: Database) -> None:
    async def write_and_read(number: int) -> None:
        for round_number in range(10):
            name = f"{number}/{round_number}"
            await database.store.write(put(name))
            assert name in await database.store.read(names)

    async def all_of_them() -> None:
        await asyncio.gather(*(write_and_read(number) for number in range(20)))

    database.run(all_of_them())
    assert len(on_disk(database)) == 200


@pytest.mark.parametrize("steps", [[0] * 6, [0, 5, -1000, 3, -1, 10**6], [-1] * 6])
def test_time_grows_from_commit_to_commit_whatever_the_clock_does(
    database: Database, clock: Clock, steps: list[int]
) -> None:
    times = []
    for number, step in enumerate(steps):
        clock.now += step
        times.append(database.write(put(f"{number}")))
    assert all(earlier < later for earlier, later in pairwise(times))
    assert times[0] >= NOW + min(steps[0], 0)


def test_the_units_of_one_commit_have_one_time(database: Database) -> None:
    answers = database.run(behind_a_gate(database, [put(f"{number}") for number in range(5)]))
    assert len(set(answers)) == 1


def touch_the_ledger(tx: Transaction) -> int:
    ledger.append(tx, SECRET, ledger.Act("query", "x", "", "", {}))
    return tx.now


def log_a_departure(tx: Transaction) -> int:
    gone = make_state(1, shared=False, listed=False)
    feeds.record_changes(tx, [(make_state(1), gone)])
    return tx.now


def enter_a_release(tx: Transaction) -> int:
    feeds.add_release(tx, feeds.Release("v20260307.000001", 0, tx.now))
    return tx.now


@pytest.mark.parametrize("last_work", [touch_the_ledger, log_a_departure, enter_a_release])
def test_time_goes_on_growing_after_a_restart_with_the_clock_put_back(
    database: Database, clock: Clock, last_work: Unit
) -> None:
    clock.now += 10_000
    last = database.write(last_work)
    clock.now -= 20_000
    database.reopen()
    assert database.write(put("later")) > last


def test_time_goes_on_growing_after_an_update(database: Database, clock: Clock) -> None:
    database.insert(make_state(1, updated_at=NOW + 50_000))
    database.reopen()
    assert database.write(put("later")) > NOW + 50_000


def test_topics_are_announced_after_their_commit_and_only_then(database: Database) -> None:
    heard: list[tuple[set[str], set[str]]] = []
    database.store.listen(lambda topics: heard.append((topics, on_disk(database))))
    database.write(put("silent"))
    with pytest.raises(Refused):
        database.write(put_and_raise("bad"))
    assert heard == []
    database.run(behind_a_gate(database, [put("one", "a"), put_and_raise("bad"), put("two", "b"), put("three", "a")]))
    assert {topic for topics, _ in heard for topic in topics} == {"a", "b"}
    for topics, seen in heard:
        assert {"one", "three"} <= seen or "a" not in topics
        assert "two" in seen or "b" not in topics


def test_listeners_hear_before_the_writer_is_answered(database: Database) -> None:
    heard: list[set[str]] = []
    database.store.listen(heard.append)
    database.write(put("one", "a"))
    assert heard == [{"a"}]


def test_a_full_queue_is_busy_and_stores_nothing_of_what_it_refused(database: Database) -> None:
    async def flood() -> tuple[int, int]:
        gate = Gate()
        first = asyncio.ensure_future(database.store.write(gate))
        await asyncio.to_thread(gate.entered.wait, 10)
        waiting = [asyncio.ensure_future(database.store.write(put(f"{n}"))) for n in range(MAX_WAITING_UNITS)]
        await asyncio.sleep(0)
        assert database.store.figures().waiting == MAX_WAITING_UNITS
        with pytest.raises(Busy, match="too many writes are waiting") as caught:
            await database.store.write(put("refused"))
        gate.open.set()
        await asyncio.gather(first, *waiting)
        await database.store.write(put("welcome again"))
        return len(waiting), caught.value.retry_after_s

    accepted, retry_after_s = database.run(flood())
    assert retry_after_s >= 1
    assert len(on_disk(database)) == accepted + 1
    assert "refused" not in on_disk(database)


def test_close_runs_every_unit_that_was_accepted(make_database: Make) -> None:
    database = make_database("closing.db")

    async def write_and_close() -> list[int | BaseException]:
        gate = Gate()
        first = asyncio.ensure_future(database.store.write(gate))
        await asyncio.to_thread(gate.entered.wait, 10)
        waiting = [asyncio.ensure_future(database.store.write(put(f"{number}"))) for number in range(100)]
        await asyncio.sleep(0)
        threading.Timer(0.05, gate.open.set).start()
        database.store.close()
        with pytest.raises(Busy, match="the server is stopping"):
            await database.store.write(put("too late"))
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    answers = database.run(write_and_close())
    assert all(isinstance(answer, int) for answer in answers)
    assert on_disk(database) == {str(number) for number in range(100)}
    database.store.close()


def test_a_closed_store_leaves_one_file_and_the_lock(make_database: Make) -> None:
    database = make_database("closing.db")
    database.write(put("one"))
    database.read(names)
    database.scan(names)
    database.store.close()
    assert sorted(path.name for path in database.path.parent.iterdir()) == ["closing.db", "closing.db.lock"]


def test_a_unit_whose_caller_has_gone_is_stored_all_the_same(database: Database) -> None:
    async def leave() -> None:
        gate = Gate()
        first = asyncio.ensure_future(database.store.write(gate))
        await asyncio.to_thread(gate.entered.wait, 10)
        left = asyncio.ensure_future(database.store.write(put("left")))
        await asyncio.sleep(0)
        left.cancel()
        gate.open.set()
        await first
        await database.store.write(put("next"))

    database.run(leave())
    assert on_disk(database) == {"left", "next"}


def test_a_scan_sees_one_snapshot(database: Database) -> None:
    database.write(put("before"))
    began, go_on = threading.Event(), threading.Event()

    def look_twice(db: Connection) -> tuple[set[str], set[str]]:
        first = names(db)
        began.set()
        assert go_on.wait(10)
        return first, names(db)

    async def write_meanwhile() -> tuple[set[str], set[str]]:
        scan = asyncio.ensure_future(database.store.scan(look_twice))
        await asyncio.to_thread(began.wait, 10)
        await database.store.write(put("meanwhile"))
        go_on.set()
        return await scan

    assert database.run(write_meanwhile()) == ({"before"}, {"before"})
    assert database.scan(names) == {"before", "meanwhile"}


def test_a_scan_that_raises_is_over(database: Database) -> None:
    def fail(db: Connection) -> None:
        names(db)
        raise Refused

    for _ in range(10):
        with pytest.raises(Refused):
            database.scan(fail)
    database.write(put("after"))
    assert database.scan(names) == {"after"}


@pytest.mark.parametrize("way", ["read", "scan"])
def test_who_only_reads_cannot_write(database: Database, way: str) -> None:
    def write(db: Connection) -> None:
        db.run("INSERT INTO meta (name, value) VALUES ('x', 'y')")

    with pytest.raises(StorageUnavailable):
        getattr(database, way)(write)
    assert on_disk(database) == set()


def test_a_long_unit_does_not_hold_up_readers(database: Database) -> None:
    database.write(put("before"))

    async def read_meanwhile() -> set[str]:
        gate = Gate()
        first = asyncio.ensure_future(database.store.write(gate))
        await asyncio.to_thread(gate.entered.wait, 10)
        seen = await database.store.read(names) | await database.store.scan(names)
        gate.open.set()
        await first
        return seen

    assert database.run(read_meanwhile()) == {"before"}


def test_a_group_ends_so_that_those_in_it_are_answered(database: Database) -> None:
    """Units that keep coming do not keep the first ones waiting for ever."""

    def slow(number: int) -> Unit:
        def work(tx: Transaction) -> int:
            time.sleep(0.02)
            return put(f"{number}")(tx)

        return work

    async def come_and_go() -> int:
        units = [asyncio.ensure_future(database.store.write(slow(number))) for number in range(40)]
        await units[0]
        left = sum(not unit.done() for unit in units)
        await asyncio.gather(*units)
        return left

    assert database.run(come_and_go()) > 10
    assert database.store.figures().commits >= 3


def test_figures_count_what_was_done(database: Database) -> None:
    before = database.store.figures()
    database.run(behind_a_gate(database, [put("a"), put_and_raise("b")]))
    after = database.store.figures()
    assert after.units - before.units == 3
    assert 1 <= after.commits - before.commits <= 2
    assert after.waiting == 0


def test_what_was_stored_is_there_after_a_restart(database: Database) -> None:
    database.write(put("kept"))
    database.reopen()
    assert database.read(names) == {"kept"}
