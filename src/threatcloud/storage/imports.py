"""Imports: which ran, when, and what became of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from threatcloud.storage.driver import Transaction


def begin(tx: Transaction, run: str, source: str) -> None:
    """Enters an import that starts."""
    tx.db.run(
        "INSERT INTO import_run (id, source, started_at, summary) VALUES (?, ?, ?, '{}') ON CONFLICT DO NOTHING",
        (run, source, tx.now),
    )


def finish(tx: Transaction, run: str, summary: Mapping[str, Any]) -> None:
    """Enters its end."""
    tx.db.run(
        "UPDATE import_run SET finished_at = ?, summary = ? WHERE id = ?",
        (tx.now, msgspec.json.encode(summary).decode(), run),
    )
