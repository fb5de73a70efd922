"""A real database of either engine, a clock to turn, and states and units to fill it with."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clock import NOW, Clock
from tests.engines import Engine, Place
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage import indicators
from threatcloud.storage.driver import Connection, Read, T, Transaction, Work
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store
from threatcloud.storage.store import Store


class Database:
    """An open store in blocking words, for tests that have no event loop of their own."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.place = place
        self.clock = clock
        self._runner = asyncio.Runner()
        self._open()

    def _open(self) -> None:
        self.store: Store = open_store(self.place, self.clock)
        self.names = Names()
        self.read(self.names.load)

    @property
    def path(self) -> Path:
        """The file of an SQLite database."""
        assert isinstance(self.place, Path)
        return self.place

    def reopen(self) -> None:
        """Closes the store and opens it anew."""
        self.store.close()
        self._open()

    def close(self) -> None:
        self.store.close()
        self._runner.close()

    def run(self, coroutine: Any) -> Any:
        """The result of a coroutine, on the loop that all units of this database are awaited on."""
        return self._runner.run(coroutine)

    def write(self, work: Work[T]) -> T:
        result: T = self.run(self.store.write(work))
        return result

    def read(self, fn: Read[T]) -> T:
        result: T = self.run(self.store.read(fn))
        return result

    def scan(self, fn: Read[T]) -> T:
        result: T = self.run(self.store.scan(fn))
        return result

    def ask(self, fn: Callable[..., T], *args: Any) -> T:
        """What a function of a connection and these arguments finds."""
        return self.scan(lambda db: fn(db, *args))

    def do(self, fn: Callable[..., T], *args: Any) -> T:
        """What a function of a transaction and these arguments gives."""
        return self.write(lambda tx: fn(tx, *args))

    def value(self, sql: str, *params: Any) -> Any:
        """The first column of the first row."""
        row = self.scan(lambda db: db.row(sql, params))
        assert row is not None
        return row[0]

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return self.scan(lambda db: db.rows(sql, params))

    def execute(self, sql: str, *params: Any) -> None:
        self.write(lambda tx: tx.db.run(sql, params))

    def sources(self, *names: str) -> None:
        """Makes the sources known."""
        self.write(lambda tx: self.names.ensure_sources(tx, names))

    def insert(self, *states: IndicatorState) -> None:
        """Stores states as they are, their sources first."""

        def work(tx: Transaction) -> None:
            self.names.ensure_sources(tx, {source for state in states for source in (state.source, *state.sources)})
            indicators.insert(tx, states, self.names)

        self.write(work)

    def find(self, kind: IndicatorType, value: str) -> IndicatorState | None:
        return self.read(lambda db: indicators.find(db, indicator_key(kind, value), self.names))


def make_state(
    pk: int, kind: IndicatorType = IndicatorType.IP, value: str | None = None, **fields: Any
) -> IndicatorState:
    """An active, shared indicator of moderate age; ``fields`` replace what differs."""
    text = value or f"198.51.{pk // 250}.{pk % 250 + 1}"
    plain = IndicatorState(
        pk=pk,
        id=indicator_key(kind, text),
        indicator=Indicator(kind, text),
        status=Status.ACTIVE,
        reputation=20,
        category=None,
        severity=None,
        confidence=0.5,
        source="manual",
        sources=("manual",),
        sightings=1,
        first_seen=NOW,
        last_seen=NOW,
        created_at=NOW,
        updated_at=NOW + pk,
        expires_at=None,
        next_change_at=None,
        withheld_code=None,
        withheld_list=None,
        cloud=None,
        country=None,
        asn=None,
        tlp=None,
        metadata=None,
        shared=True,
        listed=True,
    )
    return plain._replace(**fields)


def explain(db: Connection, sql: str, params: Any = ()) -> str:
    """The query plan of a statement, a line for each step."""
    return "\n".join(row[3] for row in db.rows(f"EXPLAIN QUERY PLAN {sql}", params))


Make = Callable[[str], Database]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_database(engine: Engine, clock: Clock) -> Iterator[Make]:
    """``make_database("name.db")`` opens a database of its own; all are closed at the end."""
    opened: list[Database] = []

    def make(name: str) -> Database:
        opened.append(Database(engine.place(name), clock))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def database(make_database: Make) -> Database:
    return make_database("test.db")
