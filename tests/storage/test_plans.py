"""Hot statements, run for real, each find their rows by an index: what they cost does not grow with what is stored."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database, make_state
from threatcloud.domain.address import packed, parse_network
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import Status
from threatcloud.storage import facts, feeds, idempotency, indicators, ledger
from threatcloud.storage import search as searching
from threatcloud.storage.driver import Params, Row
from threatcloud.storage.names import Names
from threatcloud.storage.search import Filters, Place, Sort
from threatcloud.storage.sqlite import SQLiteConnection

IP = IndicatorType.IP
TABLES = ("indicator", "sighting", "listing", "evidence", "feed_change", "audit_entry", "label", "relation", "network")
KEY = bytes(16)
PAGE = Place(None, 0, 50)
LATER_PAGE = Place((NOW, 7), 0, 50)


class Explained(SQLiteConnection):
    """A connection that notes the plan of everything it runs."""

    plan: list[str]

    def _execute(self, sql: str, params: Params) -> list[Row]:
        if not sql.startswith("PRAGMA"):
            self.plan += [row[3] for row in super()._execute(f"EXPLAIN QUERY PLAN {sql}", params)]
        return super()._execute(sql, params)


@pytest.fixture
def explained(database: Database) -> Iterator[tuple[Explained, Names]]:
    database.insert(*(make_state(pk) for pk in range(1, 6)))
    connection = Explained(database.path, writable=False)
    connection.plan = []
    yield connection, database.names
    connection.close()


Statement = Callable[[Explained, Names], Any]
HOT: dict[str, tuple[Statement, str]] = {
    "one by id": (lambda db, names: indicators.find(db, KEY, names), "indicator USING INDEX indicator_by_id (id=?)"),
    "many by id": (
        lambda db, names: indicators.find_many(db, [KEY, KEY], names),
        "indicator USING INDEX indicator_by_id (id=?)",
    ),
    "related": (lambda db, names: indicators.related(db, KEY), "relation_by_object (object=?)"),
    "networks around": (
        lambda db, names: indicators.containing(db, [packed(parse_network("192.0.2.0/24"))], names),
        "n USING PRIMARY KEY (packed=?)",
    ),
    "the evidence of some": (
        lambda db, names: facts.evidence_of(db, [1, 2], names),
        "evidence USING PRIMARY KEY (indicator=?)",
    ),
    "what a source listed": (
        lambda db, names: facts.listings_of(db, 1, [1, 2], names),
        "listing USING PRIMARY KEY (indicator=? AND source=?)",
    ),
    "a page of sightings": (
        lambda db, names: facts.list_sightings(db, 1, names, None, 0, 50),
        "sighting USING INDEX sighting_by_indicator (indicator=?",
    ),
    "a later page of sightings": (
        lambda db, names: facts.list_sightings(db, 1, names, (NOW, 5), 0, 50),
        "sighting USING INDEX sighting_by_indicator (indicator=?",
    ),
    "the number of sightings": (
        lambda db, names: facts.count_sightings(db, 1),
        "sighting USING COVERING INDEX sighting_by_indicator (indicator=?)",
    ),
    "a page by update": (
        lambda db, names: searching.search(db, Filters(), Sort.UPDATED, PAGE, names, 0),
        "indicator USING COVERING INDEX indicator_by_update (type=?)",
    ),
    "a page of a type by update": (
        lambda db, names: searching.search(db, Filters(type=IP), Sort.UPDATED, PAGE, names, 0),
        "indicator USING COVERING INDEX indicator_by_update (type=?)",
    ),
    "a later page by update": (
        lambda db, names: searching.search(db, Filters(type=IP), Sort.UPDATED, LATER_PAGE, names, 0),
        "indicator USING COVERING INDEX indicator_by_update (type=? AND updated_at<?)",
    ),
    "a page of what changed since": (
        lambda db, names: searching.search(db, Filters(type=IP, since=NOW), Sort.UPDATED, PAGE, names, 0),
        "indicator USING COVERING INDEX indicator_by_update (type=? AND updated_at>?)",
    ),
    "a list": (
        lambda db, names: feeds.render_list(db, IP, 30, None, hosts_only=False),
        "indicator USING INDEX indicator_shared (type=? AND reputation>? AND reputation<?)",
    ),
    "a list of hosts of a category": (
        lambda db, names: feeds.render_list(db, IP, 50, "c2", hosts_only=True),
        "indicator USING INDEX indicator_shared (type=? AND reputation>? AND reputation<?)",
    ),
    "a page of the indicator feed": (
        lambda db, names: feeds.shared_page(db, [IP], NOW, 5, 1000, names),
        "indicator USING INDEX indicator_by_update (type=? AND updated_at>?)",
    ),
    "what changed between releases": (
        lambda db, names: feeds.changes_between(db, 5, 10),
        "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
    "a release": (
        lambda db, names: feeds.find_release(db, "v20260307.000001"),
        "release USING PRIMARY KEY (version=?)",
    ),
    "a kept answer": (
        lambda db, names: idempotency.find(db, "key:1", "again", 0),
        "idempotency USING PRIMARY KEY (reporter=? AND key=?)",
    ),
    "a slice for decay": (
        lambda db, names: indicators.due_for_decay(db, 5, 100, NOW),
        "indicator USING INTEGER PRIMARY KEY (rowid>?",
    ),
    "a page of one action of the ledger": (
        lambda db, names: ledger.page(db, "create", 0, None, 0, 50),
        "USING INDEX audit_by_action (action=? AND seq>?)",
    ),
    "a later page of the ledger": (
        lambda db, names: ledger.page(db, None, 0, 9, 0, 50),
        "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
}
SORTED_BY_INDEX = (
    "a page of a type by update",
    "a later page by update",
    "a list",
    "a list of hosts of a category",
    "a page of the indicator feed",
    "a page of one action of the ledger",
    "a later page of the ledger",
)


@pytest.mark.parametrize("name", HOT)
def test_hot_statements_search_by_an_index(explained: tuple[Explained, Names], name: str) -> None:
    connection, names = explained
    statement, index = HOT[name]
    statement(connection, names)
    assert any(index in step and step.startswith("SEARCH") for step in connection.plan), connection.plan
    scans = [step for step in connection.plan for table in TABLES if step.startswith(f"SCAN {table}")]
    assert scans == []


@pytest.mark.parametrize("name", SORTED_BY_INDEX)
def test_pages_come_in_the_order_of_their_index(explained: tuple[Explained, Names], name: str) -> None:
    """At most the page itself is sorted (``SCAN found``), never all that is stored."""
    connection, names = explained
    HOT[name][0](connection, names)
    for step, before in zip(connection.plan[1:], connection.plan, strict=False):
        assert "TEMP B-TREE FOR ORDER BY" not in step or before == "SCAN found", connection.plan


def test_a_page_of_sightings_reads_no_more_than_a_page(explained: tuple[Explained, Names]) -> None:
    connection, names = explained
    facts.list_sightings(connection, 1, names, None, 0, 50)
    plan = connection.plan
    place = next(place for place, step in enumerate(plan) if step.startswith("SEARCH sighting"))
    assert "observed_at<?" in plan[place]
    assert "TEMP B-TREE" not in plan[place + 1], plan


def test_totals_come_from_a_rollup(explained: tuple[Explained, Names]) -> None:
    connection, _ = explained
    for filters in (Filters(), Filters(type=IP), Filters(status=Status.ACTIVE, category="c2")):
        connection.plan.clear()
        searching.count(connection, filters)
        assert not any("indicator" in step for step in connection.plan), connection.plan
