"""Names in memory and in the table: what a unit that rolled back has left in memory misleads nobody."""

import pytest

from tests.storage.conftest import Database, make_state
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import Role
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names


class Refused(Exception):
    """What a unit of these tests raises."""


def roll_back(database: Database, *sources: str, reporter: str | None = None) -> None:
    """Names are used by a unit that then fails."""

    def work(tx: Transaction) -> None:
        database.names.ensure_sources(tx, sources)
        if reporter is not None:
            database.names.ensure_reporter(tx, reporter, Role.OPERATOR)
        raise Refused

    with pytest.raises(Refused):
        database.write(work)


def test_sources_both_ways(database: Database) -> None:
    database.sources("a", "b", "a")
    for name in ("a", "b"):
        assert database.names.source(database.names.source_pk(name)) == name
    assert database.rows("SELECT name FROM source ORDER BY name") == [("a",), ("b",)]
    again = Names()
    database.read(again.load)
    assert again.source_pk("b") == database.names.source_pk("b")


def test_a_source_that_was_rolled_back_is_made_when_it_is_used_again(database: Database) -> None:
    roll_back(database, "lost")
    database.sources("lost")
    assert database.rows("SELECT pk, name FROM source") == [(database.names.source_pk("lost"), "lost")]


def test_a_source_that_was_rolled_back_is_not_taken_for_the_one_that_got_its_number(database: Database) -> None:
    roll_back(database, "lost")
    database.sources("other")
    database.sources("lost")
    assert {name for _, name in database.rows("SELECT pk, name FROM source")} == {"lost", "other"}
    for pk, name in database.rows("SELECT pk, name FROM source"):
        assert (database.names.source_pk(name), database.names.source(pk)) == (pk, name)


def test_a_reporter_that_was_rolled_back_is_not_taken_for_the_one_that_got_its_number(database: Database) -> None:
    """Else a stranger would speak with an operator's weight, or the other way round."""
    roll_back(database, reporter="key:operator")
    stranger = database.write(lambda tx: database.names.ensure_reporter(tx, "block:192.0.2.0/24", Role.ANONYMOUS))
    operator = database.write(lambda tx: database.names.ensure_reporter(tx, "key:operator", Role.OPERATOR))
    assert stranger.pk != operator.pk
    assert database.names.reporter(stranger.pk) == stranger
    assert database.names.reporter(operator.pk) == operator
    assert database.rows("SELECT pk, name, role FROM reporter ORDER BY pk") == sorted([stranger, operator])


def test_lists_of_sources_are_those_of_the_table_after_a_rollback(database: Database) -> None:
    def work(tx: Transaction) -> None:
        database.names.ensure_sources(tx, ["lost"])
        database.names.sources_of(database.names.sources_text(("lost",)))
        raise Refused

    with pytest.raises(Refused):
        database.write(work)
    database.insert(make_state(1, source="other", sources=("other",)))
    database.insert(make_state(2, source="lost", sources=("lost", "other")))
    again = Names()
    database.read(again.load)
    for names in (database.names, again):
        for pk, sources in ((1, ("other",)), (2, ("lost", "other"))):
            text = database.value("SELECT sources FROM indicator WHERE pk = ?", pk)
            assert names.sources_of(text) == sources
    first = database.find(IndicatorType.IP, make_state(1).indicator.value)
    assert first is not None
    assert (first.source, first.sources) == ("other", ("other",))


def test_a_reporter_is_one_row(database: Database) -> None:
    pks = {database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.AGENT)).pk for _ in range(3)}
    database.reopen()
    pks.add(database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.AGENT)).pk)
    assert len(pks) == 1


def test_a_reporter_speaks_in_the_role_it_has_now(database: Database) -> None:
    """The operator takes rights away from a key in TC_API_KEYS and restarts: section 1.1 of the contract."""
    database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.OPERATOR))
    database.reopen()
    for role in (Role.COMMUNITY, Role.OPERATOR):
        reporter = database.do(database.names.ensure_reporter, "key:1", role)
        assert reporter == database.names.reporter(reporter.pk)
        assert (reporter.pk, reporter.role) == (1, role)
        assert database.value("SELECT role FROM reporter") == role


def test_a_role_that_was_rolled_back_is_not_kept(database: Database) -> None:
    database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.COMMUNITY))
    roll_back(database, reporter="key:1")
    reporter = database.write(lambda tx: database.names.ensure_reporter(tx, "key:1", Role.COMMUNITY))
    assert reporter.role is database.names.reporter(1).role is Role.COMMUNITY
