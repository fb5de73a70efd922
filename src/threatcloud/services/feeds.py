"""The indicator feed: pages of what the guard lets out, oldest update first, with what left."""

from collections.abc import Sequence
from typing import NamedTuple

from threatcloud.domain.errors import Gone
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import IndicatorState
from threatcloud.storage import feed_log, feeds
from threatcloud.storage.driver import Connection
from threatcloud.storage.feeds import UNSHARED, Departure
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Queries


class FeedPage(NamedTuple):
    """A page; ``next_place`` is None when nothing is left."""

    generated_at: int
    states: list[IndicatorState]
    removed: list[Departure]
    next_place: tuple[int, int, int] | None


class IndicatorFeed:
    """Reads the indicator feed."""

    def __init__(self, store: Queries, names: Names, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._clock = clock

    async def page(self, kinds: Sequence[IndicatorType], place: tuple[int, ...], since: int, limit: int) -> FeedPage:
        """The page after a place: (update time, row number, sequence number of the last departure shown).

        A walk from the very beginning comes with a negative sequence number: what left before it is not listed; one
        from a time with 0. Raises Gone where not all that left since can be told any more.
        """
        updated_at, after_pk, seq = place

        def read(db: Connection) -> FeedPage:
            after_seq = _place_in_log(db, seq, since)
            states = feeds.shared_page(db, kinds, updated_at, after_pk, limit, self._names)
            wanted = {kind.value for kind in kinds}
            gone = feeds.departures(db, UNSHARED, since, after_seq, limit)
            more = len(states) == limit or len(gone) == limit
            last = (states[-1].updated_at, states[-1].pk) if states else (updated_at, after_pk)
            next_place = (*last, gone[-1].seq if gone else after_seq) if more else None
            return FeedPage(self._clock(), states, [item for item in gone if item.type in wanted], next_place)

        return await self._store.scan(read)


def _place_in_log(db: Connection, seq: int, since: int) -> int:
    """The change after which departures are to be told."""
    begins = feed_log.floor(db)
    if seq < 0:
        return max(feeds.last_change(db), begins.seq)
    if (since <= begins.at) if seq == 0 and since else (seq < begins.seq):
        raise Gone(
            "what left since then can no longer be told in full; take the whole feed, without since and cursor, "
            "in place of what you have"
        )
    return seq or max(feed_log.last_before(db, since), begins.seq)
