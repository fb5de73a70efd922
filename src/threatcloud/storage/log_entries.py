"""Entries of logs that were taken in, so that reading a log again stores nothing twice, whenever that is."""

from collections.abc import Sequence

from threatcloud.storage.driver import Transaction

DIGEST_BYTES = 16


def take(tx: Transaction, entries: Sequence[tuple[int, bytes]]) -> list[bool]:
    """Enters what the logs of reporters say, by (reporter, digest); tells of each, in order, whether it is new."""
    sql = "INSERT INTO log_entry (reporter, digest) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1"
    return [tx.db.row(sql, entry) is not None for entry in entries]


def forget(tx: Transaction, reporter: int) -> None:
    """Forgets what was taken from a reporter's logs, so that it can be told again."""
    tx.db.run("DELETE FROM log_entry WHERE reporter = ?", (reporter,))
