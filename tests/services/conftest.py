"""Services over a real store, with a clock to turn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clock import Clock
from tests.engines import Engine, Place
from threatcloud.config import load_settings
from threatcloud.domain.access import KeyEntry
from threatcloud.domain.holding import HELD_TYPES
from threatcloud.domain.indicator import detect, indicator_key
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import iso
from threatcloud.services.access import LOCAL_OPERATOR, KeyDesk, KeyRing
from threatcloud.services.holding import Holding
from threatcloud.services.intake import Claim
from threatcloud.services.kept_list import KeptList
from threatcloud.services.loading import make_screener
from threatcloud.services.maintenance import Maintenance
from threatcloud.services.pacing import Pace
from threatcloud.services.publishing import Publisher
from threatcloud.services.reporting import Reporting
from threatcloud.services.screening import Screener
from threatcloud.services.secrets import Secret
from threatcloud.storage import indicators
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store


class System:
    """A store and the services of these tests over it, on a loop of their own."""

    def __init__(self, place: Place, screener: Screener, entries: tuple[KeyEntry, ...] = ()) -> None:
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.entries = entries
        self._place = place
        self._screener = screener
        self._open()

    def _open(self) -> None:
        self.secret = Secret(bytes(range(32)))
        self.store = open_store(self._place, self.clock)
        self.names = Names()
        self.ring = KeyRing(self.secret, self.entries)
        self.desk = KeyDesk(self.store, self.secret, self.clock, self.ring)
        self.reporting = Reporting(self.store, self.names, self._screener, self.secret.audit, self.clock, Pace())
        self.holding = Holding(self.store, self.secret.audit)
        self.maintenance = Maintenance(self.store, self.names, self.holding, self.clock)
        self.publisher = Publisher(self.store, self.clock)
        self.kept = {kind: KeptList(self.store, kind) for kind in HELD_TYPES}
        self.run(self.store.read(self.names.load))
        self.run(self.store.read(self.ring.load))

    def reopen(self) -> None:
        """As a restart of the server does."""
        self.store.close()
        self._open()

    def close(self) -> None:
        self.store.close()
        self.runner.close()

    def run(self, coroutine: Any) -> Any:
        """The result of a coroutine."""
        return self.runner.run(coroutine)

    def report(self, *values: str, **said: Any) -> None:
        """Has an operator report values, badly enough for a blocklist."""
        self.run(self.reporting.submit([claim(value, **said) for value in values], LOCAL_OPERATOR))

    def leave(self, *values: str) -> None:
        """Takes values off the list, until they are reported again."""
        self.report(*values, expires_at=iso(self.clock.now + 1))
        self.clock.now += 1
        self.run(self.maintenance.expire())

    @property
    def end_writing(self) -> str:
        """The statement after which the writer can write no more."""
        is_file = isinstance(self._place, Path)
        return "PRAGMA query_only=on" if is_file else "SET default_transaction_read_only = on"

    def find(self, value: str) -> IndicatorState:
        key = indicator_key(*detect(value))
        state = self.run(self.store.read(lambda db: indicators.find(db, key, self.names)))
        assert isinstance(state, IndicatorState)
        return state

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.run(self.store.scan(lambda db: db.rows(sql, params)))
        return rows


def claim(text: str, /, **said: Any) -> Claim:
    """What an operator says of a value to have it blocked; ``said`` replaces fields."""
    plain = Claim(detect(text).type.value, text, "manual", "c2", "high", 0.9)
    return plain._replace(**said)


@pytest.fixture(scope="session")
def screener() -> Screener:
    """The packaged guard, locator and ATT&CK."""
    return make_screener(load_settings({}, {}))


@pytest.fixture
def system(engine: Engine, screener: Screener) -> Iterator[System]:
    made = System(engine.place("test.db"), screener)
    yield made
    made.close()
