"""A statement for many rows does what it does for one after the other, however an engine has them at once."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import Database
from threatcloud.domain.state import Status
from threatcloud.storage.driver import Transaction

WHOLE = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.booleans())
TEXT = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.sampled_from(Status))
SIGHTINGS = st.lists(
    st.tuples(st.integers(0, 3), WHOLE, TEXT, st.floats(allow_nan=False, allow_infinity=False), TEXT), max_size=12
)
INSERT = (
    "INSERT INTO listing (indicator, source, reporter, first_listed_at, last_confirmed_at, severity, category, "
    "confidence, context) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGE = (
    " ON CONFLICT (indicator, source) DO UPDATE SET reporter=listing.reporter + excluded.reporter, "
    "severity=excluded.severity, category=excluded.category, confidence=excluded.confidence, context=excluded.context"
)
UPDATE = "UPDATE listing SET context=?, severity=? WHERE indicator = ? AND source=?"
LISTED = "SELECT indicator, source, reporter, severity, category, confidence, context FROM listing ORDER BY 1, 2"


def written(database: Database, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]], *, at_once: bool) -> Any:
    def work(tx: Transaction) -> Any:
        tx.db.run("DELETE FROM listing")
        for sql, rows in statements:
            for some in [rows] if at_once else [[row] for row in rows]:
                tx.db.run_many(sql, some)
        return tx.db.rows(LISTED)

    return database.write(work)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIGHTINGS, SIGHTINGS, SIGHTINGS)
def test_many_rows_at_once_are_as_one_after_the_other(
    database: Database, put: list[Any], changed: list[Any], dropped: list[Any]
) -> None:
    rows = [(row[0], place % 3, 1, 5, 5, *row[1:]) for place, row in enumerate(put)]
    statements = [
        (INSERT + CHANGE, rows),
        (UPDATE, [(row[2], row[1], row[0], 1) for row in changed]),
        (INSERT + " ON CONFLICT DO NOTHING", [(*row[:5], 9, *row[6:]) for row in rows]),
        ("DELETE FROM listing WHERE source = ? AND indicator = ?", [(2, row[0]) for row in dropped]),
    ]
    assert written(database, statements, at_once=True) == written(database, statements, at_once=False)


def test_numbers_follow_the_order_of_the_rows(database: Database) -> None:
    def work(tx: Transaction) -> Any:
        tx.db.run_many("INSERT INTO source (name) VALUES (?)", [(f"of-{9 - place}",) for place in range(9)])
        return tx.db.rows("SELECT name FROM source WHERE name LIKE 'of-%' ORDER BY pk")

    assert database.write(work) == [(f"of-{9 - place}",) for place in range(9)]


def test_texts_that_become_the_same_are_one_after_the_other(database: Database) -> None:
    upsert = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    names = ["a", "b", "c\0", "c\u2400", "d"]
    database.write(lambda tx: tx.db.run_many(upsert, [(name, name) for name in names]))
    assert database.rows("SELECT value FROM meta WHERE name = 'c\u2400'") == [("c\u2400",)]
