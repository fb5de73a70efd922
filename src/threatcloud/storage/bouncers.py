"""What bouncers have been told of the blocklist."""

from typing import Final, NamedTuple

from threatcloud.storage.driver import Connection, Transaction

_MOST_FORGOTTEN: Final = 100


class Told(NamedTuple):
    """Where one stands: the next answer begins at the release ``older``; ``newer`` was told first at ``newer_at``.

    ``whole_at``: when it was told all that stands.
    """

    older: str
    newer: str
    newer_at: int
    whole_at: int


def find(db: Connection, name: str) -> Told | None:
    """What a bouncer was told; None for one that never asked."""
    row = db.row("SELECT older, newer, newer_at, whole_at FROM bouncer WHERE name = ?", (name,))
    return Told(*row) if row else None


def keep(tx: Transaction, name: str, told: Told, forget_before: int) -> None:
    """Keeps what a bouncer was told, and forgets some that were told nothing since a time."""
    tx.db.run(
        "INSERT INTO bouncer (name, older, newer, newer_at, whole_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET older = excluded.older, newer = excluded.newer, newer_at = excluded.newer_at, "
        "whole_at = excluded.whole_at",
        (name, *told),
    )
    rows = tx.db.rows(
        "SELECT name FROM bouncer WHERE whole_at < ? ORDER BY whole_at LIMIT ?", (forget_before, _MOST_FORGOTTEN)
    )
    tx.db.run_many("DELETE FROM bouncer WHERE name = ?", rows)
