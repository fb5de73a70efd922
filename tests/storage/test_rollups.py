"""Rollups against counting everything anew, over random histories of states."""

import random
from collections import Counter
from typing import Any

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database, make_state
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED, IndicatorState, Status
from threatcloud.domain.times import HOUR_MS, hour_of
from threatcloud.storage import rollups
from threatcloud.storage.rollups import RollupChanges, Total

KINDS = list(IndicatorType)
TECHNIQUES = ("T1110", "T1078", "T1059.001")
Seen = tuple[int, int, str, tuple[str, ...]]


def random_state(pk: int, chance: random.Random) -> IndicatorState:
    first_seen = NOW - chance.randrange(6) * HOUR_MS
    return make_state(
        pk,
        KINDS[pk % 6],
        f"value-{pk}",
        status=chance.choice([Status.ACTIVE, Status.EXPIRED, Status.WHITELISTED]),
        category=chance.choice([None, "c2", "scanner"]),
        country=chance.choice([None, "DE", "FR"]),
        sightings=chance.randrange(1, 5),
        first_seen=first_seen,
        last_seen=first_seen + chance.randrange(4) * HOUR_MS,
    )


def cells(database: Database, table: str) -> dict[tuple[Any, ...], Any]:
    """The cells of a rollup that are not zero, the count (or counts) by the rest of the row."""
    counts = {"rollup_hour": 2, "rollup_total": 2}.get(table, 1)
    rows = database.rows(f"SELECT * FROM {table}")
    return {row[:-counts]: row[-counts:] for row in rows if any(row[-counts:])}


def counted(states: list[IndicatorState], seen: list[Seen]) -> dict[str, dict[tuple[Any, ...], Any]]:
    """What every rollup must hold, counted from the states and sightings there are."""
    hour: Counter[Any] = Counter()
    total: Counter[Any] = Counter()
    sightings: Counter[Any] = Counter()
    last: Counter[Any] = Counter()
    for state in states:
        code, category = state.indicator.type.code, state.category or UNCATEGORIZED
        hour[hour_of(state.first_seen), code, category] += 1
        total[code, category, state.status.value] += 1
        sightings[code, category, state.status.value] += state.sightings
        last[hour_of(state.last_seen), code, category, state.country or ""] += 1
    reports = Counter((hour_of(at), code, category) for code, at, category, _ in seen)
    techniques = Counter((hour_of(at), technique) for _, at, _, found in seen for technique in found)
    return {
        "rollup_hour": {key: (hour[key], reports[key]) for key in hour.keys() | reports.keys()},
        "rollup_technique": {key: (count,) for key, count in techniques.items()},
        "rollup_last_seen": {key: (count,) for key, count in last.items()},
        "rollup_total": {key: (total[key], sightings[key]) for key in total},
    }


@pytest.mark.parametrize("seed", range(6))
def test_rollups_are_what_counting_anew_gives(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    states: dict[int, IndicatorState] = {}
    seen: list[Seen] = []
    for _ in range(25):
        changes = RollupChanges()
        for pk in chance.sample(range(1, 40), 8):
            new = None if pk in states and chance.random() < 0.15 else random_state(pk, chance)
            changes.moved(states.pop(pk, None), new)
            if new is not None:
                states[pk] = new
        for _ in range(chance.randrange(5)):
            category, techniques = chance.choice([None, "c2"]), tuple(chance.sample(TECHNIQUES, chance.randrange(3)))
            code, at = chance.randrange(1, 7), NOW - chance.randrange(5) * HOUR_MS
            changes.seen(code, at, category, list(techniques))
            seen.append((code, at, category or UNCATEGORIZED, techniques))
        database.write(changes.apply)
    for table, expected in counted(list(states.values()), seen).items():
        assert cells(database, table) == expected, table


def test_what_comes_and_goes_in_one_batch_leaves_no_trace(database: Database) -> None:
    changes = RollupChanges()
    changes.moved(None, make_state(1))
    changes.moved(make_state(1), None)
    database.write(changes.apply)
    for table in ("rollup_hour", "rollup_last_seen", "rollup_total"):
        assert cells(database, table) == {}


def test_a_change_moves_counts_from_cell_to_cell(database: Database) -> None:
    old = make_state(1, category="c2", sightings=2)
    new = old._replace(category="scanner", status=Status.EXPIRED, sightings=3, last_seen=NOW + HOUR_MS)
    for before, after in ((None, old), (old, new)):
        changes = RollupChanges()
        changes.moved(before, after)
        database.write(changes.apply)
    totals = [total for total in database.scan(rollups.totals) if total.indicators or total.sightings]
    assert totals == [Total(IndicatorType.IP.code, "scanner", "expired", 1, 3)]


def since(database: Database, hours_ago: int) -> tuple[int, int, str | None]:
    return database.scan(lambda db: rollups.since_hour(db, hour_of(NOW) - hours_ago))


def test_since_an_hour(database: Database) -> None:
    assert since(database, 23) == (0, 0, None)
    changes = RollupChanges()
    for hours, category in enumerate([None, None, None, "c2", "scanner", "scanner"]):
        at = NOW - hours * HOUR_MS
        changes.moved(None, make_state(hours + 1, category=category, first_seen=at, last_seen=at))
        changes.seen(1, at, category, [])
    database.write(changes.apply)
    assert since(database, 2) == (3, 3, None)
    assert since(database, 3) == (4, 4, "c2")
    assert since(database, 23) == (6, 6, "scanner")


def test_ties_for_the_top_category_go_by_name(database: Database) -> None:
    changes = RollupChanges()
    for category in ("scanner", "c2", "malware"):
        changes.seen(1, NOW, category, [])
    database.write(changes.apply)
    assert since(database, 0) == (0, 3, "c2")


def test_sources_are_counted_once(database: Database) -> None:
    assert database.scan(rollups.count_sources) == 0
    database.sources("a", "b")
    database.sources("b", "c")
    assert database.scan(rollups.count_sources) == 3
