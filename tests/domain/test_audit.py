"""The chain: whatever is done to a ledger by one who lacks the secret is found; what was erased on purpose is not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.audit import ACTIONS, GENESIS, AuditEntry, Verdict, digest_details, next_link, verify_chain

SECRET = b"s" * 32
texts = st.text(max_size=12)


def chain(count: int, secret: bytes = SECRET) -> list[AuditEntry]:
    """A ledger as the server would write it."""
    entries: list[AuditEntry] = []
    for seq in range(1, count + 1):
        said = (1_000 + seq, ACTIONS[seq % 4], f"resource {seq}", "tc_a…xyz", f"192.0.2.{seq}")
        salt, details = bytes([seq]) * 16, f'{{"seq":{seq}}}'
        digest = digest_details(salt, details)
        link = next_link(secret, entries[-1].link if entries else GENESIS, *said, digest)
        entries.append(AuditEntry(seq, *said, digest, link, salt, details))
    return entries


def erased(entry: AuditEntry) -> AuditEntry:
    return entry._replace(salt=None, details=None)


def test_an_empty_ledger_holds() -> None:
    assert verify_chain(SECRET, []) == Verdict(0, GENESIS, None)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_an_untouched_ledger_holds(count: int) -> None:
    entries = chain(count)
    assert verify_chain(SECRET, iter(entries)) == Verdict(count, entries[-1].link, None)


@given(st.sets(st.integers(0, 8)))
def test_erased_details_still_verify(places: set[int]) -> None:
    entries = [erased(entry) if place in places else entry for place, entry in enumerate(chain(9))]
    assert verify_chain(SECRET, entries) == Verdict(9, entries[-1].link, None)


CHANGES: dict[str, Any] = {
    "at": 7,
    "action": "query",
    "resource": "another",
    "api_key": "",
    "ip": "198.51.100.1",
    "details_digest": bytes(32),
    "link": bytes(32),
    "salt": bytes(16),
    "details": "{}",
}


@pytest.mark.parametrize("field", CHANGES)
@pytest.mark.parametrize("place", [0, 3, 8])
def test_a_changed_field_is_found(field: str, place: int) -> None:
    entries = chain(9)
    entries[place] = entries[place]._replace(**{field: CHANGES[field]})
    found = verify_chain(SECRET, entries)
    assert (found.entries, found.problem is None) == (place, False)
    assert f"entry {place + 1}: " in str(found.problem)
    assert found.link == (entries[place - 1].link if place else GENESIS)


@pytest.mark.parametrize("salt", [b"", b"\0", None])
def test_changed_details_are_found_whatever_stands_for_the_salt(salt: bytes | None) -> None:
    entries = chain(3)
    entries[1] = entries[1]._replace(details='{"seq":99}', salt=salt)
    assert verify_chain(SECRET, entries).problem == "entry 2: its details were changed"


def test_details_changed_with_their_digest_are_found() -> None:
    entries = chain(3)
    details = '{"seq":99}'
    entries[1] = entries[1]._replace(details=details, details_digest=digest_details(entries[1].salt or b"", details))
    assert verify_chain(SECRET, entries).entries == 1


def drop(entries: list[AuditEntry]) -> None:
    del entries[4]


def drop_and_renumber(entries: list[AuditEntry]) -> None:
    del entries[4]
    entries[4:] = [entry._replace(seq=entry.seq - 1) for entry in entries[4:]]


def drop_the_first(entries: list[AuditEntry]) -> None:
    del entries[0]


def swap(entries: list[AuditEntry]) -> None:
    entries[4], entries[5] = entries[5], entries[4]


def swap_and_renumber(entries: list[AuditEntry]) -> None:
    entries[4], entries[5] = entries[5]._replace(seq=5), entries[4]._replace(seq=6)


def insert_a_copy(entries: list[AuditEntry]) -> None:
    entries.insert(4, entries[4])


def insert_and_renumber(entries: list[AuditEntry]) -> None:
    entries.insert(4, entries[4])
    entries[5:] = [entry._replace(seq=entry.seq + 1) for entry in entries[5:]]


def insert_a_forged_one(entries: list[AuditEntry]) -> None:
    """As somebody does who knows the scheme and not the secret, and chains all that follows anew."""
    forged = chain(9, b"guessed" * 5)
    entries[4:] = forged[4:]


@pytest.mark.parametrize(
    "tamper",
    [
        drop,
        drop_and_renumber,
        drop_the_first,
        swap,
        swap_and_renumber,
        insert_a_copy,
        insert_and_renumber,
        insert_a_forged_one,
    ],
)
def test_a_changed_order_is_found(tamper: Callable[[list[AuditEntry]], None]) -> None:
    entries = chain(9)
    tamper(entries)
    found = verify_chain(SECRET, entries)
    assert found.problem is not None
    # The fifth entry itself still stands in its place when a copy of it follows.
    good = {"drop_the_first": 0, "insert_a_copy": 5, "insert_and_renumber": 5}
    assert found.entries == good.get(tamper.__name__, 4)


def test_another_secret_does_not_hold() -> None:
    found = verify_chain(b"t" * 32, chain(3))
    assert found == Verdict(0, GENESIS, "entry 1: it was changed, or the secret is another")


def test_how_many_are_missing_is_said() -> None:
    entries = chain(9)
    del entries[3:6]
    assert verify_chain(SECRET, entries) == Verdict(3, entries[2].link, "entry 7: 3 entries before it are missing")


@given(st.lists(texts, min_size=4, max_size=4), st.lists(texts, min_size=4, max_size=4))
def test_fields_cannot_run_into_one_another(one: list[str], other: list[str]) -> None:
    first, second = (next_link(SECRET, GENESIS, 1, a, b, c, d, bytes(32)) for a, b, c, d in (one, other))
    assert (first == second) == (one == other)


@given(st.binary(max_size=16), texts, st.binary(max_size=16), texts)
def test_the_salt_hides_equal_details(salt: bytes, details: str, other_salt: bytes, other: str) -> None:
    same = salt + details.encode() == other_salt + other.encode()
    assert (digest_details(salt, details) == digest_details(other_salt, other)) == same
