"""Withdrawal: all that the holder of a key said is taken back, and what rested on it is concluded anew.

A withdrawal is a row until it is complete, and every unit of it leaves the database sound: after a kill it goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import NotFound
from threatcloud.domain.evidence import Evidence, Listing, add_report
from threatcloud.domain.metadata import merge_metadata
from threatcloud.domain.report import TRUSTED_ROLES, Report, SightingKind
from threatcloud.domain.state import ANONYMISED_CODE, IndicatorState
from threatcloud.services.access import KeyDesk
from threatcloud.services.recording import Batch, Restated
from threatcloud.services.removal import clear_leftovers, labels_of, remove, uncount
from threatcloud.services.retention import Keeping
from threatcloud.services.screening import Screener
from threatcloud.storage import facts, indicators, ledger, log_entries, months, removal
from threatcloud.storage.driver import Transaction
from threatcloud.storage.facts import StoredSighting
from threatcloud.storage.names import Names
from threatcloud.storage.removal import Withdrawal
from threatcloud.storage.rollups import RollupChanges
from threatcloud.storage.store import Store

#: What takes longer is answered as pending; it goes on.
PATIENCE_S: Final = 20.0
_SLICE_ROWS: Final = 5_000
_UNIT_ROWS: Final = 100
_log = structlog.get_logger("withdrawal")


class Withdrawn(NamedTuple):
    """How far a withdrawal has come: sightings taken back, indicators removed because nobody else reported them, and
    indicators that others reported too, concluded anew."""

    pending: bool
    sightings: int
    removed: int
    changed: int


class Withdrawing:
    """Withdraws what keys contributed."""

    def __init__(
        self,
        store: Store,
        names: Names,
        screener: Screener,
        desk: KeyDesk,
        audit_secret: bytes,
        keeping: Keeping,
    ) -> None:
        self._store = store
        self._names = names
        self._screener = screener
        self._desk = desk
        self._audit_secret = audit_secret
        self._keeping = keeping
        self._running: asyncio.Task[None] | None = None
        self._done: Counter[tuple[int, str]] = Counter()

    async def withdraw(self, key_id: str, by: Caller) -> Withdrawn:
        """Takes back all that was reported with a key and those it replaced or that replaced it, up to now.

        What it reports afterwards counts again. NotFound when there never was such a key.
        """
        lineage = await self._desk.lineage(key_id)
        reporter = await self._store.write(lambda tx: self._begin(tx, key_id, lineage, by))
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        while reporter is not None and await self._is_pending(reporter):
            left_s = give_up_at - asyncio.get_running_loop().time()
            finished, _ = await asyncio.wait({self._working()}, timeout=max(0.0, left_s))
            if not finished:
                break
            await finished.pop()  # raises what went wrong
        return await self._so_far(reporter)

    def _begin(self, tx: Transaction, key_id: str, lineage: str | None, by: Caller) -> int | None:
        # A key that TC_API_KEYS no longer gives is known by what it reported alone.
        reporter = removal.find_reporter(tx.db, f"key:{lineage or key_id}")
        if reporter is None and lineage is None:
            raise NotFound(f"there is no key {key_id}; see: threat-cloud key list")
        if reporter is not None:
            removal.want_withdrawn(tx, Withdrawal(reporter, tx.now))
            log_entries.forget(tx, reporter)
        details = {"id": key_id, "lineage": lineage or key_id}
        act = ledger.Act("delete", "contributions", by.mask, by.address, details)
        ledger.append(tx, self._audit_secret, act)
        return reporter

    async def _is_pending(self, reporter: int) -> bool:
        found = await self._store.read(removal.withdrawals)
        return any(item.reporter == reporter for item in found)

    async def _so_far(self, reporter: int | None) -> Withdrawn:
        if reporter is None:
            return Withdrawn(False, 0, 0, 0)
        pending = await self._is_pending(reporter)
        counts = [self._done[reporter, what] for what in ("sightings", "removed", "changed")]
        if not pending:
            for what in ("sightings", "removed", "changed"):
                self._done.pop((reporter, what), None)
        return Withdrawn(pending, *counts)

    def _working(self) -> "asyncio.Task[None]":
        """The task that completes all withdrawals, one for all callers: it goes on when they hang up."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._complete())
        return self._running

    async def resume(self) -> str:
        """Completes withdrawals that a stop interrupted, and removals; says how many there were."""
        waiting = await self._store.read(removal.withdrawals)
        if not waiting and not await self._store.read(removal.leftovers):
            return ""
        await asyncio.shield(self._working())
        return f"{len(waiting)} withdrawals completed" if waiting else "what was removed is cleared away"

    async def _complete(self) -> None:
        while waiting := await self._store.read(removal.withdrawals):
            for withdrawal in waiting:
                await self._retract_all(withdrawal)
                await self._store.write(partial(removal.end_withdrawal, withdrawal=withdrawal))
                _log.info("contributions withdrawn", reporter=self._names.reporter(withdrawal.reporter).name)
        await clear_leftovers(self._store, self._names)

    async def _retract_all(self, withdrawal: Withdrawal) -> None:
        after_pk = 0
        while True:
            read = partial(removal.reported_by, reporter=withdrawal.reporter, after_pk=after_pk, rows=_SLICE_ROWS)
            last, due = await self._store.scan(read)
            if last is None:
                return
            for first in range(0, len(due), _UNIT_ROWS):
                work = partial(self._retract, keys=due[first : first + _UNIT_ROWS], withdrawal=withdrawal)
                done: Counter[tuple[int, str]] = await self._store.write(work, bulk=True)
                self._done += done
            after_pk = last

    def _retract(self, tx: Transaction, keys: Sequence[bytes], withdrawal: Withdrawal) -> "Counter[tuple[int, str]]":
        """Takes back what was said of some indicators; gives what that did."""
        reporter, until = withdrawal
        states = indicators.find_many(tx.db, keys, self._names).values()
        pks = [state.pk for state in states]
        seen = facts.sightings_of(tx.db, pks, self._names)
        listed = facts.all_listings_of(tx.db, pks, self._names)
        evidence = facts.evidence_of(tx.db, pks, self._names)
        closed_before = months.closed_before(tx.db)
        gone: list[bytes] = []
        left: list[_Left] = []
        sightings = 0
        for state in states:
            all_seen = seen.get(state.pk, [])
            taken = [item for item in all_seen if item.reporter == reporter and item.received_at <= until]
            kept = [item for item in all_seen if item.reporter != reporter or item.received_at > until]
            on_lists = listed.get(state.pk, [])
            known = evidence.get(state.pk, [])
            told = known[: len(known) - len(on_lists)]
            others = [item for item in told if item.reporter != reporter and item.reports]
            sightings += len(taken)
            if not on_lists and not others and not any(item.kind is SightingKind.POSITIVE for item in kept):
                gone.append(state.id)
            elif taken or (closed_before and any(item.reporter == reporter for item in told)):  # if only forgotten ones
                left.append(_Left(state, taken, kept, on_lists, others, closed_before))
        remove(tx, self._names, gone)
        self._restate(tx, left, reporter)
        done = {"sightings": sightings, "removed": len(gone), "changed": len(left)}
        return Counter({(reporter, what): count for what, count in done.items() if count})

    def _restate(self, tx: Transaction, left: "Sequence[_Left]", reporter: int) -> None:
        """Takes back what was said of indicators that others reported too, and concludes them anew."""
        rollups = RollupChanges()
        for item in left:
            uncount(rollups, item.state.indicator.type, item.taken, closed_before=item.closed_before)
            contexts = [item.state.metadata or {}, *(sighting.context for sighting in item.taken)]
            removal.delete_labels(tx, labels_of(item.state.pk, contexts))
        rollups.apply(tx)
        removal.delete_sightings(tx, (sighting.pk for item in left for sighting in item.taken))
        removal.delete_evidence(tx, (item.state.pk for item in left), reporter)
        later = [(item, [seen for seen in item.kept if seen.reporter == reporter]) for item in left]
        removal.unrelate(tx, (item.state.id for item, own in later if not own), reporter)
        facts.put_evidence(tx, [found for item, own in later for found in self._folded(item.state, own)], self._names)
        batch = Batch(tx, self._names, [(item.state.id, item.state.indicator) for item in left])
        for item in left:
            batch.restate(item.state.id, self._restated(item, tx.now))
        batch.store()

    def _folded(self, state: IndicatorState, own: Iterable[StoredSighting]) -> list[tuple[int, Evidence]]:
        """What a reporter has said since, as evidence by source."""
        found: dict[str, Evidence] = {}
        kind = state.indicator.type
        for item in own:
            role = self._names.reporter(item.reporter).role
            known = found.get(item.source) or Evidence(item.reporter, role, item.source, mass_at=item.observed_at)
            found[item.source] = add_report(known, kind, _report(state, item))
        return [(state.pk, evidence) for evidence in found.values()]

    def _restated(self, item: "_Left", now: int) -> Restated:
        """What is said of an indicator beside its evidence, by the facts that are left, in the order they came.

        What forgotten sightings said in words is not told again: it may have been what is withdrawn.
        """
        metadata: dict[str, Any] = {}
        expires_at, tlp = _standing(item)
        last_seen = max((evidence.last_at for evidence in item.others), default=0)
        for at, said in _in_order(item):
            is_over = expires_at is not None and expires_at <= at
            if isinstance(said, Listing):
                expires_at = None if is_over else expires_at
                metadata = merge_metadata(metadata, facts.context_of(said))
                last_seen = max(last_seen, said.last_confirmed_at)
            elif said.kind is SightingKind.POSITIVE:
                expires_at = said.expires_at or (None if is_over else expires_at)
                metadata = merge_metadata(metadata, said.context) if said.describes else metadata
                tlp = said.tlp or tlp
                last_seen = max(last_seen, said.observed_at)
        since = self._keeping.unseen_since(now)
        if since is not None and last_seen < since and (expires_at is None or expires_at > now):
            ended = item.state.expires_at
            expires_at = ended if ended is not None and ended <= now else now
        screened = self._screener.screen(item.state.indicator, self._is_anonymised(item))
        return Restated(screened, metadata or None, expires_at, tlp)

    def _is_anonymised(self, item: "_Left") -> bool:
        """As recording has it: the first observation decides, unless a trusted reporter names the network.

        A listing does not say how it was spelled: where only listings are left, what was hidden stays hidden; likewise
        where the first observation is forgotten.
        """
        hidden = item.state.withheld_code == ANONYMISED_CODE
        if not item.kept:
            return hidden
        explicit = (
            not seen.anonymised and seen.describes and self._names.reporter(seen.reporter).role in TRUSTED_ROLES
            for seen in item.kept
        )
        return (item.kept[0].anonymised or (hidden and item.has_forgotten)) and not any(explicit)


class _Left(NamedTuple):
    """An indicator with the sightings that are taken back, the facts that are left, and what others reported,
    as evidence that knows of forgotten ones too."""

    state: IndicatorState
    taken: list[StoredSighting]
    kept: list[StoredSighting]
    listed: list[Listing]
    others: list[Evidence]
    closed_before: int

    @property
    def has_forgotten(self) -> bool:
        """Whether others said of it what is not stored any more."""
        return any(item.first_at < self.closed_before for item in self.others)


def _standing(item: _Left) -> tuple[int | None, str | None]:
    """The end and the marking that stand where it is forgotten who gave them, unless it was what is taken back."""
    if not item.has_forgotten:
        return None, None
    expires_at, tlp = item.state.expires_at, item.state.tlp
    ends, markings = {seen.expires_at for seen in item.taken}, {seen.tlp for seen in item.taken}
    return None if expires_at in ends else expires_at, None if tlp in markings else tlp


def _in_order(item: _Left) -> list[tuple[int, StoredSighting | Listing]]:
    found: list[tuple[int, StoredSighting | Listing]] = [(seen.received_at, seen) for seen in item.kept]
    found += [(listing.last_confirmed_at, listing) for listing in item.listed]
    return sorted(found, key=lambda pair: pair[0])


def _report(state: IndicatorState, item: StoredSighting) -> Report:
    return Report(
        state.indicator,
        state.id,
        item.anonymised,
        item.source,
        item.observed_at,
        item.kind,
        item.category,
        item.severity,
        item.confidence,
        item.context,
        item.expires_at,
        item.tlp,
    )
