"""The audit ledger's table: appended in order, read by page, checked as a whole, with or without its details."""

import json
from typing import Any

import pytest

from tests.clock import Clock
from tests.storage.conftest import Database
from threatcloud.domain.audit import ACTIONS, GENESIS, AuditEntry, verify_chain
from threatcloud.storage import ledger
from threatcloud.storage.driver import Transaction
from threatcloud.storage.ledger import Act

SECRET = b"s" * 32


def append(database: Database, *acts: Act) -> None:
    def work(tx: Transaction) -> None:
        for act in acts:
            ledger.append(tx, SECRET, act)

    database.write(work)


def act(number: int, **details: Any) -> Act:
    return Act(ACTIONS[number % 4], f"thing-{number}", "tc_a…wxyz", f"192.0.2.{number}", {"number": number, **details})


def page(database: Database, action: str | None = None, since: int = 0, **place: Any) -> list[AuditEntry]:
    where = {"before_seq": None, "offset": 0, "limit": 50, **place}
    return database.scan(lambda db: ledger.page(db, action, ledger.first_since(db, since), **where))


def count(database: Database, action: str | None = None, since: int = 0) -> int:
    return database.scan(lambda db: ledger.count(db, action, ledger.first_since(db, since)))


def problem(database: Database) -> str | None:
    return database.scan(lambda db: verify_chain(SECRET, ledger.walk(db))).problem


def test_an_entry_comes_back(database: Database, clock: Clock) -> None:
    append(database, act(1, note="é\n"))
    (entry,) = page(database)
    assert entry[:6] == (1, clock.now, ACTIONS[1], "thing-1", "tc_a…wxyz", "192.0.2.1")
    assert entry.details is not None
    assert json.loads(entry.details) == {"number": 1, "note": "é\n"}


def test_equal_acts_have_different_digests(database: Database) -> None:
    append(database, act(1), act(1))
    first, second = page(database)
    assert first.details == second.details
    assert first.details_digest != second.details_digest


def test_the_chain_holds_over_many_commits_and_pages(database: Database) -> None:
    for start in range(0, 6000, 1500):
        append(database, *(act(number % 250) for number in range(start, start + 1500)))
    verdict = database.scan(lambda db: verify_chain(SECRET, ledger.walk(db)))
    assert (verdict.entries, verdict.problem) == (6000, None)
    assert verdict.link == page(database, limit=1)[0].link


def test_an_empty_ledger(database: Database) -> None:
    assert page(database) == []
    assert count(database) == 0
    assert database.scan(lambda db: verify_chain(SECRET, ledger.walk(db))).link == GENESIS


@pytest.fixture
def filled(database: Database, clock: Clock) -> Database:
    """Forty entries, ten a second."""
    for number in range(40):
        clock.now += 100
        append(database, act(number))
    return database


@pytest.mark.parametrize("action", [None, *ACTIONS])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_walk_all_entries_newest_first(filled: Database, action: str | None, limit: int) -> None:
    expected = [number + 1 for number in reversed(range(40)) if action in (None, ACTIONS[number % 4])]
    found: list[AuditEntry] = []
    before: int | None = None
    while more := page(filled, action, before_seq=before, limit=limit):
        found += more
        before = more[-1].seq
    assert [entry.seq for entry in found] == expected
    by_number = [entry for offset in range(0, 40, limit) for entry in page(filled, action, offset=offset, limit=limit)]
    assert by_number == found
    assert count(filled, action) == len(expected)


def test_since_is_inclusive(filled: Database) -> None:
    times = [entry.at for entry in page(filled)]
    for since in (times[5], times[5] - 1, times[5] + 1, times[0] + 1, times[-1], 0):
        expected = [time for time in times if time >= since]
        assert [entry.at for entry in page(filled, since=since)] == expected
        assert count(filled, since=since) == len(expected)


def test_erased_details_read_as_none_and_the_chain_holds(filled: Database) -> None:
    filled.execute("DELETE FROM audit_detail WHERE seq % 3 = 0")
    assert problem(filled) is None
    assert [entry.seq for entry in page(filled) if entry.details is None] == list(range(39, 0, -3))
    assert all((entry.salt is None) == (entry.details is None) for entry in page(filled))


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_entry SET at = at + 1 WHERE seq = 7",
        "UPDATE audit_entry SET action = 'query' WHERE seq = 7",
        "UPDATE audit_entry SET resource = 'other' WHERE seq = 7",
        "UPDATE audit_entry SET api_key = '' WHERE seq = 7",
        "UPDATE audit_entry SET ip = '' WHERE seq = 7",
        "UPDATE audit_entry SET details_digest = ? WHERE seq = 7",
        "UPDATE audit_entry SET link = ? WHERE seq = 7",
        "UPDATE audit_detail SET details = '{}' WHERE seq = 7",
        "UPDATE audit_detail SET details = '{}', salt = ? WHERE seq = 7",
        "UPDATE audit_detail SET salt = ? WHERE seq = 7",
        "DELETE FROM audit_entry WHERE seq = 7",
        "UPDATE audit_entry SET seq = seq + 100 WHERE seq >= 7",
        "INSERT INTO audit_entry SELECT 41, at, action, resource, api_key, ip, details_digest, link FROM audit_entry "
        "WHERE seq = 40",
    ],
)
def test_tampering_with_the_table_is_found(filled: Database, tampering: str) -> None:
    assert problem(filled) is None
    filled.execute(tampering, *[bytes(32)] * tampering.count("?"))
    found = problem(filled)
    assert found is not None
    assert found.startswith(("entry 7: ", "entry 8: ", "entry 107: ", "entry 41: "))


def test_swapped_entries_are_found(filled: Database) -> None:
    columns = "at, action, resource, api_key, ip, details_digest, link"
    rows = {seq: row for seq, *row in filled.rows(f"SELECT seq, {columns} FROM audit_entry WHERE seq IN (7, 8)")}

    def swap(tx: Transaction) -> None:
        marks = ", ".join(f"{name} = ?" for name in columns.split(", "))
        tx.db.run_many(f"UPDATE audit_entry SET {marks} WHERE seq = ?", [(*rows[7], 8), (*rows[8], 7)])

    filled.write(swap)
    assert str(problem(filled)).startswith("entry 7: ")


def test_a_number_is_never_given_twice(filled: Database) -> None:
    """Who cuts off the end cannot have it grow back unseen: the next entry shows the gap."""
    filled.execute("DELETE FROM audit_entry WHERE seq > 38")
    append(filled, act(1))
    assert page(filled)[0].seq == 41
    assert problem(filled) == "entry 41: 2 entries before it are missing"
