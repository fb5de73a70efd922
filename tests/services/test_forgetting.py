"""Months of sightings are forgotten at any time between all else, and what is concluded is what it was with them."""

from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import Engine, Place
from tests.services.test_removal import REMOVALS, Erased, check, traits
from tests.services.test_removal import System as Removing
from tests.services.truth import Fact, Reported, Said, Seen, facts_of, histories
from threatcloud.domain.metadata import gathered
from threatcloud.domain.report import Role, SightingKind
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import DAY_MS, HOUR_MS, month_start
from threatcloud.services.forgetting import Forgetting
from threatcloud.storage import months
from threatcloud.storage.driver import Connection, Row

_SEEN = (
    "SELECT s.observed_at, i.type, s.category, s.country, s.context FROM sighting s JOIN indicator i "
    "ON i.pk = s.indicator WHERE s.kind = 'positive' AND "
)


class Forgotten(NamedTuple):
    """Time passes, and all but so many months of sightings are forgotten."""

    after_ms: int
    kept_months: int


_forgotten = st.builds(Forgotten, st.integers(0, 70 * DAY_MS), st.integers(1, 2))


@st.composite
def _stories(draw: st.DrawFn) -> list[Any]:
    """Histories, between which months are forgotten and something is removed, in whatever order."""
    steps: list[Any] = []
    for history in draw(st.lists(histories(), min_size=2, max_size=3)):
        between = [draw(_forgotten), *draw(st.lists(REMOVALS, min_size=1, max_size=2))]
        steps += [*history, *draw(st.permutations(between))]
    return steps


class System(Removing):
    """A store that forgets sightings, beside what a good memory would know of them."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.remembered: defaultdict[int, list[Fact]] = defaultdict(list)
        self._noted_pk = 0

    def facts(self, pk: int) -> list[Fact]:
        return self.remembered[pk] + super().facts(pk)

    def apply(self, step: Any) -> None:
        if isinstance(step, Forgotten):
            self.now += step.after_ms
            self._forget(step.kept_months)
        else:
            super().apply(step)
        self._note("s.observed_at < ? AND s.pk > ?", self.closed_before, self._noted_pk)  # what came late
        self._noted_pk = self.read(lambda db: (db.row("SELECT max(pk) FROM sighting") or (0,))[0]) or self._noted_pk

    def _forget(self, kept_months: int) -> None:
        before = max(self.closed_before, month_start(self.now, -kept_months))
        if before > self.closed_before:
            self._note("s.observed_at >= ? AND s.observed_at < ?", self.closed_before, before)
            for (pk,) in self.read(lambda db: db.rows("SELECT pk FROM indicator")):
                self.remembered[pk] += self.read(lambda db, pk=pk: _from_before(db, pk, before))  # type: ignore[misc]
        said = self.run(Forgetting(self.store, kept_months, lambda: self.now).run())
        assert bool(said) == (before > self.closed_before)
        if said:
            assert self.read(lambda db: db.rows("SELECT 1 FROM sighting WHERE observed_at < ?", (before,))) == []
        self.closed_before = before

    def _note(self, which: str, *params: int) -> None:
        """Counts for good what is in a closed month."""
        for row in self.read(lambda db: db.rows(_SEEN + which, params)):
            self.closed.update(_cells(row))

    def _withdraw(self, reporter: int) -> None:
        super()._withdraw(reporter)
        gone = {name for (name,) in self.read(lambda db: db.rows("SELECT DISTINCT reporter FROM evidence"))}
        for pk, facts in self.remembered.items():
            self.remembered[pk] = [fact for fact in facts if fact.reporter in gone]

    def _standing_end(self, state: IndicatorState, reporter: Any) -> int | None:
        others = [fact for fact in self.facts(state.pk) if fact.role is not Role.FEED and fact.reporter != reporter]
        if not any(fact.is_positive and fact.first_at < self.closed_before for fact in others):
            return None
        ends = self.read(
            lambda db: db.rows(
                "SELECT expires_at FROM sighting WHERE indicator = ? AND reporter = ?", (state.pk, reporter)
            )
        )
        return None if (state.expires_at,) in ends else state.expires_at


def _from_before(db: Connection, pk: int, time: int) -> list[Fact]:
    return [fact for fact in facts_of(db, pk) if fact.role is not Role.FEED and fact.first_at < time]


def _cells(row: Row) -> list[Seen]:
    at, type_code, category, country, context = row
    hour = at // HOUR_MS
    said = msgspec.json.decode(context) if context else {}
    return [
        Seen("rollup_hour", hour, (type_code, category or "uncategorized")),
        *(Seen("rollup_technique", hour, (technique,)) for technique in gathered(said, "mitreIds")),
        *(Seen("rollup_trait", hour, trait) for trait in traits(category, country, context)),
    ]


@settings(max_examples=20, deadline=None)
@given(_stories())
def test_what_is_concluded_is_what_was_ever_said(module_engine: Engine, story: list[Any]) -> None:
    with module_engine.fresh() as place, System(place) as system:
        for step in story:
            system.apply(step)
            check(system)


def test_what_a_kill_cut_short_is_completed_whatever_the_setting_is_then(engine: Engine) -> None:
    """And from the moment on at which a month is closed nothing of it is counted off, whether it is still stored."""
    said = Said(0, "manual", SightingKind.POSITIVE, 0, "c2", None, 0.9, {"port": 22}, None, True)
    with System(engine.place("test.db")) as system:
        system.apply(Reported(0, 0, [said] * 3))
        system.apply(Reported(0, 0, [said._replace(subject=1)]))
        system.now += 70 * DAY_MS
        before = month_start(system.now, -1)
        assert system.write(partial(months.close, time=before))
        system.apply(Erased(0))
        assert system.read(lambda db: db.rows("SELECT sum(sightings) FROM rollup_hour")) == [(4,)]

        job = Forgetting(system.store, 0, lambda: system.now)
        assert system.run(job.run()).startswith("sightings from before 2026-04 forgotten")
        assert system.read(lambda db: db.rows("SELECT 1 FROM sighting")) == []
        assert system.run(job.run()) == ""
        assert system.read(lambda db: db.rows("SELECT sum(sightings) FROM rollup_hour")) == [(4,)]
