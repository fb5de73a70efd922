"""The operator's allowlist: its entries, and the list they make as of any unit of work.

An entry whose stored indicators are too many for one unit of work is *unsettled* until all have been told. One that
was removed stays until then, so that a restart knows what is left to do; it is not in effect and not shown.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.allow_entry import AllowEntry, allowlist_of
from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage import meta
from threatcloud.storage.driver import Connection, Row, Transaction

_COLUMNS: Final = "pk, type, value, note, created_at, created_by, expires_at"
_VERSION: Final = "allowlist"
_ADDED: Final = "added"
_REMOVED: Final = "removed"
_SHOWN: Final = f"coalesce(unsettled, '') <> '{_REMOVED}'"


class StoredEntry(NamedTuple):
    """An entry as stored; ``created_by`` is the mask of the key that first allowed it."""

    pk: int
    entry: AllowEntry
    note: str | None
    created_at: int
    created_by: str
    expires_at: int | None


class CurrentAllowlist:
    """The list in effect, kept as it was last read. Used in units of work, so by one thread at a time."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._allowlist = allowlist_of(())

    def current(self, db: Connection) -> Allowlist:
        """The list as this connection sees it now, changes of its own unit of work included."""
        version = version_of(db)
        if version != self._version:
            rows = db.rows(f"SELECT type, value FROM allowlist WHERE {_SHOWN}")
            self._allowlist = allowlist_of(AllowEntry(IndicatorType.from_code(code), value) for code, value in rows)
            self._version = version
        return self._allowlist


def version_of(db: Connection) -> str | None:
    """What differs whenever the list does; None before it ever had an entry."""
    return meta.find(db, _VERSION)


def put(tx: Transaction, new: StoredEntry, *, is_settled: bool) -> bool:
    """Stores an entry (its ``pk`` does not count), or renews note and expiry of a known one; whether it was known."""
    entry = new.entry
    known = find(tx.db, entry.key) is not None
    tx.db.run(
        "INSERT INTO allowlist (id, type, value, note, created_at, created_by, expires_at, unsettled) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET note = excluded.note, "
        "expires_at = excluded.expires_at, unsettled = excluded.unsettled",
        (entry.key, entry.type.code, entry.value, *new[2:], None if is_settled else _ADDED),
    )
    _renew(tx)
    return known


def remove(tx: Transaction, entries: Iterable[AllowEntry], *, is_settled: bool) -> None:
    """Takes entries out of effect."""
    keys = [(entry.key,) for entry in entries]
    if is_settled:
        tx.db.run_many("DELETE FROM allowlist WHERE id = ?", keys)
    else:
        tx.db.run_many(f"UPDATE allowlist SET unsettled = '{_REMOVED}' WHERE id = ?", keys)
    _renew(tx)


def settle(tx: Transaction, entries: Iterable[AllowEntry]) -> None:
    """Notes that every stored indicator knows of these entries' coming or going."""
    keys = [(entry.key,) for entry in entries]
    tx.db.run_many(f"DELETE FROM allowlist WHERE id = ? AND unsettled = '{_REMOVED}'", keys)
    tx.db.run_many("UPDATE allowlist SET unsettled = NULL WHERE id = ?", keys)


def _renew(tx: Transaction) -> None:
    # Random, since a counter would come to the same figure again after a unit that rolled back.
    meta.put(tx, _VERSION, secrets.token_hex(8))


def find(db: Connection, key: bytes) -> StoredEntry | None:
    """The entry with this key, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM allowlist WHERE id = ? AND {_SHOWN}", (key,))
    return _stored(row) if row else None


def count(db: Connection) -> int:
    """How many entries there are."""
    row = db.row(f"SELECT count(*) FROM allowlist WHERE {_SHOWN}")
    return int(row[0]) if row else 0


def page(db: Connection, before_pk: int, offset: int, limit: int) -> list[StoredEntry]:
    """Entries before a row number, newest first."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM allowlist WHERE pk < ? AND {_SHOWN} ORDER BY pk DESC LIMIT ? OFFSET ?",
        (before_pk, limit, offset),
    )
    return [_stored(row) for row in rows]


def expired(db: Connection, now: int, most: int) -> list[StoredEntry]:
    """Entries in effect whose expiry has come."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM allowlist WHERE expires_at <= ? AND expires_at IS NOT NULL AND {_SHOWN} LIMIT ?",
        (now, most),
    )
    return [_stored(row) for row in rows]


def unsettled(db: Connection, most: int) -> Sequence[AllowEntry]:
    """Entries that came or went and whose stored indicators have not all been told."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM allowlist WHERE unsettled IS NOT NULL LIMIT ?", (most,))
    return [_stored(row).entry for row in rows]


def _stored(row: Row) -> StoredEntry:
    return StoredEntry(row[0], AllowEntry(IndicatorType.from_code(row[1]), row[2]), *row[3:])
