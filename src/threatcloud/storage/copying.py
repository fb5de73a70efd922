"""What moves a database to another engine: its tables, rows in pages, numbers given out, progress, and digests.

A place in a table is its last key so far. It is stored with the rows themselves, so that a copy which was killed goes
on after the last page that is whole.
"""

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from threatcloud.domain.errors import DomainError
from threatcloud.storage.driver import Connection, Row

#: What tables hold; the others hold the server's own state. docs/architecture.md has the same.
_FACTS: Final = ("source", "reporter", "sighting", "listing")
_PROJECTIONS: Final = (
    *("indicator", "evidence", "label", "network", "relation"),
    *("rollup_hour", "rollup_technique", "rollup_trait", "rollup_last_seen", "rollup_total"),
    *("feed_change", "fading", "departed", "release", "snapshot"),
    *("feature", "feature_name", "campaign", "campaign_member"),
)
FACT, PROJECTION, OWN_STATE = KINDS = ("fact", "projection", "own state")
_KIND_OF: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(_FACTS, FACT) | dict.fromkeys(_PROJECTIONS, PROJECTION)
)
PROGRESS: Final = "copy_progress"
_SOURCE: Final = "*source"
_PAGE_ROWS: Final = 5_000
_WRAP: Final = 1 << 256


class CopyRefused(DomainError):
    """A copy cannot be made as asked, or did not come out right; the message says why."""

    code = "copy_refused"


class Table(NamedTuple):
    """A table: its columns, and those of its primary key in their order."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What it holds: one of ``KINDS``."""
        return _KIND_OF.get(self.name, OWN_STATE)


class Side(Protocol):
    """A database that is copied from or to, which nobody else uses meanwhile."""

    @property
    def db(self) -> Connection:
        """The connection to it."""

    @property
    def name(self) -> str:
        """Which database it is, without a password."""

    def tables(self) -> dict[str, Table]:
        """All tables of the schema by name, without those that only its engine needs."""

    def numbers(self) -> dict[str, int]:
        """By table the last number that was given to a row, also where that row is gone."""

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """Has the next number of each table follow on the last."""

    def close(self) -> None:
        """Lets go of it as it is."""


class Target(Side, Protocol):
    """A database that is copied to. Until ``finish`` no server can open it."""

    def begin(self) -> None:
        """Begins a transaction."""

    def make_room(self, source: Connection) -> None:
        """Makes what the rows of a source need beside the schema, in a transaction."""

    def insert(self, table: Table, rows: list[Row]) -> None:
        """Stores rows, by the quickest way its engine has."""

    def commit(self) -> None:
        """Makes it durable."""

    def finish(self) -> None:
        """Makes it a database as any other."""


def column_names(columns: tuple[str, ...]) -> str:
    """Columns as a statement names them."""
    return ", ".join(f'"{column}"' for column in columns)


def pages(db: Connection, table: Table, after: Row | None = None) -> Iterator[list[Row]]:
    """The rows of a table after a key, in order of the key."""
    key = column_names(table.key)
    head = f'SELECT {column_names(table.columns)} FROM "{table.name}"'
    places = [table.columns.index(column) for column in table.key]
    while True:
        where = f" WHERE ({key}) > ({', '.join('?' * len(table.key))})" if after is not None else ""
        rows = db.rows(f"{head}{where} ORDER BY {key} LIMIT {_PAGE_ROWS}", after or ())
        if not rows:
            return
        yield rows
        after = tuple(rows[-1][place] for place in places)


def count(db: Connection, table: Table) -> int:
    """How many rows a table has."""
    row = db.row(f'SELECT count(*) FROM "{table.name}"')
    return int(row[0]) if row else 0


def put(target: Target, table: Table, rows: list[Row]) -> None:
    """Stores rows, and how far the copy is by them, in a transaction."""
    target.begin()
    target.insert(table, rows)
    key = [rows[-1][table.columns.index(column)] for column in table.key]
    _note(target.db, table.name, msgspec.msgpack.encode(key).hex())
    target.commit()


def start_progress(db: Connection, source: str) -> None:
    """Makes the table of progress, with the name of the source."""
    db.run(f"CREATE TABLE {PROGRESS} (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    _note(db, _SOURCE, source)


def copied_from(db: Connection) -> str:
    """The name of the source of a copy that is not finished."""
    row = db.row(f"SELECT value FROM {PROGRESS} WHERE name = ?", (_SOURCE,))
    return str(row[0]) if row else ""


def place_in(db: Connection, table: Table) -> Row | None:
    """The last key that was copied; None before the first."""
    row = db.row(f"SELECT value FROM {PROGRESS} WHERE name = ?", (table.name,))
    return tuple(msgspec.msgpack.decode(bytes.fromhex(row[0]))) if row else None


def _note(db: Connection, name: str, value: str) -> None:
    db.run(
        f"INSERT INTO {PROGRESS} (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


class Digest:
    """A digest of rows that is the same in whatever order they come, and on either engine.

    PostgreSQL has no U+0000 in texts and keeps its symbol in its place (0015): to a digest both are the same.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0
        self._encode = msgspec.msgpack.Encoder().encode

    def add(self, table: str, rows: list[Row]) -> None:
        """Counts rows of a table in."""
        for row in rows:
            text = self._encode((table, *map(_plain, row)))
            self._sum += int.from_bytes(hashlib.sha256(text).digest(), "big")
        self._sum %= _WRAP
        self.rows += len(rows)

    def __str__(self) -> str:
        return f"{self._sum:064x}"


def _plain(value: Any) -> Any:
    return value.replace("\0", "\u2400") if type(value) is str and "\0" in value else value
