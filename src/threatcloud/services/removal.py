"""The one way an indicator's facts go: what they contributed is taken out of the rollups, feeds tell the departure.

Only what is stored is taken out: sightings of closed months are forgotten (``storage.months``) and stay counted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from threatcloud.domain.evidence import Listing
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.metadata import gathered
from threatcloud.domain.report import SightingKind
from threatcloud.domain.state import IndicatorState
from threatcloud.services.recording import traits_of
from threatcloud.storage import facts, feeds, indicators, months, removal
from threatcloud.storage.driver import Transaction
from threatcloud.storage.facts import StoredSighting
from threatcloud.storage.names import Names
from threatcloud.storage.removal import Label, Leftover
from threatcloud.storage.rollups import RollupChanges
from threatcloud.storage.store import Store

#: Of an indicator with more sightings these go later, so many at a time; what is shown of it goes at once.
MANY_SIGHTINGS: Final = 2_000
_LABELS: Final = (("tag", "tags"), ("technique", "mitreIds"))


class Removed(NamedTuple):
    """How much went."""

    indicators: int = 0
    sightings: int = 0
    listings: int = 0


class Said(NamedTuple):
    """Every fact about some indicators, by row number; an indicator without any is in neither."""

    sightings: dict[int, list[StoredSighting]]
    listings: dict[int, list[Listing]]

    @classmethod
    def of(cls, tx: Transaction, names: Names, states: Iterable[IndicatorState]) -> "Said":
        """The facts as they are stored; of those with very many sightings, none of these."""
        pks = [state.pk for state in states]
        few = [state.pk for state in states if not _is_heavy(state)]
        return cls(facts.sightings_of(tx.db, few, names), facts.all_listings_of(tx.db, pks, names))


def _is_heavy(state: IndicatorState) -> bool:
    return state.sightings > MANY_SIGHTINGS


def remove(tx: Transaction, names: Names, keys: Sequence[bytes]) -> Removed:
    """Removes indicators with everything said of them. Ids that are not stored count for nothing.

    Sightings of those that have very many are left to ``clear_leftovers``, and are not counted in the answer.
    """
    states = list(indicators.find_many(tx.db, keys, names).values())
    said = Said.of(tx, names, states)
    closed_before = months.closed_before(tx.db)
    rollups = RollupChanges()
    labels: set[Label] = set()
    for state in states:
        seen, listed = said.sightings.get(state.pk, []), said.listings.get(state.pk, [])
        rollups.moved(state, None)
        uncount(rollups, state.indicator.type, seen, listed, closed_before=closed_before)
        contexts = [state.metadata or {}, *(item.context for item in seen), *map(facts.context_of, listed)]
        labels |= labels_of(state.pk, contexts)
    rollups.apply(tx)
    feeds.record_changes(tx, [(state, state._replace(shared=False, listed=False)) for state in states])
    removal.leave(tx, filter(_is_heavy, states))
    removal.delete_sightings(tx, (item.pk for seen in said.sightings.values() for item in seen))
    removal.delete_rows(tx, states, labels)
    return Removed(len(states), sum(map(len, said.sightings.values())), sum(map(len, said.listings.values())))


def clear_leftover(tx: Transaction, names: Names, leftover: Leftover) -> int:
    """Removes some of the sightings that a removed indicator left; how many, 0 when all are gone."""
    seen = facts.some_sightings_of(tx.db, leftover.indicator, MANY_SIGHTINGS, names)
    if not seen:
        removal.clear(tx, leftover)
        return 0
    rollups = RollupChanges()
    uncount(rollups, leftover.type, seen, closed_before=months.closed_before(tx.db))
    rollups.apply(tx)
    removal.delete_sightings(tx, (item.pk for item in seen))
    removal.delete_labels(tx, labels_of(leftover.indicator, (item.context for item in seen)))
    return len(seen)


async def clear_leftovers(store: Store, names: Names) -> None:
    """Removes all that removed indicators left, a little at a time."""
    for leftover in await store.read(removal.leftovers):
        while await store.write(partial(clear_leftover, names=names, leftover=leftover), bulk=True):
            pass


def uncount(
    rollups: RollupChanges,
    kind: IndicatorType,
    seen: Iterable[StoredSighting],
    listed: Iterable[Listing] = (),
    *,
    closed_before: int,
) -> None:
    """Takes back what facts of an indicator counted for when they were stored. What was seen in months that are closed
    counts for good."""
    for item in seen:
        if item.kind is SightingKind.POSITIVE and item.observed_at >= closed_before:
            rollups.unseen(kind.code, item.observed_at, item.category, *traits_of(item.country, item.context))
    for listing in listed:
        rollups.unseen(kind.code, listing.first_listed_at, listing.category)


def labels_of(pk: int, contexts: Iterable[Mapping[str, Any]]) -> set[Label]:
    """Every label an indicator may have of what was said of it, also what newer reports have pushed out."""
    return {(kind, value, pk) for context in contexts for kind, value in _labels(context)}


def _labels(context: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, name in _LABELS:
        for value in gathered(context, name):
            yield kind, str(value)
