"""What bouncers were told, what stands on a list, and who spoke of an indicator since a time: on both engines."""

from tests.clock import NOW
from tests.storage.conftest import Database
from threatcloud.storage import bouncers, facts, feeds
from threatcloud.storage.bouncers import Told

DAY = 86_400_000


def test_what_a_bouncer_was_told_is_kept_and_replaced(database: Database) -> None:
    first = Told("v20260307.000001", "v20260307.000002", NOW, NOW)

    assert database.ask(bouncers.find, "key:a 192.0.2.1") is None
    for told in (first, first._replace(older="v20260307.000002")):
        database.do(bouncers.keep, "key:a 192.0.2.1", told, 0)
        assert database.ask(bouncers.find, "key:a 192.0.2.1") == told
    assert database.ask(bouncers.find, "key:a 192.0.2.2") is None


def test_who_was_told_nothing_for_long_is_forgotten(database: Database) -> None:
    for name, whole_at in (("old", NOW - 31 * DAY), ("new", NOW)):
        database.do(bouncers.keep, name, Told("v20260307.000001", "v20260307.000001", NOW, whole_at), NOW - 30 * DAY)

    assert database.ask(bouncers.find, "old") is None
    assert database.ask(bouncers.find, "new") is not None


def test_nothing_stands_and_nobody_spoke_where_nothing_is_stored(database: Database) -> None:
    assert database.ask(feeds.standing_among, [bytes(16)]) == []
    assert database.ask(facts.voices_since, 1, 0) == (0, 0)
    assert database.ask(facts.latest_sightings_of, 1, 0, 10, database.names) == []
