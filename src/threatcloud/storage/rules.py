"""Detection rules: the rules that are, and when one was last taken away from agents.

``published_at`` is the time of the commit that stored the rule as it is: who has read up to a time has seen all of it.
``entered_at`` is set for the rules agents get (ATR rules): since when they have been getting it without a break.
"""

from typing import Final, NamedTuple

from threatcloud.domain.rule import Rule
from threatcloud.storage.driver import Connection, Row, Transaction

TOPIC: Final = "rules"
_COLUMNS: Final = "pk, published_at, rule_id, content, source, authored_at"


class StoredRule(NamedTuple):
    """A rule with its row number and the time it was stored as it is."""

    pk: int
    published_at: int
    rule: Rule


class RuleDelta(NamedTuple):
    """The ATR rules stored after a time, oldest first; the ids of those among them that agents had already then; and
    the ids of those that left since and have not come back, in order."""

    rules: list[Rule]
    known: frozenset[str]
    removed: list[str]


def find(db: Connection, rule_id: str) -> StoredRule | None:
    """The rule of this id, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM rule WHERE rule_id = ?", (rule_id,))
    return _stored(row) if row else None


def page(db: Connection, since: int, after: tuple[int, int], offset: int, limit: int) -> list[StoredRule]:
    """Rules stored at or after a time and after a place (published_at, pk), oldest first."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM rule WHERE published_at >= ? AND (published_at > ? OR pk > ?) "
        "ORDER BY published_at, pk LIMIT ? OFFSET ?",
        (max(since, after[0]), *after, limit, offset),
    )
    return [_stored(row) for row in rows]


def count(db: Connection, since: int) -> int:
    """How many rules were stored at or after a time."""
    row = db.row("SELECT count(*) FROM rule WHERE published_at >= ?", (since,))
    return int(row[0]) if row else 0


def atr_since(db: Connection, since: int) -> list[StoredRule]:
    """Every ATR rule stored at or after a time, oldest first."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM rule WHERE entered_at IS NOT NULL AND published_at >= ? ORDER BY published_at, pk",
        (since,),
    )
    return [_stored(row) for row in rows]


def save(tx: Transaction, rule: Rule) -> None:
    """Stores a rule, in place of the one of the same id."""
    row = tx.db.row("SELECT entered_at FROM rule WHERE rule_id = ?", (rule.id,))
    entered_at = row[0] if row else None
    if rule.is_atr:
        entered_at = tx.now if entered_at is None else entered_at
    elif entered_at is not None:
        _leave(tx, rule.id, entered_at)
        entered_at = None
    tx.db.run(
        "INSERT INTO rule (rule_id, content, source, authored_at, published_at, entered_at) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (rule_id) DO UPDATE SET content = excluded.content, source = excluded.source, "
        "authored_at = excluded.authored_at, published_at = excluded.published_at, entered_at = excluded.entered_at",
        (*rule, tx.now, entered_at),
    )
    tx.announce(TOPIC)


def delete(tx: Transaction, rule_id: str) -> StoredRule | None:
    """Takes a rule away and gives it as it was; None when there is none."""
    known = find(tx.db, rule_id)
    row = tx.db.row("SELECT entered_at FROM rule WHERE rule_id = ?", (rule_id,))
    if known is None or row is None:
        return None
    if row[0] is not None:
        _leave(tx, rule_id, row[0])
    tx.db.run("DELETE FROM rule WHERE rule_id = ?", (rule_id,))
    tx.announce(TOPIC)
    return known


def last_change(db: Connection) -> int:
    """The time of the last change to what agents get, 0 when there never was one."""
    row = db.row(
        "SELECT (SELECT max(published_at) FROM rule WHERE entered_at IS NOT NULL), (SELECT max(gone_at) FROM rule_gone)"
    )
    return max(int(at or 0) for at in row) if row else 0


def delta_after(db: Connection, after: int) -> RuleDelta:
    """What changed for agents after a time; what came and went again is among the removed."""
    rows = db.rows(
        f"SELECT {_COLUMNS}, entered_at <= ? OR EXISTS (SELECT 1 FROM rule_gone g WHERE g.rule_id = rule.rule_id "
        "AND g.entered_at <= ? AND g.gone_at > ?) FROM rule WHERE entered_at IS NOT NULL AND published_at > ? "
        "ORDER BY published_at, pk",
        (after, after, after, after),
    )
    gone = db.rows(
        "SELECT rule_id FROM rule_gone g WHERE gone_at > ? AND NOT EXISTS "
        "(SELECT 1 FROM rule r WHERE r.rule_id = g.rule_id AND r.entered_at IS NOT NULL)",
        (after,),
    )
    known = frozenset(row[2] for row in rows if row[6])
    return RuleDelta([_stored(row).rule for row in rows], known, sorted({row[0] for row in gone}))


def _leave(tx: Transaction, rule_id: str, entered_at: int) -> None:
    """Notes that agents no longer get a rule. Twice in one commit is once, from the first time it came."""
    tx.db.run(
        "INSERT INTO rule_gone (gone_at, rule_id, entered_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (tx.now, rule_id, entered_at),
    )


def _stored(row: Row) -> StoredRule:
    pk, published_at, rule_id, content, source, authored_at = row[:6]
    return StoredRule(pk, published_at, Rule(rule_id, content, source, authored_at))
