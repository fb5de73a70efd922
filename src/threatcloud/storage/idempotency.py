"""Answers kept under an Idempotency-Key, so that a retry within a day is answered and not repeated."""

from typing import NamedTuple

from threatcloud.storage.driver import Connection, Transaction


class KeptAnswer(NamedTuple):
    """What was answered, and the digest of the request it answered."""

    request_digest: bytes
    answer: bytes


def find(db: Connection, reporter: str, key: str, since: int) -> KeptAnswer | None:
    """The answer a reporter got under a key since a time, or None."""
    row = db.row(
        "SELECT request_digest, answer FROM idempotency WHERE reporter = ? AND key = ? AND created_at >= ?",
        (reporter, key, since),
    )
    return KeptAnswer(*row) if row else None


def keep(tx: Transaction, reporter: str, key: str, kept: KeptAnswer) -> None:
    """Keeps an answer, in the unit of work that it reports."""
    tx.db.run(
        "INSERT INTO idempotency (reporter, key, request_digest, answer, created_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (reporter, key) DO UPDATE SET request_digest=excluded.request_digest, answer=excluded.answer, "
        "created_at=excluded.created_at",
        (reporter, key, *kept, tx.now),
    )


def mask(tx: Transaction, text: str, mask: str) -> None:
    """Puts a mask in the place of a text in every answer."""
    sought = text.encode()
    rows = tx.db.rows("SELECT answer, reporter, key FROM idempotency WHERE instr(answer, ?) > 0", (sought,))
    tx.db.run_many(
        "UPDATE idempotency SET answer = ? WHERE reporter = ? AND key = ?",
        [(answer.replace(sought, mask.encode()), *place) for answer, *place in rows],
    )


def forget_before(tx: Transaction, time_ms: int) -> None:
    """Drops answers kept before a time."""
    tx.db.run("DELETE FROM idempotency WHERE created_at < ?", (time_ms,))
