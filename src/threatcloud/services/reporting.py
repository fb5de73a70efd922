"""Reports and sightings in: checked off the database, stored in one unit of work, audited in the same one."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import Conflict, DomainError, InvalidInput, NotFound, Problem, invalid_items
from threatcloud.domain.indicator import canonical_observation, detect, indicator_key, public_id
from threatcloud.domain.report import Report, SightingKind, check_source
from threatcloud.domain.times import DAY_MS
from threatcloud.services.intake import Claim, Intake, checked, checked_metadata
from threatcloud.services.pacing import Pace
from threatcloud.services.recording import Prepared, Recorded
from threatcloud.services.screening import Screener
from threatcloud.services.telling import Recorder
from threatcloud.storage import idempotency, indicators
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.ledger import Act
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

MAX_BATCH: Final = 100
IDEMPOTENCY_MS: Final = DAY_MS
MAX_IDEMPOTENCY_KEY: Final = 255


class Submitted(msgspec.Struct, frozen=True):
    """The answer to a batch: how many items came, were new, updated something, their ids in order, and the refused."""

    received: int
    new: int
    updated: int
    ids: list[str]
    rejected: list[Problem]


class Retry(NamedTuple):
    """An Idempotency-Key with the digest of the request it came with."""

    key: str
    digest: bytes

    @classmethod
    def of(cls, key: str, *parts: bytes) -> "Retry":
        """The key for a request that consists of the parts."""
        if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not key.isprintable():
            raise InvalidInput(
                "Idempotency-Key: must be 1 to 255 printable characters",
                [Problem("Idempotency-Key", "must be 1 to 255 printable characters")],
            )
        return cls(key, hashlib.sha256(b"\0".join(parts)).digest())


class Wording(NamedTuple):
    """How a batch in a shape of its own calls what is wrong: its names of our fields, and an item's place.

    ``place`` holds ``{}`` for the position; it is empty where that is told beside the field only.
    """

    names: Mapping[str, str] = {}
    place: str = ""

    def tell(self, problem: Problem, position: int) -> Problem:
        """The problem of the item at a position, as the batch's sender would call it."""
        field = self.names.get(problem.field, problem.field)
        return Problem(self.place.format(position) + field, problem.reason, position)


OWN_WORDING: Final = Wording()


class Noted(NamedTuple):
    """The answer to a sighting."""

    pk: int
    value: str
    total_sightings: int
    reputation_change: int


class _Batch(NamedTuple):
    """A batch of reports on its way to the writer."""

    caller: Caller
    prepared: Sequence[Prepared]
    received: int
    rejected: list[Problem]
    retry: Retry | None

    def touches(self) -> Iterable[Hashable]:
        """Its indicators, and its Idempotency-Key."""
        again = [(self.caller.reporter, self.retry.key)] if self.retry else []
        return [*(item.report.key for item in self.prepared), *again]

    def settled(self, tx: Transaction) -> Submitted | DomainError | None:
        """What the same request was answered before, if it was."""
        try:
            return self.retry and _kept(tx.db, self.caller, self.retry, tx.now)
        except Conflict as conflict:
            return conflict

    def concluded(self, tx: Transaction, recorded: Mapping[bytes, Recorded], _: int) -> tuple[Submitted, Act]:
        """The counts, and the ids in the order of the reports."""
        keys = [item.report.key for item in self.prepared]
        touched = set(keys)
        new = sum(recorded[key].is_new for key in touched)
        answer = Submitted(self.received, new, len(touched) - new, list(map(public_id, keys)), self.rejected)
        if self.retry is not None:
            done = idempotency.KeptAnswer(self.retry.digest, msgspec.json.encode(answer))
            idempotency.keep(tx, self.caller.reporter, self.retry.key, done)
        details = {"received": self.received, "new": new, "updated": answer.updated, "rejected": len(self.rejected)}
        return answer, Act("create", "threats", self.caller.mask, self.caller.address, details)


class _Sight(NamedTuple):
    """A sighting on its way to the writer."""

    caller: Caller
    prepared: Sequence[Prepared]

    def touches(self) -> Iterable[Hashable]:
        """Its indicator."""
        return [self.prepared[0].report.key]

    def settled(self, tx: Transaction) -> Noted | DomainError | None:
        """NotFound when nobody reported the indicator."""
        report = self.prepared[0].report
        if indicators.exists(tx.db, report.key):
            return None
        return NotFound(f"{report.indicator.value} is not a known indicator; report it with POST /api/threats")

    def concluded(self, _: Transaction, recorded: Mapping[bytes, Recorded], sighting: int) -> tuple[Noted, Act]:
        """What it changed."""
        report = self.prepared[0].report
        kind, value = report.indicator
        found = recorded[report.key]
        change = found.state.reputation - found.reputation_before
        details = {"type": kind.value, "value": value, "kind": report.kind.value}
        act = Act("create", "sighting", self.caller.mask, self.caller.address, details)
        return Noted(sighting, value, found.state.sightings, change), act


def _kept(db: Connection, caller: Caller, retry: Retry, now: int) -> Submitted | None:
    """The answer this request got before, if it did; Conflict when the key came with another request."""
    kept = idempotency.find(db, caller.reporter, retry.key, now - IDEMPOTENCY_MS)
    if kept is None:
        return None
    if kept.request_digest != retry.digest:
        raise Conflict("this Idempotency-Key was used with another request")
    return msgspec.json.decode(kept.answer, type=Submitted)


class Reporting:
    """Takes reports and sightings."""

    def __init__(
        self, store: Store, names: Names, screener: Screener, audit_secret: bytes, clock: Clock, pace: Pace
    ) -> None:
        self._store = store
        self._screener = screener
        self._intake = Intake(screener)
        self._recorder = Recorder(store, names, audit_secret, pace)
        self._clock = clock

    async def submit(
        self,
        claims: Sequence[Claim | list[Problem]],
        caller: Caller,
        *,
        partial: bool = False,
        retry: Retry | None = None,
        wording: Wording = OWN_WORDING,
    ) -> Submitted:
        """Stores a batch, all of it or (``partial``) the good items of it.

        A claim that could not even be read comes as its problems. Raises InvalidInput naming every bad item, with
        nothing stored; Conflict when the Idempotency-Key was used with another body.
        """
        if retry is not None:
            kept = await self._store.read(lambda db: _kept(db, caller, retry, self._clock()))
            if kept is not None:
                return kept  # before the items are checked: what was good then may be too old now
        now = self._clock()
        prepared: list[Prepared] = []
        problems: list[Problem] = []
        for index, claim in enumerate(claims):
            made = claim if isinstance(claim, list) else self._intake.prepare(claim, now)
            if isinstance(made, list):
                problems += [wording.tell(problem, index) for problem in made]
            else:
                prepared.append(made)
        if problems and not (partial and prepared):
            raise invalid_items(problems, len(claims))
        return await self._recorder.record(_Batch(caller, prepared, len(claims), problems, retry))

    async def sight(
        self, value: str, source: str, kind: SightingKind, context: Mapping[str, Any], caller: Caller
    ) -> Noted:
        """Records that a known indicator was seen (or not seen, or is wrongly listed); NotFound when it is unknown."""
        indicator = detect(value)
        found = canonical_observation(*indicator)
        key = indicator_key(*indicator)
        report = Report(
            indicator,
            key,
            found.anonymised,
            checked("source", check_source, source),
            self._clock(),
            kind,
            metadata=checked("context", checked_metadata, context),
        )
        prepared = Prepared(report, self._screener.screen(indicator, found.anonymised), describes=False)

        return await self._recorder.record(_Sight(caller, [prepared]))
