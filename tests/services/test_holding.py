"""Hold-back on a real store: what time takes off a large list stands until it is confirmed; nothing else is kept."""

import pytest

from tests.services.conftest import System, claim
from threatcloud.domain import holding
from threatcloud.domain.erasure import ERASED
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import SightingKind
from threatcloud.domain.times import DAY_MS, iso
from threatcloud.services.access import LOCAL_OPERATOR
from threatcloud.services.erasure import Erasure
from threatcloud.services.holding import Holding, ListState
from threatcloud.services.publishing import IDENTITY
from threatcloud.services.retention import Keeping, Retention
from threatcloud.storage import feeds

NAME = "ip-blocklist"
IPS = [f"91.240.118.{number}" for number in range(1, 13)]
LASTING, ENDING = IPS[:4], IPS[4:]
IP_LIST = FeedList(IndicatorType.IP)


@pytest.fixture
def held(system: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """A list of twelve, of which eight have come to their end; lists of over ten are held."""
    monkeypatch.setattr(holding, "SMALL_ENTRIES", 10)
    system.report(*LASTING)
    system.report(*ENDING, expires_at=iso(system.clock.now + 1_000), severity="critical")
    system.run(system.publisher.start())
    system.clock.now += 1_000
    assert system.run(system.maintenance.expire()) == "8 indicators expired"
    return system


def listed(system: System, wanted: FeedList = IP_LIST) -> set[str]:
    """The list as it is after what has changed is rendered."""
    system.run(system.publisher.refresh({IndicatorType.IP}))
    body = system.run(system.publisher.get(wanted)).bodies[IDENTITY].decode()
    return {line for line in body.splitlines() if not line.startswith("#")}


def state(system: System) -> ListState:
    found: ListState = system.run(system.holding.lists())[0]
    return found


def changes(system: System) -> list[tuple[str, int]]:
    return system.rows("SELECT change, count(*) FROM feed_change WHERE change <> 'unshared' GROUP BY 1 ORDER BY 1")


def test_all_of_it_stands_until_it_is_confirmed(held: System) -> None:
    before = held.run(held.publisher.get(IP_LIST))
    assert listed(held) == set(IPS)
    assert held.run(held.publisher.get(IP_LIST)) is before
    found = state(held)
    assert found == ListState(NAME, 12, found.held_at, 4)
    assert held.clock.now <= (found.held_at or 0) <= held.clock.now + 10
    assert held.holding.held_back[NAME] == 8
    assert changes(held) == [("listed", 12)]

    assert held.run(held.holding.confirm(NAME, LOCAL_OPERATOR)) == ListState(NAME, 4, None, None)
    assert listed(held) == set(LASTING)
    assert changes(held) == [("listed", 12), ("unlisted", 8)]
    assert held.holding.held_back[NAME] == 0
    assert held.rows("SELECT action, resource FROM audit_entry ORDER BY seq DESC LIMIT 1") == [("update", "feed")]
    with pytest.raises(Conflict, match="is not held"):
        held.run(held.holding.confirm(NAME, LOCAL_OPERATOR))
    with pytest.raises(NotFound, match="ip-blocklist, domain-blocklist"):
        held.run(held.holding.confirm("iocs", LOCAL_OPERATOR))


def test_it_is_held_over_a_restart_and_the_days(held: System) -> None:
    since = state(held).held_at
    held.reopen()
    held.run(held.publisher.start())
    for _ in range(3):
        held.clock.now += DAY_MS
        held.run(held.maintenance.expire())
        assert listed(held) == set(IPS)
        assert state(held) == ListState(NAME, 12, since, 4)
    assert held.holding.held_back[NAME] == 8


def test_what_was_fading_at_a_kill_is_settled_after_the_restart(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(_: Holding) -> None:
        return

    system.report(*IPS, expires_at=iso(system.clock.now + 1_000))
    system.run(system.publisher.start())
    system.clock.now += 1_000
    with monkeypatch.context() as patch:
        patch.setattr(Holding, "settle", killed)
        system.run(system.maintenance.expire())
    system.reopen()
    system.run(system.publisher.start())
    assert listed(system) == set(IPS)
    system.run(system.maintenance.expire())
    assert listed(system) == set()


def test_every_selection_keeps_what_is_held(held: System) -> None:
    assert listed(held, FeedList(IndicatorType.IP, hosts_only=True)) == set(IPS)
    assert listed(held, FeedList(IndicatorType.IP, category="c2")) == set(IPS)
    assert listed(held, FeedList(IndicatorType.IP, category="botnet")) == set()
    worst = held.find(ENDING[0]).reputation
    assert listed(held, FeedList(IndicatorType.IP, max_reputation=worst)) >= set(ENDING)
    assert listed(held, FeedList(IndicatorType.IP, max_reputation=worst - 1)).isdisjoint(ENDING)
    assert len(listed(held, FeedList(IndicatorType.IP, max_reputation=100))) == 12


def test_what_anything_but_time_takes_off_leaves_at_once(held: System) -> None:
    eraser = Erasure(held.store, held.names, held.publisher, b"secret")
    held.run(eraser.erase(ENDING[0], LOCAL_OPERATOR))
    held.run(eraser.erase(LASTING[0], LOCAL_OPERATOR))
    held.run(held.reporting.sight(ENDING[1], "manual", SightingKind.FALSE_POSITIVE, {}, LOCAL_OPERATOR))
    held.run(held.maintenance.expire())
    assert listed(held) == set(IPS) - {ENDING[0], ENDING[1], LASTING[0]}
    assert state(held).would_have == 3
    assert ERASED not in listed(held)


def test_an_erasure_from_a_held_list_is_told_though_nobody_knows_any_more_when_it_was_listed(held: System) -> None:
    release = held.publisher.release
    assert release is not None
    held.run(held.store.write(lambda tx: tx.db.run("DELETE FROM feed_change")))
    held.run(Erasure(held.store, held.names, held.publisher, b"secret").erase(ENDING[0], LOCAL_OPERATOR))
    assert held.run(held.store.read(lambda db: feeds.find_release(db, release.version))) is None


def test_what_comes_back_has_never_left_and_enough_of_it_ends_the_hold(held: System) -> None:
    held.report(*ENDING[:3], expires_at=iso(held.clock.now + DAY_MS))
    assert changes(held) == [("listed", 12)]
    held.run(held.maintenance.expire())
    assert listed(held) == set(IPS) - set(ENDING[3:])
    assert state(held) == ListState(NAME, 7, None, None)
    assert held.holding.held_back[NAME] == 0


def test_new_entries_enter_a_held_list(held: System) -> None:
    held.report("91.240.118.200")
    held.run(held.maintenance.expire())
    assert listed(held) == {*IPS, "91.240.118.200"}
    assert state(held).would_have == 5


def test_decay_is_held_as_a_whole_and_expiry_meanwhile_waits_for_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "SMALL_ENTRIES", 10)
    system.report(*IPS)
    system.run(system.publisher.start())
    system.clock.now += 60 * DAY_MS

    async def both() -> None:
        async with system.holding.upkeep():
            await system.maintenance.decay()
            assert (await system.store.read(lambda db: db.row("SELECT count(*) FROM fading"))) == (12,)
            assert await system.store.read(lambda db: db.row("SELECT 1 FROM hold")) is None

    system.run(both())
    assert listed(system) == set(IPS)
    assert state(system).would_have == 0


def test_nothing_that_a_held_list_shows_is_removed_by_retention(held: System) -> None:
    retention = Retention(held.store, held.names, Keeping(20, 5), held.holding, held.clock)
    held.clock.now += 30 * DAY_MS
    held.run(retention.retain())
    assert listed(held) == set(IPS)
    held.run(held.holding.confirm(NAME, LOCAL_OPERATOR))
    held.run(retention.retain())
    gone = held.rows("SELECT value FROM indicator WHERE value IN (?, ?)", ENDING[0], ENDING[-1])
    assert (gone, listed(held)) == ([], set())


def test_types_without_a_list_are_not_held(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "SMALL_ENTRIES", 1)
    urls = [claim(f"http://bad-login.xyz/{n}", expires_at=iso(system.clock.now + 1_000)) for n in range(5)]
    system.run(system.reporting.submit(urls, LOCAL_OPERATOR))
    system.clock.now += 1_000
    system.run(system.maintenance.expire())
    assert changes(system) == [("listed", 5), ("unlisted", 5)]
