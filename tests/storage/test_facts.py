"""Facts and folded evidence: what is stored comes back, and pages of sightings walk all of it once."""

import random
from typing import Any

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database
from threatcloud.domain.evidence import Evidence, Listing
from threatcloud.domain.report import Role, Severity, SightingKind
from threatcloud.storage import facts
from threatcloud.storage.driver import Transaction
from threatcloud.storage.facts import NewSighting, Sighting
from threatcloud.storage.names import Names


@pytest.fixture
def ready(database: Database) -> Database:
    """A database with three sources and two reporters."""
    database.sources("manual", "x", "feed:acme")
    database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.OPERATOR))
    database.write(lambda tx: database.names.ensure_reporter(tx, "feed:acme", Role.FEED))
    return database


def sighting(database: Database, indicator: int, observed_at: int, **fields: Any) -> NewSighting:
    plain = NewSighting(
        indicator, 1, database.names.source_pk("manual"), "positive", observed_at, NOW, None, None, 0.5, None
    )
    return plain._replace(**fields)


def page(
    database: Database, indicator: int, before: tuple[int, int] | None = None, offset: int = 0, limit: int = 50
) -> list[Sighting]:
    return database.scan(lambda db: facts.list_sightings(db, indicator, database.names, before, offset, limit))


def listing(**fields: Any) -> Listing:
    return Listing(2, "feed:acme", NOW - 5, NOW, None, "c2", Severity.HIGH, 0.8, '{"a":1}')._replace(**fields)


def put_listing(database: Database, indicator: int, item: Listing) -> None:
    database.write(lambda tx: facts.put_listings(tx, [(indicator, item)], database.names))


def test_a_sighting_comes_back_as_it_was_said(ready: Database) -> None:
    said = sighting(ready, 1, NOW, kind="false-positive", context=facts.context_text({"host": "web-1", "n": [1]}))
    ready.write(lambda tx: facts.add_sightings(tx, [said]))
    assert page(ready, 1) == [Sighting(1, "manual", SightingKind.FALSE_POSITIVE, NOW, {"host": "web-1", "n": [1]})]
    assert ready.read(facts.last_sighting) == 1
    assert page(ready, 2) == []


def test_no_context_is_none_and_reads_as_empty(ready: Database) -> None:
    assert facts.context_text({}) is None
    ready.write(lambda tx: facts.add_sightings(tx, [sighting(ready, 1, NOW)]))
    assert page(ready, 1)[0].context == {}


def test_listings_are_listed_among_the_sightings(ready: Database) -> None:
    ready.write(lambda tx: facts.add_sightings(tx, [sighting(ready, 1, NOW), sighting(ready, 1, NOW - 10)]))
    put_listing(ready, 1, listing())
    found = page(ready, 1)
    assert [item.source for item in found] == ["manual", "feed:acme", "manual"]
    assert (found[1].kind, found[1].observed_at, found[1].context) == (SightingKind.POSITIVE, NOW - 5, {"a": 1})
    assert found[1].pk < 0
    assert ready.scan(lambda db: facts.count_sightings(db, 1)) == 3


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
def test_pages_walk_all_sightings_once_newest_first(ready: Database, limit: int) -> None:
    chance = random.Random(limit)
    times = [NOW - chance.randrange(6) for _ in range(40)]
    ready.write(lambda tx: facts.add_sightings(tx, [sighting(ready, 1, time) for time in times]))
    put_listing(ready, 1, listing(first_listed_at=NOW - 3))
    ready.write(lambda tx: facts.add_sightings(tx, [sighting(ready, 2, NOW)]))
    found: list[Sighting] = []
    before = None
    while more := page(ready, 1, before, 0, limit):
        found += more
        before = (more[-1].observed_at, more[-1].pk)
    assert [item.observed_at for item in found] == sorted([*times, NOW - 3], reverse=True)
    assert len({item.pk for item in found}) == 41
    by_number = [item for offset in range(0, 41, limit) for item in page(ready, 1, None, offset, limit)]
    assert by_number == found


EVIDENCE = Evidence(
    reporter=1,
    role=Role.OPERATOR,
    source="manual",
    reports=3,
    positive=1.25,
    negative=0.1,
    mass_at=NOW,
    first_at=NOW - 9,
    last_at=NOW,
    weight=1.3,
    weight_at=NOW - 1,
    confidence=0.7,
    category="c2",
    category_weight=1.1,
    category_at=NOW - 2,
    severity_at=(1, 2, 3, 4),
    vouched=True,
)


def test_evidence_comes_back_as_it_was_put(ready: Database) -> None:
    other = EVIDENCE._replace(source="x", category=None, severity_at=(0, 0, 0, 0), vouched=False)
    put = [(1, EVIDENCE), (1, other), (2, EVIDENCE._replace(positive=0.0))]
    ready.write(lambda tx: facts.put_evidence(tx, put, ready.names))
    put_listing(ready, 1, listing())
    again = Names()
    ready.read(again.load)
    for names in (ready.names, again):
        found = ready.ask(facts.evidence_of, [1, 2, 3], names)
        reports = sorted([EVIDENCE, other], key=lambda item: names.source_pk(item.source))
        assert found == {1: [*reports, listing().evidence()], 2: [EVIDENCE._replace(positive=0.0)]}


def test_evidence_replaces_that_of_the_same_reporter_and_source(ready: Database) -> None:
    for reports in (1, 2, 3):
        item = EVIDENCE._replace(reports=reports)
        ready.do(facts.put_evidence, [(1, item)], ready.names)
    assert ready.scan(lambda db: facts.evidence_of(db, [1], ready.names)) == {1: [EVIDENCE]}


def test_a_listing_comes_back_and_is_replaced(ready: Database) -> None:
    gone = listing(last_confirmed_at=NOW + 5, gone_at=NOW + 9, category=None, severity=None, context=None)
    source = ready.names.source_pk("feed:acme")
    for item in (listing(), gone):
        put_listing(ready, 1, item)
        assert ready.scan(lambda db: facts.listings_of(db, source, [1, 2], ready.names)) == {1: item}
    assert ready.scan(lambda db: facts.listings_of(db, ready.names.source_pk("x"), [1], ready.names)) == {}


def test_nothing_asked_is_nothing_found(ready: Database) -> None:
    assert ready.scan(lambda db: facts.evidence_of(db, [], ready.names)) == {}
    assert ready.scan(lambda db: facts.listings_of(db, 1, [], ready.names)) == {}

    def nothing(tx: Transaction) -> None:
        facts.add_sightings(tx, [])
        facts.put_evidence(tx, [], ready.names)
        facts.put_listings(tx, [], ready.names)

    ready.write(nothing)
    assert ready.read(facts.last_sighting) == 0
