"""Published sets: lists and their fingerprints, the log of who came and went, releases, snapshots, feed pages."""

import json
import random
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import NOW, Clock
from tests.engines import Engine
from tests.storage.conftest import Database, Make, make_state
from threatcloud.domain.feed import Detail, Least, next_version
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.domain.times import DAY_MS, iso
from threatcloud.storage import exchange, feeds, indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.feeds import LISTED, UNLISTED, UNSHARED, Departure, Release, SavedSnapshot

IP, DOMAIN, HASH, URL = IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH, IndicatorType.URL


def render(database: Database, kind: IndicatorType = IP, most: int = 30, **options: Any) -> feeds.ListBody:
    wanted = {"category": None, "hosts_only": False, **options}
    return database.scan(lambda db: feeds.render_list(db, kind, most, **wanted))


def move(database: Database, *moves: tuple[IndicatorState | None, IndicatorState]) -> set[str]:
    """Stores states that replace others and logs what that changed; gives the topics announced."""
    topics: set[str] = set()

    def work(tx: Transaction) -> None:
        database.names.ensure_sources(tx, ["manual"])
        indicators.insert(tx, [new for old, new in moves if old is None], database.names)
        indicators.update(tx, [(old, new) for old, new in moves if old is not None], database.names)
        feeds.record_changes(tx, moves)
        topics.update(tx.topics)

    database.write(work)
    return topics


def changes(database: Database, after: int, to: int) -> tuple[set[str], set[str]]:
    """The values that entered and that left, each once."""
    found = database.scan(lambda db: feeds.changes_between(db, after, to))
    added, removed = ([value for _, value in values] for values in found)
    assert len(set(added)) == len(added)
    assert len(set(removed)) == len(removed)
    return set(added), set(removed)


def last(database: Database) -> int:
    return database.scan(feeds.last_change)


# Lists ---------------------------------------------------------------------------------------------------------------


def test_a_list_writes_times_as_every_answer_does(database: Database) -> None:
    latest = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
    times = [0, 1, 999, NOW, latest, *(random.Random(1).randrange(latest) for _ in range(500))]

    found = database.scan(lambda db: [db.rows(f"SELECT {db.iso_time(str(time))}")[0][0] for time in times])

    assert found == [iso(time) for time in times]


def test_a_list_is_one_value_a_line_worst_first(database: Database) -> None:
    database.insert(
        make_state(1, value="203.0.113.1", reputation=20),
        make_state(2, value="203.0.113.2", reputation=0),
        make_state(3, value="203.0.113.3", reputation=20),
        make_state(4, value="203.0.113.4", reputation=30),
    )
    body = render(database)
    assert body.lines == b"203.0.113.2\n203.0.113.1\n203.0.113.3\n203.0.113.4\n"
    assert body.entries == 4


def test_a_list_holds_what_is_shared_of_its_type_up_to_its_reputation(database: Database) -> None:
    database.insert(
        make_state(1, value="203.0.113.1", reputation=30),
        make_state(2, value="203.0.113.2", reputation=31, listed=False),
        make_state(3, value="203.0.113.3", shared=False, listed=False),
        make_state(4, DOMAIN, "bad.xyz"),
        make_state(5, value="203.0.113.5", reputation=100, listed=False),
    )
    assert render(database).lines == b"203.0.113.1\n"
    assert render(database, most=0).lines == b""
    assert render(database, most=100).entries == 3
    assert render(database, DOMAIN).lines == b"bad.xyz\n"


def test_an_empty_list(database: Database) -> None:
    body = render(database)
    assert (body.lines, body.entries) == (b"", 0)
    assert body.fingerprint == render(database, DOMAIN).fingerprint


def test_a_category(database: Database) -> None:
    database.insert(make_state(1, category="c2"), make_state(2, category="scanner"), make_state(3))
    assert render(database, category="c2").entries == 1
    assert render(database, category="malware").entries == 0


def test_hosts_only(database: Database) -> None:
    values = ["203.0.0.0/32", "203.0.113.0/24", "203.0.113.7", "2001:db8::/48", "2001:db8::1"]
    database.insert(*(make_state(pk, value=value) for pk, value in enumerate(values, 1)))
    assert render(database).entries == 5
    assert render(database, hosts_only=True).lines == b"203.0.0.0/32\n203.0.113.7\n2001:db8::1\n"
    assert database.scan(lambda db: feeds.listed_hosts(db, IP, 30)) == ["203.0.0.0/32", "203.0.113.7", "2001:db8::1"]


def share_only(database: Database, pks: set[int]) -> None:
    def work(tx: Transaction) -> None:
        tx.db.run("UPDATE indicator SET shared = 0")
        tx.db.run_many("UPDATE indicator SET shared = 1 WHERE pk = ?", [(pk,) for pk in pks])

    database.write(work)


def test_the_fingerprint_does_not_depend_on_the_order(database: Database) -> None:
    database.insert(*(make_state(pk, reputation=pk) for pk in range(1, 20)))
    before = render(database)
    database.execute("UPDATE indicator SET reputation = 25 - reputation")
    after = render(database)
    assert before.lines != after.lines
    assert before.fingerprint == after.fingerprint


def test_different_members_have_different_fingerprints(database: Database) -> None:
    """Every set of up to four of the first twelve: in a young database row numbers are small and sums meet."""
    database.insert(*(make_state(pk) for pk in range(1, 13)))
    sets = [set(some) for size in range(5) for some in combinations(range(1, 13), size)]
    found = set()
    for members in sets:
        share_only(database, members)
        found.add(render(database).fingerprint)
    assert len(found) == len(sets)


@pytest.mark.parametrize("scale", [1, 1000, 1_000_003])
def test_sets_of_equal_sums_and_squares_have_different_fingerprints(database: Database, scale: int) -> None:
    """Prouhet's two sets of eight, alike in their sums, squares and cubes."""
    evil = {0, 3, 5, 6, 9, 10, 12, 15}
    numbers = [1 + number * scale for number in range(16)]
    states = [make_state(pk, value=f"203.0.113.{place}") for place, pk in enumerate(numbers, 1)]
    database.insert(*states)
    found = []
    for members in (evil, set(range(16)) - evil):
        share_only(database, {numbers[place] for place in members})
        found.append(render(database).fingerprint)
    assert found[0] != found[1]


# The log -------------------------------------------------------------------------------------------------------------


def state(pk: int, shared: bool, listed: bool, kind: IndicatorType = IP, value: str | None = None) -> IndicatorState:
    return make_state(pk, kind, value, shared=shared, listed=listed, reputation=20 if listed else 60)


@pytest.mark.parametrize(
    ("old", "new", "logged", "announced"),
    [
        (None, (True, True), [LISTED], True),
        (None, (True, False), [], True),
        (None, (False, False), [], False),
        ((True, True), (True, True), [], True),
        ((True, True), (True, False), [UNLISTED], True),
        ((True, True), (False, False), [UNLISTED, UNSHARED], True),
        ((True, False), (True, True), [LISTED], True),
        ((True, False), (False, False), [UNSHARED], True),
        ((False, False), (True, True), [LISTED], True),
        ((False, False), (False, False), [], False),
    ],
)
def test_what_is_logged(
    database: Database,
    old: tuple[bool, bool] | None,
    new: tuple[bool, bool],
    logged: list[str],
    announced: bool,
) -> None:
    before = None if old is None else state(1, *old, kind=URL, value="http://bad.xyz/a")
    if before is not None:
        database.insert(before)
    topics = move(database, (before, state(1, *new, kind=URL, value="http://bad.xyz/a")))
    assert [row[0] for row in database.rows("SELECT change FROM feed_change ORDER BY seq")] == logged
    assert topics == ({feeds.feed_topic(URL)} if announced else set())


SMALL = 6


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[int, bool, bool]]]:
    """Commits of (row number, shared, listed); what is listed is shared."""
    flags = st.sampled_from([(False, False), (True, False), (True, True)])
    commit = st.dictionaries(st.integers(1, SMALL), flags, min_size=1, max_size=4)
    return [[(pk, *some) for pk, some in chosen.items()] for chosen in draw(st.lists(commit, min_size=1, max_size=12))]


@settings(max_examples=40, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_old_set_with_what_was_added_without_what_was_removed_is_the_new_set(
    module_engine: Engine, history: list[list[tuple[int, bool, bool]]], chance: random.Random
) -> None:
    with module_engine.fresh() as place:
        database = Database(place, Clock())
        known: dict[int, IndicatorState] = {}
        sets: list[tuple[int, set[str]]] = [(0, set())]
        for commit in history:
            new = [state(*said) for said in commit]
            move(database, *((known.get(item.pk), item) for item in new))
            known |= {item.pk: item for item in new}
            listed = {item.indicator.value for item in known.values() if item.listed}
            assert set(database.scan(lambda db: feeds.listed_hosts(db, IP, 30))) == listed
            sets.append((last(database), listed))
        for _ in range(10):
            (after, old_set), (to, new_set) = sorted(chance.choices(sets, k=2), key=lambda item: item[0])
            added, removed = changes(database, after, to)
            assert (old_set | added) - removed == new_set
            assert added.isdisjoint(removed)
            assert added == new_set - old_set
            assert removed == old_set - new_set
        database.close()


def test_comings_and_goings_net_out(database: Database) -> None:
    out, listed = state(1, shared=False, listed=False), state(1, shared=True, listed=True)
    move(database, (None, listed))
    seen = last(database)
    move(database, (listed, out))
    move(database, (out, listed))
    assert changes(database, seen, last(database)) == (set(), set())
    assert changes(database, 0, last(database)) == ({listed.indicator.value}, set())
    assert changes(database, last(database), last(database)) == (set(), set())


def test_changes_are_of_every_type(database: Database) -> None:
    made = [
        make_state(1, value="203.0.113.0/24"),
        make_state(2, value="203.0.0.0/32"),
        make_state(3, DOMAIN, "bad.xyz"),
        make_state(4, HASH, "0" * 32),
        make_state(5, URL, "http://bad.xyz/a/32"),
    ]
    move(database, *((None, item) for item in made))
    found = database.scan(lambda db: feeds.changes_between(db, 0, 1 << 40))
    assert found.added == [(item.indicator.type.value, item.indicator.value) for item in made]
    assert found.removed == []


def test_departures_are_of_those_that_have_not_come_back(database: Database, clock: Clock) -> None:
    ins = [state(pk, shared=True, listed=True) for pk in range(1, 6)]
    outs = [state(pk, shared=False, listed=False) for pk in range(1, 6)]
    move(database, *((None, item) for item in ins))
    left = clock.now = clock.now + 1000
    move(database, *zip(ins, outs, strict=True))
    move(database, (outs[2], ins[2]))
    gone = database.scan(lambda db: feeds.departures(db, UNSHARED, 0, 0, 100))
    assert [item.value for item in gone] == [outs[place].indicator.value for place in (0, 1, 3, 4)]
    assert all(item.at == left and item.type == "ip" for item in gone)
    assert database.scan(lambda db: feeds.departures(db, UNSHARED, left + 1, 0, 100)) == []
    assert database.scan(lambda db: feeds.departures(db, UNLISTED, left, 0, 100))[0].value == gone[0].value
    walked: list[Departure] = []
    while more := database.ask(feeds.departures, UNSHARED, 0, walked[-1].seq if walked else 0, 1):
        walked += more
    assert walked == gone


# Pages of the indicator feed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_feed_pages_walk_what_is_shared_once_oldest_update_first(database: Database, limit: int) -> None:
    chance = random.Random(limit)
    kinds = [IP, DOMAIN, HASH]
    made = [
        make_state(
            pk,
            kinds[pk % 3],
            f"value-{pk}",
            updated_at=NOW + chance.randrange(8),
            shared=pk % 4 > 0,
            status=Status.ACTIVE,
        )
        for pk in range(1, 60)
    ]
    database.insert(*made)
    for wanted in (kinds, [DOMAIN], list(IndicatorType)):
        expected = sorted(
            (item for item in made if item.shared and item.indicator.type in wanted),
            key=lambda item: (item.updated_at, item.pk),
        )
        found: list[IndicatorState] = []
        place = (0, 0)
        while more := database.ask(feeds.shared_page, wanted, *place, limit, database.names):
            found += more
            place = (more[-1].updated_at, more[-1].pk)
        assert found == expected
    since = database.scan(lambda db: feeds.shared_page(db, kinds, NOW + 4, 0, 1000, database.names))
    assert since == sorted(
        (item for item in made if item.shared and item.updated_at >= NOW + 4),
        key=lambda item: (item.updated_at, item.pk),
    )


# Releases and snapshots ----------------------------------------------------------------------------------------------


def release(database: Database, seq: int) -> Release:
    def work(tx: Transaction) -> Release:
        newest = feeds.newest_release(tx.db)
        made = Release(next_version(newest.version if newest else None, tx.now), seq, tx.now)
        feeds.add_release(tx, made)
        return made

    return database.write(work)


def test_releases(database: Database, clock: Clock) -> None:
    assert database.scan(feeds.newest_release) is None
    assert database.scan(lambda db: feeds.find_release(db, "v20260307.000001")) is None
    made = [release(database, 1), release(database, 5)]
    clock.now -= 30 * DAY_MS
    made += [release(database, 9)]
    assert [item.version for item in made] == [f"v20260307.00000{number}" for number in (1, 2, 3)]
    assert database.scan(feeds.newest_release) == made[2]
    for item in made:
        assert database.ask(feeds.find_release, item.version) == item
    assert database.scan(lambda db: feeds.find_release(db, "v20260307.000009")) is None
    assert database.scan(lambda db: feeds.find_release(db, "v20260308")) is None


def test_snapshots_come_back_and_are_replaced(database: Database) -> None:
    assert database.ask(feeds.load_snapshot, "ip-blocklist") is None
    first = SavedSnapshot("ip-blocklist", NOW, 2, "2-3-4", b"\0zstd")
    for saved in (first, first._replace(name="domain-blocklist"), first._replace(entries=3, body_zstd=b"\1")):
        database.do(feeds.save_snapshot, saved)
    assert database.ask(feeds.load_snapshot, "ip-blocklist") == first._replace(entries=3, body_zstd=b"\1")
    assert database.ask(feeds.load_snapshot, "domain-blocklist") == first._replace(name="domain-blocklist")
    assert database.ask(feeds.snapshot_time, "ip-blocklist") == (NOW, "2-3-4")


def test_two_databases_do_not_share_anything(make_database: Make) -> None:
    one, other = make_database("one.db"), make_database("other.db")
    move(one, (None, make_state(1)))
    assert (render(one).entries, render(other).entries) == (1, 0)


# What formats say beyond the value ------------------------------------------------------------------------------------


def test_a_line_has_all_that_a_format_can_say_of_a_value(database: Database) -> None:
    known = {"mitreIds": ["T1110", "T1059.001"], "note": "tab\tand\nline"}
    database.insert(
        make_state(1, value="203.0.113.1", confidence=0.875, category="c2", tlp="green", metadata=known),
        make_state(2, value="203.0.113.2", confidence=0.5, expires_at=NOW + DAY_MS),
    )

    body = render(database, detail=Detail.FULL).lines.decode()

    first, second = (line.split("\t") for line in body.splitlines())
    at = iso(NOW)
    assert first[:9] == ["203.0.113.1", "20", "c2", at, at, "88", iso(NOW + 1), "", "green"]
    assert json.loads(first[9]) == ["T1110", "T1059.001"]
    assert second == ["203.0.113.2", "20", "", at, at, "50", iso(NOW + 2), iso(NOW + DAY_MS), "", ""]
    keys = ["203.0.113.2", "203.0.113.9"]
    lines = database.scan(lambda db: feeds.entry_lines(db, IP, keys, Detail.FULL)).decode()
    assert lines == "\t".join(second) + "\n"


def test_a_list_holds_those_that_have_the_least_that_is_asked_for(database: Database) -> None:
    database.insert(
        make_state(1, value="203.0.113.1", confidence=0.9, country="NL", last_seen=NOW),
        make_state(2, value="203.0.113.2", confidence=0.8, country="NL", last_seen=NOW - DAY_MS),
        make_state(3, value="203.0.113.3", confidence=0.9, country="SE", last_seen=NOW - 1),
    )

    def shown(**least: Any) -> list[str]:
        return [value[-1] for value in render(database, least=Least(**least)).lines.decode().split()]

    assert shown(confidence=0.9) == ["1", "3"]
    assert shown(country="NL") == ["1", "2"]
    assert shown(seen_since=NOW - 1) == ["1", "3"]
    assert shown(confidence=0.9, country="NL", seen_since=NOW) == ["1"]


def test_exchange_pages_hold_each_once_though_they_changed_at_the_same_time(database: Database) -> None:
    states = [make_state(pk, value=f"203.0.113.{pk}", updated_at=NOW + pk // 5) for pk in range(1, 24)]
    database.insert(*states, make_state(50, DOMAIN, "bad.xyz", updated_at=NOW + 2), make_state(51, listed=False))
    names = database.names
    for limit in (1, 4, 24, 100):
        place, seen = exchange.Place(), []
        while page := database.scan(
            lambda db, place=place, limit=limit: exchange.listed_page(db, (IP, DOMAIN), place, limit, names)  # type: ignore[misc]
        ):
            seen += [state.pk for state in page]
            place = exchange.Place(page[-1].updated_at, page[-1].pk)
        assert sorted(seen) == [*range(1, 24), 50]
        assert len(seen) == len(set(seen))
    start = states[0].id[:6]
    assert [s.pk for s in database.scan(lambda db: exchange.listed_among(db, [start], names))] == [1]
    assert [s.pk for s in database.scan(lambda db: exchange.listed_with(db, [states[1].id, b"x" * 16], names))] == [2]
    kinds = [exchange.Kind(IP), exchange.Kind(DOMAIN, 7)]
    found = database.scan(lambda db: exchange.listed_since(db, kinds, NOW + 4, 1, 3, names))
    assert [state.pk for state in found] == [21, 22, 23]
