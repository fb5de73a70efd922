"""Whatever is removed in whatever order, what stays is what the remaining facts alone say."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import Engine, Place
from tests.services.truth import (
    REPORTERS,
    SUBJECTS,
    check_log,
    check_rollups,
    check_state,
    histories,
)
from tests.services.truth import System as Recording
from threatcloud.domain.access import ALL_SCOPES, Caller
from threatcloud.domain.indicator import Indicator, indicator_key
from threatcloud.domain.metadata import gathered, merge_metadata
from threatcloud.domain.report import Role
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import DAY_MS, HOUR_MS
from threatcloud.services.erasure import Erasure
from threatcloud.services.holding import Holding
from threatcloud.services.publishing import Publisher
from threatcloud.services.retention import Keeping, Retention
from threatcloud.services.screening import Screened
from threatcloud.services.withdrawal import Withdrawing
from threatcloud.storage import indicators, removal
from threatcloud.storage.driver import Connection
from threatcloud.storage.names import Names

KEEPING = Keeping(30, 10)
ADMIN = Caller("key:admin", Role.OPERATOR, ALL_SCOPES, "mask", "127.0.0.1")


class Retained(NamedTuple):
    """Time passes, and the retention job runs."""

    after_ms: int


class Erased(NamedTuple):
    subject: int


class Withdrawn(NamedTuple):
    """What a reporter contributed is withdrawn, the first units of it only where it is killed."""

    reporter: int


REMOVALS = st.one_of(
    st.builds(Retained, st.integers(0, 50 * DAY_MS)),
    st.builds(Erased, st.integers(0, len(SUBJECTS) - 1)),
    st.builds(Withdrawn, st.integers(0, 4)),
)


@st.composite
def _stories(draw: st.DrawFn) -> list[Any]:
    """Histories of reports with removals in between."""
    steps: list[Any] = []
    for history in draw(st.lists(histories(), min_size=1, max_size=3)):
        steps += [*history, *draw(st.lists(REMOVALS, min_size=1, max_size=3))]
    return steps


class Desk:
    """Knows every key by the name of its lineage."""

    async def lineage(self, key_id: str) -> str | None:
        return key_id


class FixedScreener:
    """Finds of the subjects of these tests what they are said to be."""

    def screen(self, indicator: Indicator, anonymised: bool) -> Screened:
        return dict(SUBJECTS)[indicator]


class System(Recording):
    """A store with everything that removes, and the indicators there are to be."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        now: Any = lambda: self.now  # noqa: E731 - a clock
        self.holding = Holding(self.store, b"secret")
        self.retention = Retention(self.store, self.names, KEEPING, self.holding, now)
        publisher = Publisher(self.store, now)
        self.erasure = Erasure(self.store, self.names, publisher, b"secret")
        screener: Any = FixedScreener()
        desk: Any = Desk()
        self.withdrawing = Withdrawing(self.store, self.names, screener, desk, b"secret", KEEPING)

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def apply(self, step: Any) -> None:
        if isinstance(step, Retained):
            self.now += step.after_ms
            self._retain()
        elif isinstance(step, Erased):
            self._erase(step.subject)
        elif isinstance(step, Withdrawn):
            self._withdraw(step.reporter)
        else:
            super().apply(step)

    def _state(self, subject: int) -> IndicatorState | None:
        key = indicator_key(*SUBJECTS[subject][0])
        return self.read(lambda db: indicators.find(db, key, self.names))

    def _retain(self) -> None:
        before = self.now - KEEPING.retention_days * DAY_MS
        self.run(self.holding.settle())
        self.run(self.retention.end_unseen())
        for subject, ends_at in self.expires.items():
            state = self._state(subject)
            assert state is not None
            last_seen = max(fact.last_at for fact in self.facts(state.pk) if fact.is_positive)
            if last_seen < before and (ends_at is None or ends_at > self.now):
                assert self.now <= (state.expires_at or 0) <= self.now + 100  # no two commits are of one time
                self.expires[subject] = state.expires_at
                self._judge([subject], state.expires_at or 0)
        self.run(self.retention.purge())
        over = self.now - KEEPING.grace_days * DAY_MS
        for subject in [subject for subject, ends_at in self.expires.items() if ends_at and ends_at < over]:
            assert self._state(subject) is None
            del self.expires[subject]

    def _erase(self, subject: int) -> None:
        if subject in self.expires:
            self.run(self.erasure.erase(SUBJECTS[subject][0].value, ADMIN))
            del self.expires[subject]

    def _withdraw(self, reporter: int) -> None:
        name = REPORTERS[reporter][0]
        row = self.read(lambda db: removal.find_reporter(db, name))
        states = {subject: state for subject in self.expires if (state := self._state(subject))}
        touched = {
            subject: self._standing_end(state, row)
            for subject, state in states.items()
            if any(fact.reporter == row for fact in self.facts(state.pk))
        }
        done = self.run(self.withdrawing.withdraw(name.removeprefix("key:"), ADMIN))
        assert not done.pending
        assert self.read(lambda db: db.rows("SELECT 1 FROM sighting WHERE reporter = ?", (row,))) == []
        assert self.read(lambda db: db.rows("SELECT 1 FROM evidence WHERE reporter = ?", (row,))) == []
        for subject, ends_at in touched.items():
            state = self._state(subject)
            if state is None:
                del self.expires[subject]
            else:
                self._restate(subject, state, ends_at)

    def _standing_end(self, state: IndicatorState, reporter: Any) -> int | None:
        """The end of an indicator that stands when a reporter is withdrawn, where it is forgotten who gave it."""
        return None

    def _restate(self, subject: int, state: IndicatorState, ends_at: int | None) -> None:
        """The metadata that the remaining facts give, and the end: theirs, or that of retention."""
        events = self.read(lambda db: told(db, state.pk))
        metadata: dict[str, Any] = {}
        for said in events:
            ends_at = said.ends_at or (None if ends_at is not None and ends_at <= said.at else ends_at)
            metadata = merge_metadata(metadata, said.metadata)
        assert state.metadata == (metadata or None)
        is_unseen = state.last_seen < state.updated_at - KEEPING.retention_days * DAY_MS
        if is_unseen and (ends_at is None or ends_at > state.updated_at):
            assert state.expires_at is not None
            assert state.expires_at <= state.updated_at
        else:
            assert state.expires_at == ends_at
        self.expires[subject] = state.expires_at
        self._judge([subject], state.updated_at)


class Told(NamedTuple):
    """What a positive sighting or listing says beside its evidence."""

    at: int
    ends_at: int | None
    metadata: Mapping[str, Any]


def told(db: Connection, pk: int) -> list[Told]:
    """What positive sightings and listings say of an indicator, in the order of receipt."""
    rows = db.rows(
        "SELECT received_at, expires_at, describes, context, pk FROM sighting WHERE indicator = ? "
        "AND kind = 'positive' UNION ALL SELECT last_confirmed_at, NULL, 0, NULL, 0 FROM listing WHERE indicator = ? "
        "ORDER BY received_at, pk",
        (pk, pk),
    )
    return [Told(at, ends_at, msgspec.json.decode(text) if text and own else {}) for at, ends_at, own, text, _ in rows]


def check(system: Recording) -> None:
    """All that is stored against what the facts say; and that nothing else is stored."""
    names = Names()
    system.read(names.load)
    keys = {indicator_key(*SUBJECTS[subject][0]): subject for subject in system.expires}
    every = system.read(lambda db: [row[0] for row in db.rows("SELECT id FROM indicator")])
    assert set(every) == keys.keys()
    states = list(system.read(lambda db: indicators.find_many(db, every, names)).values())
    facts = {state.pk: system.facts(state.pk) for state in states}
    for state in states:
        check_state(system, keys[state.id], state, facts[state.pk])
    check_rollups(system, states, facts)
    check_traits(system)
    check_log(system, states)
    stored = {state.pk for state in states}
    for table in ("sighting", "listing", "evidence", "label", "network"):
        found = system.read(lambda db, table=table: db.rows(f"SELECT DISTINCT indicator FROM {table}"))  # type: ignore[misc]
        assert {row[0] for row in found} <= stored, table


def check_traits(system: Recording) -> None:
    """Countries, ports and techniques by hour and category, counted report by report."""
    found = Counter({(hour, *key): n for (table, hour, key), n in system.closed.items() if table == "rollup_trait"})
    for at, *said in system.read(
        lambda db: db.rows(
            "SELECT observed_at, category, country, context FROM sighting WHERE kind = 'positive' AND observed_at >= ?",
            (system.closed_before,),
        )
    ):
        found.update((at // HOUR_MS, *trait) for trait in traits(*said))
    rows = system.read(lambda db: db.rows("SELECT hour, category, kind, value, sightings FROM rollup_trait"))
    assert {row[:4]: row[4] for row in rows if row[4]} == found


def traits(category: str | None, country: str | None, context: str | None) -> list[tuple[str, str, str]]:
    """What a sighting counts for in ``rollup_trait``."""
    said = msgspec.json.decode(context) if context else {}
    found = [("country", country)] if country else []
    found += [("port", str(port)) for port in gathered(said, "ports")]
    found += [("technique", technique) for technique in gathered(said, "mitreIds")]
    return [(category or "uncategorized", *trait) for trait in found]


@settings(max_examples=40, deadline=None)  # each has a database of its own: half a second on PostgreSQL
@given(_stories())
def test_what_stays_is_what_the_remaining_facts_say(module_engine: Engine, story: list[Any]) -> None:
    with module_engine.fresh() as place, System(place) as system:
        for step in story:
            system.apply(step)
            check(system)
