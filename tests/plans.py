"""What SQLite does for each statement that runs, and whether the work grows with what is stored.

A plan tells where rows come from and what is sorted. It does not tell how far a walk in the order of an index goes
before enough rows have passed a filter: that is for ``bench/``.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

_GROWING: Final = """
agent allowlist audit_detail audit_entry bouncer campaign campaign_ban campaign_event campaign_member correlation_due
delivery
departed evidence fading feature feature_name feed_change idempotency import_run indicator label leftover listing
log_entry network relation release reporter rollup_hour rollup_last_seen rollup_technique rollup_trait rule rule_gone
sighting source
"""
_SMALL: Final = "api_key hold job_run meta polled_source rollup_total snapshot webhook withdrawal"
#: Tables that grow with what is reported, with time, or with who calls. A new one belongs here or in ``SMALL``.
GROWING: Final = frozenset(_GROWING.split())
#: Tables with at most as many rows as there are kinds of things, keys, or jobs.
SMALL: Final = frozenset(_SMALL.split())
#: What equality on the first column of these narrows to is a share of the table, not a few rows.
_WIDE: Final = ("indicator_by_update", "indicator_shared", "indicator_by_expiry", "audit_by_action", "fading_by_type")
_NO_NAME: Final = "CROSS|GROUP|INDEXED|JOIN|LEFT|LIMIT|ON|ORDER|SET|UNION|VALUES|WHERE"
_SOURCE: Final = re.compile(rf"\b(?:FROM|JOIN|UPDATE|INTO) (\w+)(?: AS)?(?: (?!(?:{_NO_NAME})\b)(\w+))?")
_STEP: Final = re.compile(r"(SCAN|SEARCH) (\S+)(.*)")
_CONTROL: Final = ("PRAGMA", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "CREATE", "--")


class Statement(NamedTuple):
    """A statement that ran: its text, its number of parameters, and what ran when it first did."""

    sql: str
    params: int
    during: str


class Recorder:
    """Notes every statement of every connection that is opened while it listens."""

    def __init__(self) -> None:
        self.during = "start"
        self._found: dict[str, Statement] = {}

    def statements(self) -> list[Statement]:
        """Each statement that has a plan, once, in the order in which they first ran."""
        return [item for item in self._found.values() if not item.sql.lstrip().startswith(_CONTROL)]

    def attach(self, connection: apsw.Connection) -> None:
        """Listens to a connection."""
        connection.exec_trace = self._note

    def _note(self, _cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        if sql not in self._found:
            self._found[sql] = Statement(sql, len(bindings or ()), self.during)
        return True


@contextmanager
def recording() -> Iterator[Recorder]:
    """Listens to every connection that is opened within."""
    recorder = Recorder()
    apsw.connection_hooks.append(recorder.attach)
    try:
        yield recorder
    finally:
        apsw.connection_hooks.remove(recorder.attach)


class Trouble(NamedTuple):
    """A step whose cost grows with a table, and the statement it is of."""

    step: str
    statement: Statement

    def __str__(self) -> str:
        return f"{self.step}\n    in {self.statement.sql[:1500]}\n    during {self.statement.during}"


class Step(NamedTuple):
    """One line of a plan; steps of one parent are nested loops over the same rows."""

    number: int
    parent: int
    text: str


def plan_of(connection: apsw.Connection, statement: Statement) -> list[Step]:
    """The plan of a statement; what is bound does not matter to it."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", (None,) * statement.params)
    return [Step(row[0], row[1], row[3]) for row in rows]


def growing_steps(statement: Statement, plan: Sequence[Step]) -> list[Trouble]:
    """The steps that read or sort a set that grows.

    That is a scan of a growing table; a search in one by a range, or by what many rows share, in a statement without
    a limit; a sort or grouping of what such a table gave, unless each row was found by its unique key; an index that
    is built for the one statement.
    """
    found = []
    tables = {alias or table: table for table, alias in _SOURCE.findall(statement.sql)}
    for place, step in enumerate(plan):
        read = _STEP.match(step.text)
        reads_much = read and tables.get(read[2]) in GROWING and _is_open(read[1], read[3], statement.sql)
        if reads_much or "AUTOMATIC" in step.text:
            found.append(step)
        elif step.text.startswith("USE TEMP B-TREE"):
            beside = [other for other in plan[:place] if other.parent == step.parent]
            reads = [match for other in beside if (match := _STEP.match(other.text))]
            if any(tables.get(match[2]) in GROWING and not _is_point(match[3]) for match in reads):
                found.append(step)
    return [Trouble(step.text, statement) for step in found]


def _is_open(way: str, how: str, sql: str) -> bool:
    """Whether a read of a growing table goes through a part of it that grows."""
    if way == "SCAN":
        return True
    by_range = re.search(r"\(\w+[<>]", how) or any(index in how for index in _WIDE)
    return bool(by_range) and " LIMIT " not in sql


def _is_point(how: str) -> bool:
    return "(rowid=?)" in how or "indicator_by_id (id=?)" in how


def tables_of(path: Path) -> set[str]:
    """The tables of a database, without SQLite's own."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {str(row[0]) for row in rows}
