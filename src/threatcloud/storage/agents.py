"""Agents that asked for updates, and when they last did."""

from typing import NamedTuple

from threatcloud.storage.driver import Connection, Transaction


class Agent(NamedTuple):
    """One agent as it last showed itself."""

    id: str
    hostname: str | None
    version: str | None
    last_seen: int
    rule_version: str | None


_COLUMNS = "id, hostname, version, last_seen, rule_version"


def remember(tx: Transaction, agent: Agent) -> None:
    """Keeps the contact; what the agent did not say this time stays as it was."""
    tx.db.run(
        f"INSERT INTO agent ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "hostname = coalesce(excluded.hostname, agent.hostname), version = coalesce(excluded.version, agent.version), "
        "last_seen = excluded.last_seen, rule_version = coalesce(excluded.rule_version, agent.rule_version)",
        agent,
    )


def find(db: Connection, agent_id: str) -> Agent | None:
    """The agent of this id, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM agent WHERE id = ?", (agent_id,))
    return Agent(*row) if row else None


def page(db: Connection, after_id: str | None, offset: int, limit: int) -> list[Agent]:
    """Agents in order of id."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM agent WHERE id > ? ORDER BY id LIMIT ? OFFSET ?",
        (after_id or "", limit, offset),
    )
    return [Agent(*row) for row in rows]


def count(db: Connection) -> int:
    """How many agents are known."""
    row = db.row("SELECT count(*) FROM agent")
    return int(row[0]) if row else 0
