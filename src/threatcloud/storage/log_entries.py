"""Entries of logs that were taken in, so that reading a log again stores nothing twice, whenever that is."""

from collections.abc import Sequence

from threatcloud.storage.driver import Transaction

DIGEST_BYTES = 16


def take(tx: Transaction, reporter: int, digests: Sequence[bytes]) -> list[bool]:
    """Enters what a reporter's log says; tells of each entry, in order, whether it is new."""
    sql = "INSERT INTO log_entry (reporter, digest) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1"
    return [tx.db.row(sql, (reporter, digest)) is not None for digest in digests]
