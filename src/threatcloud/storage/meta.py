"""Small named values."""

from threatcloud.storage.driver import Connection, Transaction


def find(db: Connection, name: str) -> str | None:
    """The value of this name, or None."""
    row = db.row("SELECT value FROM meta WHERE name = ?", (name,))
    return row[0] if row else None


def put(tx: Transaction, name: str, value: str) -> None:
    """Keeps a value, in place of the one of the same name."""
    tx.db.run(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
