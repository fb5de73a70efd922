"""The audit ledger's table: appended to inside the unit of work it records."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from threatcloud.domain.audit import GENESIS, AuditEntry, digest_details, next_link
from threatcloud.storage.driver import Connection, Transaction

_COLUMNS = "e.seq, e.at, e.action, e.resource, e.api_key, e.ip, e.details_digest, e.link, d.salt, d.details"
_VERIFY_PAGE_ROWS = 5_000


class Act(NamedTuple):
    """Who did what: ``api_key`` is the mask of the key, ``ip`` the client's address, both may be empty."""

    action: str
    resource: str
    api_key: str
    ip: str
    details: Mapping[str, Any]


def append(tx: Transaction, secret: bytes, act: Act) -> None:
    """Adds an entry to the chain; it is stored or lost together with the unit."""
    append_all(tx, secret, [act])


def append_all(tx: Transaction, secret: bytes, acts: Sequence[Act]) -> None:
    """Adds an entry for each act, in their order."""
    newest = tx.db.row("SELECT link FROM audit_entry ORDER BY seq DESC LIMIT 1")
    link = newest[0] if newest else GENESIS
    entries: list[tuple[Any, ...]] = []
    details: list[tuple[bytes, str]] = []
    for act in acts:
        salt, text = secrets.token_bytes(16), msgspec.json.encode(act.details).decode()
        digest = digest_details(salt, text)
        link = next_link(secret, link, tx.now, act.action, act.resource, act.api_key, act.ip, digest)
        entries.append((tx.now, act.action, act.resource, act.api_key, act.ip, digest, link))
        details.append((salt, text))
    tx.db.run_many(
        "INSERT INTO audit_entry (at, action, resource, api_key, ip, details_digest, link) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        entries,
    )
    first = last_seq(tx.db) - len(acts) + 1
    tx.db.run_many(
        "INSERT INTO audit_detail (seq, salt, details) VALUES (?, ?, ?)",
        [(first + place, *detail) for place, detail in enumerate(details)],
    )


def first_since(db: Connection, since: int) -> int:
    """The number of the first entry at or after a time, one past the last when there is none.

    Times never fall from one number to the next: half of those that are left are ruled out at each step.
    """
    low, high = 1, last_seq(db) + 1
    while low < high:
        middle = (low + high) // 2
        row = db.row("SELECT at FROM audit_entry WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,))
        if row is not None and row[0] < since:
            low = middle + 1
        else:
            high = middle
    return low


def page(
    db: Connection, action: str | None, first_seq: int, before_seq: int | None, offset: int, limit: int
) -> list[AuditEntry]:
    """Entries from one number on, newest first."""
    where, params = _filter(action, first_seq)
    if before_seq is not None:
        where, params = f"{where} AND e.seq < ?", [*params, before_seq]
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM audit_entry e LEFT JOIN audit_detail d ON d.seq = e.seq WHERE {where} "
        "ORDER BY e.seq DESC LIMIT ? OFFSET ?",
        (*params, limit, offset),
    )
    return [AuditEntry(*row) for row in rows]


def count(db: Connection, action: str | None, first_seq: int) -> int:
    """How many entries a page is a part of; no number is left out."""
    if action is None:
        return last_seq(db) - first_seq + 1
    where, params = _filter(action, first_seq)
    row = db.row(f"SELECT count(*) FROM audit_entry e WHERE {where}", params)
    return int(row[0]) if row else 0


def walk(db: Connection) -> Iterator[AuditEntry]:
    """Every entry, oldest first, a few thousand at a time."""
    after = 0
    while True:
        rows = db.rows(
            f"SELECT {_COLUMNS} FROM audit_entry e LEFT JOIN audit_detail d ON d.seq = e.seq WHERE e.seq > ? "
            "ORDER BY e.seq LIMIT ?",
            (after, _VERIFY_PAGE_ROWS),
        )
        if not rows:
            return
        yield from (AuditEntry(*row) for row in rows)
        after = rows[-1][0]


def naming(db: Connection, texts: Sequence[str], after_seq: int) -> list[int]:
    """The entries after one whose details hold any of the texts, as JSON strings of their own."""
    quoted = [msgspec.json.encode(text).decode() for text in texts]
    any_of = " OR ".join(["instr(details, ?) > 0"] * len(quoted))
    rows = db.rows(f"SELECT seq FROM audit_detail WHERE seq > ? AND ({any_of}) ORDER BY seq", (after_seq, *quoted))
    return [row[0] for row in rows]


def last_seq(db: Connection) -> int:
    """The number of the newest entry, 0 when there is none."""
    row = db.row("SELECT max(seq) FROM audit_entry")
    return int(row[0] or 0) if row else 0


def erase_details(tx: Transaction, entries: Iterable[int]) -> None:
    """Takes the details of entries away; the chain stands on their digests."""
    tx.db.run_many("DELETE FROM audit_detail WHERE seq = ?", [(seq,) for seq in entries])


def _filter(action: str | None, first_seq: int) -> tuple[str, list[Any]]:
    where, params = "e.seq >= ?", [first_seq]
    return (where, params) if action is None else (f"{where} AND e.action = ?", [first_seq, action])
