"""Search against a plain filter over the same states, in every order and page by page."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database, make_state
from threatcloud.domain.address import is_network, packed, parse_network
from threatcloud.domain.indicator import IndicatorType, canonical
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage import indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.rollups import RollupChanges
from threatcloud.storage.search import Filters, Place, Sort, count, place_of, search

COUNTRIES = (None, "DE", "FR", "HK")
SOURCES = ("manual", "honeypot", "feed:acme")
STATUSES = (Status.ACTIVE, Status.EXPIRED, Status.WHITELISTED)
TAGS = ("a", "b", "c")
TECHNIQUES = ("T1110", "T1078")
ORDER: dict[Sort, Callable[[IndicatorState], tuple[int, int]]] = {
    Sort.UPDATED: lambda state: (-state.updated_at, -state.pk),
    Sort.REPUTATION: lambda state: (state.reputation, state.pk),
    Sort.SIGHTINGS: lambda state: (-state.sightings, -state.pk),
    Sort.FIRST_SEEN: lambda state: (-state.first_seen, -state.pk),
}


def random_value(kind: IndicatorType, pk: int, chance: random.Random) -> str:
    if kind is IndicatorType.IP:
        return random_address(pk, chance)
    texts = {
        IndicatorType.DOMAIN: f"bad-{pk}.{chance.choice(['com', 'net', 'xyz'])}",
        IndicatorType.HASH: f"{pk:032x}",
        IndicatorType.URL: f"http://host-{pk}.example.net/Path%20{pk}",
        IndicatorType.EMAIL: f"Boss{pk}@bad-{pk % 7}.com",
        IndicatorType.CVE: f"CVE-2024-{10_000 + pk}",
    }
    return texts[kind]


def random_address(pk: int, chance: random.Random) -> str:
    shape = chance.random()
    if shape < 0.6:
        return f"203.0.{pk // 200}.{pk % 200 + 1}"
    if shape < 0.7:
        return f"203.0.{pk % 128 * 2}.0/{chance.choice([23, 24])}" if pk % 2 else f"203.{pk % 8 * 32}.0.0/11"
    if shape < 0.8:
        return f"198.51.{pk // 200}.{pk % 200 + 1}"
    return f"2001:db8:{pk % 16:x}::{pk:x}" if shape < 0.9 else f"2001:db8:{pk:x}::/48"


def random_states(number: int, chance: random.Random) -> list[IndicatorState]:
    states: dict[bytes, IndicatorState] = {}
    for pk in range(1, number + 1):
        kind = chance.choice([*IndicatorType, *[IndicatorType.IP] * 6])
        value = canonical(kind, random_value(kind, pk, chance)).value
        category = chance.choice([None, *CATEGORIES[:3]])
        first_seen = NOW - chance.randrange(50) * 1000
        made = make_state(
            pk,
            kind,
            value,
            status=chance.choice(STATUSES),
            reputation=chance.randrange(0, 101, 5),
            category=category,
            source=chance.choice(SOURCES),
            sources=tuple(sorted(set(chance.choices(SOURCES, k=2)))),
            sightings=chance.randrange(1, 6),
            first_seen=first_seen,
            last_seen=first_seen,
            updated_at=NOW + chance.randrange(40),
            country=chance.choice(COUNTRIES),
            metadata={"tags": chance.sample(TAGS, chance.randrange(3)), "mitreIds": chance.sample(TECHNIQUES, 1)},
        )
        states.setdefault(made.id, made)
    return list(states.values())


def fill(database: Database, states: list[IndicatorState]) -> None:
    """Stores the states with their labels, networks and totals, as recording does."""
    database.insert(*states)

    def work(tx: Transaction) -> None:
        rollups = RollupChanges()
        networks = {}
        for state in states:
            rollups.moved(None, state)
            if state.indicator.type is IndicatorType.IP and is_network(state.indicator.value):
                networks[packed(parse_network(state.indicator.value))] = state.pk
            said = state.metadata or {}
            indicators.add_labels(tx, [("tag", tag, state.pk) for tag in said["tags"]])
            indicators.add_labels(tx, [("technique", item, state.pk) for item in said["mitreIds"]])
        indicators.add_networks(tx, networks, database.names)
        rollups.apply(tx)

    database.write(work)


def lies_in(state: IndicatorState, cidr: str) -> bool:
    if state.indicator.type is not IndicatorType.IP:
        return False
    inner, outer = parse_network(state.indicator.value), parse_network(cidr)
    return inner.version == outer.version and outer.first <= inner.first and inner.last <= outer.last


def matches(state: IndicatorState, filters: Filters, cidr: str | None) -> bool:
    said = state.metadata or {}
    wanted: list[tuple[Any, Callable[[Any], bool]]] = [
        (filters.type, lambda kind: state.indicator.type is kind),
        (filters.source, lambda source: state.source == source),
        (filters.min_reputation, lambda least: state.reputation >= least),
        (filters.max_reputation, lambda most: state.reputation <= most),
        (filters.status, lambda status: state.status is status),
        (filters.category, lambda category: state.category == category),
        (filters.since, lambda since: state.updated_at >= since),
        (filters.text, lambda text: text.lower() in state.indicator.value.lower()),
        (filters.tag, lambda tag: tag in said["tags"]),
        (filters.technique, lambda technique: technique in said["mitreIds"]),
        (filters.country, lambda country: state.country == country),
        (cidr, lambda network: lies_in(state, network)),
    ]
    return all(asked is None or holds(asked) for asked, holds in wanted)


CIDRS = (
    "203.0.0.0/8",
    "203.0.0.0/16",
    "203.0.1.0/24",
    "203.0.1.64/26",
    "203.0.1.5/32",
    "0.0.0.0/0",
    "198.51.100.0/22",
    "2001:db8::/32",
    "2001:db8:3::/48",
    "2001:db8:3::/120",
    "::/0",
)
CHOICES: dict[str, tuple[Any, ...]] = {
    "type": tuple(IndicatorType),
    "source": (*SOURCES, "nobody"),
    "min_reputation": (0, 30, 50),
    "max_reputation": (30, 60, 100),
    "status": STATUSES,
    "category": CATEGORIES[:4],
    "since": (NOW, NOW + 20, NOW + 1000),
    "text": ("bad", "BAD-1", "203.0", "%", "_", "/24", "path%20", "cve-2024"),
    "tag": (*TAGS, "none"),
    "technique": TECHNIQUES,
    "country": ("DE", "XX"),
    "network": CIDRS,
}


def random_filters(chance: random.Random) -> tuple[Filters, str | None]:
    names = chance.sample(list(CHOICES), chance.choice([0, 1, 1, 1, 2, 2, 3]))
    chosen = {name: chance.choice(CHOICES[name]) for name in names}
    cidr = chosen.pop("network", None)
    return Filters(**chosen, network=parse_network(cidr) if cidr else None), cidr


#: How many matches a search is told there are: where that is few it passes over everything, else it walks an index.
FEW, MANY = 0, 1_000_000


def walk(database: Database, filters: Filters, sort: Sort, limit: int, total: int = FEW) -> list[IndicatorState]:
    """Everything a search finds, by cursors."""
    found: list[IndicatorState] = []
    after: tuple[int, int] | None = None
    while True:
        place = Place(after, 0, limit)
        page = database.ask(search, filters, sort, place, database.names, total)
        found += page
        if len(page) < limit:
            return found
        after = place_of(page[-1], sort)


@pytest.mark.parametrize("seed", range(4))
def test_search_finds_what_a_plain_filter_finds(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    states = random_states(300, chance)
    fill(database, states)
    for number in range(120):
        filters, cidr = random_filters(chance)
        sort = list(Sort)[number % 4]
        expected = sorted((state for state in states if matches(state, filters, cidr)), key=ORDER[sort])
        limit = chance.choice([1, 7, 50, 500]) if len(expected) < 40 else 50
        assert walk(database, filters, sort, limit, chance.choice([FEW, MANY])) == expected
        assert database.ask(count, filters) == len(expected)


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("limit", [1, 3, 10, 100])
@pytest.mark.parametrize("total", [FEW, MANY])
def test_cursors_walk_everything_exactly_once(database: Database, sort: Sort, limit: int, total: int) -> None:
    """Many items share one place in the order; the row number tells them apart."""
    states = random_states(80, random.Random(1))
    fill(database, states)
    assert walk(database, Filters(), sort, limit, total) == sorted(states, key=ORDER[sort])


@pytest.mark.parametrize("sort", Sort)
def test_pages_by_number_are_the_same_pages(database: Database, sort: Sort) -> None:
    states = random_states(60, random.Random(2))
    fill(database, states)
    expected = sorted(states, key=ORDER[sort])
    for offset in (0, 10, 55, 60, 1000):
        found = database.ask(search, Filters(), sort, Place(None, offset, 10), database.names, len(states))
        assert found == expected[offset : offset + 10]


@pytest.mark.parametrize("cidr", CIDRS)
def test_networks_wide_and_narrow(database: Database, cidr: str) -> None:
    """Narrow ones are looked up host by host, wide ones scanned: the same is found."""
    states = random_states(250, random.Random(3))
    fill(database, states)
    found = walk(database, Filters(network=parse_network(cidr)), Sort.UPDATED, 50)
    assert {state.pk for state in found} == {state.pk for state in states if lies_in(state, cidr)}


@pytest.mark.parametrize(
    ("cidr", "inside", "outside"),
    [
        (
            "203.0.16.0/20",
            ["203.0.16.1", "203.0.31.255", "203.0.16.0/20", "203.0.31.0/24", "203.0.16.0/32"],
            ["203.0.15.255", "203.0.32.1", "203.0.0.0/19", "203.0.0.0/16", "203.0.32.0/24", "2001:db8::1"],
        ),
        (
            "203.8.0.0/13",
            ["203.8.0.1", "203.15.255.255", "203.8.0.0/13", "203.15.0.0/16"],
            ["203.7.255.255", "203.16.0.1", "203.80.0.1", "20.38.0.1", "203.0.0.0/12", "2001:db8::203:8"],
        ),
        (
            "203.0.64.0/18",
            ["203.0.64.1", "203.0.127.255", "203.0.64.0/24"],
            ["203.0.63.255", "203.0.128.1", "203.0.6.1", "203.0.0.0/17", "203.64.0.1"],
        ),
    ],
)
def test_the_edges_of_a_network(database: Database, cidr: str, inside: list[str], outside: list[str]) -> None:
    values = [canonical(IndicatorType.IP, text).value for text in (*inside, *outside)]
    states = [make_state(pk, value=value, metadata={"tags": [], "mitreIds": []}) for pk, value in enumerate(values, 1)]
    fill(database, states)
    found = walk(database, Filters(network=parse_network(cidr)), Sort.FIRST_SEEN, 50)
    assert {state.indicator.value for state in found} == set(values[: len(inside)])


def test_a_network_that_holds_a_great_many(database: Database) -> None:
    states = [make_state(pk, value=f"10.{pk >> 16}.{pk >> 8 & 255}.{pk & 255}") for pk in range(256, 30_000)]
    states = [state for state in states if not state.indicator.value.endswith(".0.0")]
    database.insert(*states)
    filters = Filters(network=parse_network("10.0.0.0/8"))
    assert database.scan(lambda db: count(db, filters)) == len(states)
    first = database.scan(lambda db: search(db, filters, Sort.UPDATED, Place(None, 0, 5), database.names, len(states)))
    assert first == states[:-6:-1]


def test_nothing_stored_is_nothing_found(database: Database) -> None:
    for sort in Sort:
        assert walk(database, Filters(network=parse_network("0.0.0.0/0")), sort, 50) == []
    assert database.scan(lambda db: count(db, Filters())) == 0
