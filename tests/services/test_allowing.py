"""The allowlist and what is stored: the order in which they come does not matter, and nothing slips in between."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import NOW
from tests.engines import Engine, Place
from tests.services.conftest import System, claim
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import Status
from threatcloud.domain.times import MINUTE_MS, iso
from threatcloud.services import allowing
from threatcloud.services.access import LOCAL_OPERATOR, caller_without_key
from threatcloud.services.allowing import AllowClaim, AllowDesk
from threatcloud.services.imports import ImportChunk, Importing, Preparer
from threatcloud.services.pacing import Pace
from threatcloud.services.screening import Screener
from threatcloud.storage import feeds
from threatcloud.storage.driver import Connection

ENTRIES = (
    *("91.240.118.0/24", "91.240.118.7", "91.240.0.0/16", "91.0.0.0/8", "2a00:1::/48", "52.95.0.0/16"),
    *("bad.xyz", "*.bad.xyz", "a.bad.xyz", "http://91.240.118.7/x", "bob@bad.xyz", "0" * 64, "8.8.8.8", "10.0.0.0/8"),
)
VALUES = (
    *("91.240.118.7", "91.240.118.9", "91.240.118.0/25", "91.240.0.0/16", "91.240.0.0", "91.241.0.1", "2a00:1::7"),
    *("52.95.110.1", "8.8.8.8", "10.0.0.5", "bad.xyz", "a.bad.xyz", "b.a.bad.xyz", "abad.xyz", "https://a.bad.xyz/x"),
    *("http://91.240.118.7/x", "http://91.240.118.9/", "bob@bad.xyz", "bob@a.bad.xyz", "0" * 64, "CVE-2021-44228"),
)


class Said(NamedTuple):
    """Values somebody reports together; without a key when ``who`` is an address, imported when it is a feed."""

    who: str
    values: list[str]


SAID = st.lists(
    st.builds(
        Said,
        st.sampled_from(["operator", "198.51.100.1", "feed:one"]),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=6, unique=True),
    ),
    min_size=1,
    max_size=4,
)
ALLOWED = st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=4, unique=True)


class Allowing(System):
    """A system with an allowlist and imports."""

    def __init__(self, place: Place, screener: Screener) -> None:
        self.desk_screener = screener
        super().__init__(place, screener)

    def _open(self) -> None:
        super()._open()
        audit = self.secret.audit
        self.allowlist = AllowDesk(self.store, self.names, self.desk_screener, audit, self.clock)
        self.importing = Importing(self.store, self.names, audit, self.clock, Pace())

    def allow(self, *values: str, expires_at: int | None = None) -> list[int]:
        """Allows values; how many stored indicators each withholds."""
        until = None if expires_at is None else iso(expires_at)
        done = self.run(self.allowlist.add([AllowClaim(value, None, until) for value in values], LOCAL_OPERATOR))
        return [item.withheld for item in done]

    def disallow(self, value: str) -> int:
        released: int = self.run(self.allowlist.remove(value, LOCAL_OPERATOR)).released
        return released

    def say(self, said: Sequence[Said]) -> None:
        for who, values in said:
            if who.startswith("feed:"):
                self.list_values(who, values)
            else:
                caller = LOCAL_OPERATOR if who == "operator" else caller_without_key(who)
                self.run(self.reporting.submit([claim(value) for value in values], caller))

    def list_values(self, source: str, values: Sequence[str]) -> None:
        """Imports values as the command line does: prepared elsewhere, without knowing the allowlist."""
        preparer = Preparer(self.desk_screener)
        rows = [preparer.prepare(value, None, None) for value in values]
        self.run(self.importing.store(ImportChunk("run-1", source, "c2", 3, 0.9, rows)))

    def standing(self) -> Any:
        """What users see of every indicator, and the lists."""
        sql = "SELECT value, status, reputation, shared, listed, withheld_code, withheld_list, cloud FROM indicator"
        totals = (
            "SELECT type, category, status, indicators, sightings FROM rollup_total WHERE indicators > 0 "
            "ORDER BY 1, 2, 3"
        )
        lists = [self.run(self.store.scan(partial(_lines, kind=kind))) for kind in IndicatorType]
        return sorted(self.rows(sql)), self.rows(totals), lists

    def followed(self) -> set[str]:
        """What a follower of every change holds."""
        changes = self.run(self.store.scan(lambda db: feeds.changes_between(db, 0, feeds.last_change(db))))
        assert {value for _, value in changes.removed}.isdisjoint(value for _, value in changes.added)
        return {value for _, value in changes.added}

    def listed(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT value FROM indicator WHERE listed = 1")}


def _lines(db: Connection, kind: IndicatorType) -> bytes:
    return feeds.render_list(db, kind, 100, None, hosts_only=False).lines


@pytest.fixture
def system(engine: Engine, screener: Screener) -> Iterator[Allowing]:
    made = Allowing(engine.place("test.db"), screener)
    yield made
    made.close()


@pytest.fixture(scope="module")
def fresh(module_engine: Engine, screener: Screener) -> Callable[[], Any]:
    """A context of an empty system."""

    @contextmanager
    def make() -> Iterator[Allowing]:
        with module_engine.fresh() as place, closing(Allowing(place, screener)) as made:
            yield made
            assert made.followed() == made.listed()

    return make


@settings(max_examples=20)
@given(entries=ALLOWED, said=SAID)
def test_the_order_of_entry_and_report_does_not_matter(
    fresh: Callable[[], Any], entries: list[str], said: list[Said]
) -> None:
    with fresh() as before, fresh() as between, fresh() as after:
        before.allow(*entries)
        before.say(said)
        between.say(said[:1])
        for entry in entries:
            between.allow(entry)
        between.say(said[1:])
        after.say(said)
        after.allow(*reversed(entries))
        assert before.standing() == between.standing() == after.standing()


@settings(max_examples=20)
@given(entries=ALLOWED, said=SAID)
def test_an_entry_that_has_gone_leaves_no_trace(fresh: Callable[[], Any], entries: list[str], said: list[Said]) -> None:
    with fresh() as never, fresh() as added_first, fresh() as added_last:
        never.say(said)
        added_first.allow(*entries)
        added_first.say(said)
        added_last.say(said)
        added_last.allow(*entries)
        for entry in entries:
            added_first.disallow(entry)
            added_last.disallow(entry)
        assert never.standing() == added_first.standing() == added_last.standing()


def test_an_import_prepared_before_the_entry_does_not_slip_past_it(system: Allowing) -> None:
    rows = [Preparer(system.desk_screener).prepare(f"91.240.118.{host}", None, None) for host in (7, 8)]
    assert [row.withheld_code for row in rows] == [None, None]
    system.allow("91.240.118.7")
    system.run(system.importing.store(ImportChunk("run-1", "feed:one", "c2", 3, 0.9, rows)))
    assert system.find("91.240.118.7").withheld_list == "allowlist"
    assert system.listed() == {"91.240.118.8"}


@pytest.mark.parametrize("net", range(1, 5))
def test_what_is_stored_while_an_entry_is_added_is_caught(system: Allowing, net: int) -> None:
    """Reports that go into the queue before, with and after the entry, whatever unit each comes to."""

    async def all_at_once() -> None:
        async with asyncio.TaskGroup() as group:
            for host in range(40):
                group.create_task(system.reporting.submit([claim(f"91.240.{net}.{host}")], LOCAL_OPERATOR))
                if host == 20:
                    group.create_task(system.allowlist.add([AllowClaim(f"91.240.{net}.0/24")], LOCAL_OPERATOR))
                await asyncio.sleep(0.001 if host % 5 else 0.004)

    system.run(all_at_once())
    assert {row[0] for row in system.rows("SELECT withheld_code FROM indicator")} == {"allowlist"}
    assert system.followed() == set()


def test_few_are_judged_in_the_unit_of_the_entry(system: Allowing) -> None:
    system.report("91.240.118.7", "91.240.118.8")
    assert system.allow("91.240.118.0/24", "91.240.118.7", "91.240.119.0/24") == [2, 1, 0]
    (entered,) = {row[0] for row in system.rows("SELECT created_at FROM allowlist")}
    assert {row[0] for row in system.rows("SELECT updated_at FROM indicator")} == {entered}
    assert system.disallow("91.240.118.0/24") == 1
    assert system.listed() == {"91.240.118.8"}


def many(system: Allowing) -> int:
    """Lists 9,000 addresses of 91.240.0.0/12; how many of them no benign list knows."""
    values = [f"91.240.{number // 250}.{number % 250 + 1}" for number in range(9_000)]
    system.list_values("feed:one", values)
    return statuses(system)["active"]


def statuses(system: Allowing) -> dict[str, int]:
    return dict(system.rows("SELECT status, count(*) FROM indicator GROUP BY status"))


def unsettled(system: Allowing) -> list[tuple[str, str]]:
    return system.rows("SELECT value, unsettled FROM allowlist WHERE unsettled IS NOT NULL")


def interrupted(system: Allowing, work: Any) -> None:
    """Runs a change and cuts it short once some units of those that follow its own have been stored."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        commits = itertools.count(1)

        def listener(topics: set[str]) -> None:
            if "feed:ip" in topics and next(commits) == 1:
                loop.call_soon_threadsafe(task.cancel)

        system.store.listen(listener)
        await asyncio.wait([task])
        assert task.cancelled()

    system.run(run())


def test_many_are_judged_in_units_that_a_restart_goes_on_with(system: Allowing) -> None:
    """9,000 indicators are 18 units; it ends after those of the first commit."""
    count = many(system)
    before = system.standing()[0]
    interrupted(system, system.allowlist.add([AllowClaim("91.240.0.0/12")], LOCAL_OPERATOR))
    assert unsettled(system) == [("91.240.0.0/12", "added")]
    assert 0 < statuses(system)["active"] < count
    system.report("91.240.200.200")
    assert system.find("91.240.200.200").status is Status.WHITELISTED

    system.reopen()
    assert system.run(system.allowlist.tend()) == "1 entries settled"
    assert "active" not in statuses(system)
    assert unsettled(system) == []
    assert system.followed() == set()

    interrupted(system, system.allowlist.remove("91.240.0.0/12", LOCAL_OPERATOR))
    assert unsettled(system) == [("91.240.0.0/12", "removed")]
    assert 0 < statuses(system)["active"] < count
    with pytest.raises(NotFound):
        system.disallow("91.240.0.0/12")
    system.report("91.240.200.201")
    assert system.find("91.240.200.201").status is Status.ACTIVE

    system.reopen()
    assert system.run(system.allowlist.tend()) == "1 entries settled"
    assert statuses(system)["active"] == count + 2
    assert system.rows("SELECT * FROM allowlist") == []
    assert system.run(system.allowlist.tend()) == ""
    assert system.followed() == system.listed()
    assert [row for row in system.standing()[0] if ".200." not in row[0]] == before


def test_an_entry_is_allowed_again_while_its_going_is_unsettled(system: Allowing) -> None:
    count = many(system)
    assert system.allow("91.240.0.0/12") == [count]
    interrupted(system, system.allowlist.remove("91.240.0.0/12", LOCAL_OPERATOR))
    assert system.allow("91.240.0.0/12") == [count]
    assert "active" not in statuses(system)
    assert unsettled(system) == []
    assert system.disallow("91.240.0.0/12") == count


def test_an_entry_ends_when_its_time_has_come(system: Allowing) -> None:
    system.report("91.240.118.7", "91.240.118.8")
    system.allow("91.240.118.7", expires_at=NOW + MINUTE_MS)
    system.allow("91.240.118.8", expires_at=NOW + 2 * MINUTE_MS)
    system.clock.now = NOW + MINUTE_MS - 1
    assert system.run(system.allowlist.tend()) == ""
    system.clock.now = NOW + MINUTE_MS
    assert system.run(system.allowlist.tend()) == "1 entries expired"
    assert system.listed() == {"91.240.118.7"}
    system.clock.now = NOW + 3 * MINUTE_MS
    system.allow("91.240.118.8")  # renewed before the job came round
    assert system.run(system.allowlist.tend()) == ""
    assert system.listed() == {"91.240.118.7"}


def test_hundreds_of_entries_end_at_once(system: Allowing) -> None:
    system.report("91.240.118.7")
    for first in (0, 100, 200):
        entries = [f"91.240.118.{number % 250}/{32 if number < 250 else 31}" for number in range(first, first + 100)]
        system.allow(*entries, expires_at=NOW + MINUTE_MS)
    system.clock.now = NOW + MINUTE_MS
    system.run(system.allowlist.tend())
    assert system.rows("SELECT * FROM allowlist") == []
    assert system.listed() == {"91.240.118.7"}


def test_a_list_that_grows_too_long_is_refused_whole(system: Allowing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowing, "MAX_ENTRIES", 3)
    system.report("91.240.118.3")
    system.allow("91.240.118.1", "91.240.118.2")
    with pytest.raises(Conflict):
        system.allow("91.240.118.3", "91.240.118.4")
    # The unit that put it there rolled back: nobody goes on with the list it had made.
    system.report("91.240.118.3")
    assert system.listed() == {"91.240.118.3"}
    assert system.allow("91.240.118.3") == [1]


def test_an_expired_indicator_stays_expired_when_its_entry_goes(system: Allowing) -> None:
    system.report("91.240.118.7", expires_at=iso(NOW + MINUTE_MS))
    system.allow("91.240.118.7")
    system.clock.now = NOW + MINUTE_MS
    system.run(system.maintenance.expire())
    assert system.find("91.240.118.7").status is Status.WHITELISTED
    system.disallow("91.240.118.7")
    assert system.find("91.240.118.7").status is Status.EXPIRED
