"""Replay of a history: who speaks, what is known, and that events stored together did not happen together."""

from tests.services.conftest import System
from threatcloud.domain.features import FeatureKind, kind_of
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import DAY_MS
from threatcloud.services.correlating import Correlator
from threatcloud.services.imports import ImportRow
from threatcloud.services.pacing import Pace
from threatcloud.services.replaying import EventChunk, EventRow, Replaying

START = 1_740_000_000_000


def chunk(numbers: range, reporter: str | None = "some body") -> EventChunk:
    """Events a day apart, each of an address of its own."""
    rows = [
        EventRow(
            ImportRow(IndicatorType.IP.code, f"91.{number}.1.1", category="c2", first_at=START + number * DAY_MS),
            "tweetfeed",
            reporter,
            number.to_bytes(16),
        )
        for number in numbers
    ]
    return EventChunk("run-1", rows)


def test_an_event_is_stored_once_by_each_who_tells_it(system: System) -> None:
    replaying = Replaying(system.store, system.names, Pace())
    assert system.run(replaying.store(chunk(range(5)))) == system.run(replaying.store(chunk(range(5, 10))))
    again = system.run(replaying.store(chunk(range(8, 12))))
    assert (again.stored, again.known, again.new, again.updated) == (2, 2, 2, 0)
    other = system.run(replaying.store(chunk(range(12), None)))
    assert (other.stored, other.known, other.new, other.updated) == (12, 0, 0, 12)
    assert system.rows("SELECT name, role FROM reporter ORDER BY name") == [
        ("feed:tweetfeed", "feed"),
        ("replay:some-body", "community"),
    ]
    assert system.rows("SELECT min(observed_at), max(observed_at), count(*) FROM sighting") == [
        (START, START + 11 * DAY_MS, 24)
    ]


def test_a_stranger_of_a_history_blocks_nobody_alone(system: System) -> None:
    recent = system.clock.now - DAY_MS
    made = chunk(range(3))
    rows = [
        EventRow(ImportRow(row.row.type_code, row.row.value, severity=4, confidence=1.0, first_at=recent), *rest)
        for row in made.rows
        for rest in [(row.source, row.reporter, row.digest)]
    ]
    system.run(Replaying(system.store, system.names, Pace()).store(EventChunk("run-1", rows)))
    assert system.rows("SELECT sum(shared), sum(listed) FROM indicator") == [(0, 0)]


def test_what_was_stored_together_was_not_published_together(system: System) -> None:
    replaying = Replaying(system.store, system.names, Pace())
    correlator = Correlator(system.store, system._screener, Pace())
    system.run(replaying.store(chunk(range(9))))
    system.run(correlator.run())
    kinds = {kind_of(key) for (key,) in system.rows("SELECT key FROM feature")}
    assert FeatureKind.SUBMISSION not in kinds
    system.report("91.77.1.1", "91.78.1.1")
    system.run(correlator.run())
    assert FeatureKind.SUBMISSION in {kind_of(key) for (key,) in system.rows("SELECT key FROM feature")}
