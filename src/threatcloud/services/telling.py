"""Requests that tell of indicators, as the writer takes them: those that wait together are recorded as one batch.

Each has its own answer and its own entry in the audit ledger, and finds what it would have found alone: two that speak
of the same indicator, or repeat one another, are recorded one after the other.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import DomainError
from threatcloud.services.pacing import Pace
from threatcloud.services.recording import Prepared, Recorded, record_reports
from threatcloud.storage import facts, ledger
from threatcloud.storage.driver import Transaction
from threatcloud.storage.ledger import Act
from threatcloud.storage.names import Names, Reporter
from threatcloud.storage.store import Store

A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")


class Telling(Protocol[A_co]):
    """One request: who tells what, and what it is answered."""

    @property
    def caller(self) -> Caller:
        """Who tells it."""

    @property
    def prepared(self) -> Sequence[Prepared]:
        """The reports it makes."""

    def touches(self) -> Iterable[Hashable]:
        """What it must not meet another request over."""

    def settled(self, tx: Transaction) -> A_co | DomainError | None:
        """The answer where nothing is to be recorded; None: go on."""

    def concluded(self, tx: Transaction, recorded: Mapping[bytes, Recorded], first_sighting: int) -> tuple[A_co, Act]:
        """The answer once it is recorded, and what the ledger says of it; its sightings are numbered from the first."""


class Recorder:
    """Records what is told."""

    def __init__(self, store: Store, names: Names, audit_secret: bytes, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._names = names
        self._audit_secret = audit_secret

    async def record(self, telling: Telling[A]) -> A:
        """The answer, once all of it is durable; raises what ``settled`` gives as an error."""
        self._pace.note(len(telling.prepared))
        answer: A = await self._store.write_jointly(self._record, telling, len(telling.prepared))
        return answer

    def _record(self, tx: Transaction, tellings: Sequence[Telling[Any]]) -> list[Any]:
        answers: dict[int, Any] = {}
        for turn in turns([telling.touches() for telling in tellings]):
            self._record_turn(tx, {place: tellings[place] for place in turn}, answers)
        return [answers[place] for place in range(len(tellings))]

    def _record_turn(self, tx: Transaction, turn: Mapping[int, Telling[Any]], answers: dict[int, Any]) -> None:
        reporters: dict[Caller, Reporter] = {}
        told: list[tuple[int, Telling[Any]]] = []
        for place, telling in turn.items():
            answer = telling.settled(tx)
            if answer is not None:
                answers[place] = answer
                continue
            told.append((place, telling))
            caller = telling.caller
            if caller not in reporters:
                reporters[caller] = self._names.ensure_reporter(tx, caller.reporter, caller.role)
        said = [(reporters[telling.caller], item) for _, telling in told for item in telling.prepared]
        recorded = record_reports(tx, self._names, said) if said else {}
        first = facts.last_sighting(tx.db) - len(said) + 1
        acts: list[Act] = []
        for place, telling in told:
            answers[place], act = telling.concluded(tx, recorded, first)
            acts.append(act)
            first += len(telling.prepared)
        ledger.append_all(tx, self._audit_secret, acts)


def turns(touched: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """Places in as few turns as it takes, so that no two of a turn touch the same and who came first has it first."""
    found: list[list[int]] = []
    free_from: dict[Hashable, int] = {}
    for place, things in enumerate(touched):
        touches = set(things)
        turn = max((free_from.get(thing, 0) for thing in touches), default=0)
        if turn == len(found):
            found.append([])
        found[turn].append(place)
        free_from.update(dict.fromkeys(touches, turn + 1))
    return found
