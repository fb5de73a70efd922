"""API keys: only keyed digests, never a key."""

from threatcloud.domain.access import KeyInfo, Scope
from threatcloud.domain.report import Role
from threatcloud.storage.driver import Connection, Row, Transaction

_COLUMNS = "id, lineage, name, mask, scopes, role, created_at, expires_at, revoked_at, org"
TOPIC = "keys"


def all_keys(db: Connection) -> list[tuple[bytes, KeyInfo]]:
    """Every key ever made with its digest, oldest first."""
    rows = db.rows(f"SELECT {_COLUMNS}, digest FROM api_key ORDER BY created_at, id")
    return [(row[10], _info(row)) for row in rows]


def find_key(db: Connection, key_id: str) -> KeyInfo | None:
    """The key of this id, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM api_key WHERE id = ?", (key_id,))
    return _info(row) if row else None


def add_key(tx: Transaction, digest: bytes, key: KeyInfo) -> None:
    """Stores a new key."""
    scopes = "+".join(sorted(key.scopes))
    tx.db.run(
        f"INSERT INTO api_key ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*key[:4], scopes, key.role.value, key.created_at, key.expires_at, key.revoked_at, key.org, digest),
    )
    tx.announce(TOPIC)


def end_key(tx: Transaction, key_id: str, *, expires_at: int | None = None, revoked_at: int | None = None) -> None:
    """Gives a key an end: an expiry to come, or a revocation now."""
    tx.db.run(
        "UPDATE api_key SET expires_at = coalesce(?, expires_at), revoked_at = coalesce(?, revoked_at) WHERE id = ?",
        (expires_at, revoked_at, key_id),
    )
    tx.announce(TOPIC)


def _info(row: Row) -> KeyInfo:
    scopes = frozenset(Scope(word) for word in row[4].split("+"))
    return KeyInfo(row[0], row[1], row[2], row[3], scopes, Role(row[5]), *row[6:10])
