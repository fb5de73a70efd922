"""Erasure: a value goes for good, with everything that was said of it or derived from it, in one unit of work."""

from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple

from threatcloud.domain.access import Caller
from threatcloud.domain.erasure import Eraser
from threatcloud.domain.errors import NotFound
from threatcloud.domain.indicator import Indicator, detect, indicator_key, parse_public_id, public_id
from threatcloud.formats.events import gap_json
from threatcloud.services.publishing import Publisher
from threatcloud.services.removal import Removed, clear_leftover, remove
from threatcloud.storage import (
    campaigns,
    facts,
    fading,
    feed_log,
    feeds,
    idempotency,
    indicators,
    ledger,
    removal,
    webhooks,
)
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Store

#: Stands for an erased indicator in the answers kept for retries: the id can be computed from the value.
NO_ID: Final = public_id(bytes(16))


class _Named(NamedTuple):
    """Audit entries that name a value, as far as they were looked through."""

    entries: list[int]
    up_to: int


class Erasure:
    """Erases values. What it cannot reach is in docs/operations.md."""

    def __init__(self, store: Store, names: Names, publisher: Publisher, audit_secret: bytes) -> None:
        self._store = store
        self._names = names
        self._publisher = publisher
        self._audit_secret = audit_secret

    async def erase(self, value: str, by: Caller) -> Removed:
        """Erases a value in any spelling, or by its id; NotFound when nothing is known of it.

        When it returns the published lists are without it and so are the bytes of the database and of its log, unless
        a long read (a backup) still holds the log: then they go when it ends.
        """
        indicator = await self._indicator(value)
        named = await self._store.scan(lambda db: _naming(db, indicator, 0))
        removed: Removed = await self._store.write(lambda tx: self._erase(tx, indicator, named, by))
        await self._publisher.renew({indicator.type})
        await self._store.empty_log()
        return removed

    async def _indicator(self, value: str) -> Indicator:
        key = parse_public_id(value)
        if key is None:
            return detect(value)
        state = await self._store.read(lambda db: indicators.find(db, key, self._names))
        if state is None:
            raise NotFound(f"there is no indicator {value}")
        return state.indicator

    def _erase(self, tx: Transaction, indicator: Indicator, named: _Named, by: Caller) -> Removed:
        key = indicator_key(*indicator)
        state = indicators.find(tx.db, key, self._names)
        numbers = set(removal.find_departed(tx.db, indicator)) | ({state.pk} if state else set())
        if not numbers:
            raise NotFound(f"{indicator.value} is not a known indicator")
        was_shared = (state is not None and state.shared) or bool(fading.among(tx.db, numbers))
        was_published = was_shared or feed_log.was_published(tx.db, numbers)
        self._mask_others(tx, key, Eraser(indicator))
        removed = self._remove(tx, key, numbers)
        feed_log.erase(tx, numbers)
        feeds.drop_snapshots(tx)
        if was_published:
            feed_log.raise_to_now(tx)
            tx.announce(feeds.feed_topic(indicator.type))
        indicators.drop_tag(tx, indicator.value)
        campaigns.rewrite(tx, indicator.value, Eraser(indicator).masked)
        idempotency.mask(tx, public_id(key), NO_ID)
        entries = [*named.entries, *_naming(tx.db, indicator, named.up_to).entries]
        ledger.erase_details(tx, entries)
        webhooks.replace_naming(tx, (indicator.value, public_id(key)), gap_json(tx.now))
        details = {"type": indicator.type.value, "sightings": removed.sightings, "listings": removed.listings}
        ledger.append(tx, self._audit_secret, ledger.Act("delete", "ioc", by.mask, by.address, details))
        return removed

    def _remove(self, tx: Transaction, key: bytes, numbers: Set[int]) -> Removed:
        removed = remove(tx, self._names, [key])
        sightings = removed.sightings
        for leftover in removal.leftovers(tx.db):
            while leftover.indicator in numbers and (some := clear_leftover(tx, self._names, leftover)):
                sightings += some
        return removed._replace(sightings=sightings)

    def _mask_others(self, tx: Transaction, key: bytes, eraser: Eraser) -> None:
        """What is related to it may name it, in what it shows and in the facts behind."""
        related = indicators.find_many(tx.db, indicators.keys_related(tx.db, key), self._names)
        moves = []
        for state in related.values():
            self._mask_facts(tx, state.pk, eraser)
            if (metadata := _changed(eraser, state.metadata)) is not None:
                moves.append((state, state._replace(metadata=metadata, updated_at=tx.now)))
        indicators.update(tx, moves, self._names)
        feeds.record_changes(tx, moves)

    def _mask_facts(self, tx: Transaction, pk: int, eraser: Eraser) -> None:
        for item in facts.sightings_of(tx.db, [pk], self._names).get(pk, []):
            if (context := _changed(eraser, item.context)) is not None:
                facts.replace_contexts(tx, [(item.pk, context)])
        for listing in facts.all_listings_of(tx.db, [pk], self._names).get(pk, []):
            if (context := _changed(eraser, facts.context_of(listing))) is not None:
                masked = listing._replace(context=facts.context_text(context))
                facts.put_listings(tx, [(pk, masked)], self._names)


def _changed(eraser: Eraser, said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The masked form of what was said, None where the mask hides nothing."""
    masked: dict[str, Any] | None = eraser.masked(said) if said else None
    return None if masked == said else masked


def _naming(db: Connection, indicator: Indicator, after_seq: int) -> _Named:
    texts = (indicator.value, public_id(indicator_key(*indicator)))
    return _Named(ledger.naming(db, texts, after_seq), ledger.last_seq(db))
