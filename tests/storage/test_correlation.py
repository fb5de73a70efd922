"""What correlation reads: changes in their order, each once, and features found by an index."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database, make_state
from tests.storage.test_plans import Explained
from threatcloud.domain.features import Feature, FeatureKind
from threatcloud.storage import correlation
from threatcloud.storage.correlation import Features, Place

HOST, NAME = (Feature(FeatureKind.HOST, text).key for text in ("192.0.2.1", "evil.test"))


@pytest.fixture
def explained(database: Database) -> Iterator[Explained]:
    database.insert(*(make_state(pk) for pk in range(1, 6)))
    connection = Explained(database.path, writable=False)
    connection.plan = []
    yield connection
    connection.close()


def test_what_was_stored_at_one_time_is_read_bit_by_bit(database: Database) -> None:
    early = [make_state(pk, updated_at=NOW) for pk in range(1, 6)]
    later = [make_state(pk, updated_at=NOW + 1) for pk in (6, 7)]
    database.insert(*early, *later)
    found, place = [], Place()
    while some := database.read(lambda db, after=place: correlation.changed(db, after, 2)):  # type: ignore[misc]
        assert len(some) <= 2
        found += [subject.pk for subject in some]
        place = Place(some[-1].updated_at, some[-1].pk)
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_what_a_unit_adds_to_the_features_it_knows_at_once(database: Database) -> None:
    def work(tx: Any) -> None:
        features = Features(tx)
        assert features.of([1, 2]) == {1: set(), 2: set()}
        assert features.counts([HOST, NAME]) == {HOST: 0, NAME: 0}
        features.add(sorted([(HOST, 1), (HOST, 2), (NAME, 2)]))
        for known in (features, Features(tx)):
            assert known.of([1, 2, 3]) == {1: {HOST}, 2: {HOST, NAME}, 3: set()}
            assert known.counts([HOST, NAME]) == {HOST: 2, NAME: 1}

    database.write(work)


def test_more_than_says_anything_is_not_counted(database: Database) -> None:
    network = Feature(FeatureKind.NETWORK, "192.0.2.0/24").key
    database.write(lambda tx: tx.db.run_many("INSERT INTO feature VALUES (?, ?)", [(pk, network) for pk in range(99)]))
    assert database.read(lambda db: correlation.counts(db, [network])) == {network: 33}


HOT: dict[str, tuple[Callable[[Explained], Any], str]] = {
    "the rest of one time": (
        lambda db: correlation.changed(db, Place(NOW, 2), 5),
        "indicator USING COVERING INDEX indicator_by_update (type=? AND updated_at=? AND rowid>?)",
    ),
    "what changed later": (
        lambda db: correlation.changed(db, Place(NOW, 2), 5),
        "indicator USING COVERING INDEX indicator_by_update (type=? AND updated_at>?)",
    ),
    "the features of some": (
        lambda db: correlation.features_of(db, [1, 2]),
        "feature USING PRIMARY KEY (indicator=?)",
    ),
    "who has a feature": (
        lambda db: correlation.members(db, [HOST]),
        "feature USING COVERING INDEX feature_by_key (key=?)",
    ),
    "how many have a feature": (
        lambda db: correlation.counts(db, [HOST]),
        "feature USING COVERING INDEX feature_by_key (key=?)",
    ),
}


@pytest.mark.parametrize("name", HOT)
def test_it_reads_by_an_index(explained: Explained, name: str) -> None:
    statement, index = HOT[name]
    statement(explained)
    assert any(index in step and step.startswith("SEARCH") for step in explained.plan), explained.plan
    assert not any(step.startswith(("SCAN indicator", "SCAN feature")) for step in explained.plan), explained.plan
