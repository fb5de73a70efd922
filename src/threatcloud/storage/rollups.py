"""Rollups: counts by hour and by kind, moved as states change, so that statistics never scan facts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from threatcloud.domain.state import UNCATEGORIZED, IndicatorState
from threatcloud.domain.times import HOUR_MS
from threatcloud.storage.driver import Connection, Transaction

NO_COUNTRY = ""


class _Cell(NamedTuple):
    """What the rollups tell states apart by."""

    type_code: int
    category: str
    status: str
    country: str
    first_hour: int
    last_hour: int


class RollupChanges:
    """What a batch changes in the rollups, gathered and then applied with one upsert per cell."""

    def __init__(self) -> None:
        self._indicators: defaultdict[_Cell, int] = defaultdict(int)
        self._counted: defaultdict[_Cell, int] = defaultdict(int)
        self._sightings: Counter[tuple[int, int, str]] = Counter()
        self._techniques: Counter[tuple[int, str]] = Counter()
        self._traits: Counter[tuple[int, str, str, str]] = Counter()

    def moved(self, old: IndicatorState | None, new: IndicatorState | None) -> None:
        """An indicator appeared (no old), changed, or went (no new)."""
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)

    def _count(self, state: IndicatorState, sign: int) -> None:
        cell = _Cell(
            state.indicator.type.code,
            state.category or UNCATEGORIZED,
            state.status,
            state.country or NO_COUNTRY,
            state.first_seen // HOUR_MS,
            state.last_seen // HOUR_MS,
        )
        self._indicators[cell] += sign
        self._counted[cell] += sign * state.sightings

    def seen(
        self,
        type_code: int,
        observed_at: int,
        category: str | None,
        techniques: Sequence[str] = (),
        traits: Sequence[tuple[str, str]] = (),
    ) -> None:
        """One positive sighting; ``traits`` are (kind, value), each once."""
        hour = observed_at // HOUR_MS
        self._sightings[hour, type_code, category or UNCATEGORIZED] += 1
        for technique in techniques:
            self._techniques[hour, technique] += 1
        for kind, value in traits:
            self._traits[hour, category or UNCATEGORIZED, kind, value] += 1

    def unseen(self, type_code: int, observed_at: int, category: str | None) -> None:
        """One positive sighting less."""
        self._sightings[observed_at // HOUR_MS, type_code, category or UNCATEGORIZED] -= 1

    def apply(self, tx: Transaction) -> None:
        """Writes what changed, in key order."""
        by_hour: Counter[tuple[int, int, str]] = Counter()
        last_seen: Counter[tuple[int, int, str, str]] = Counter()
        total: Counter[tuple[int, str, str]] = Counter()
        counted: Counter[tuple[int, str, str]] = Counter()
        for cell, count in self._indicators.items():
            by_hour[cell.first_hour, cell.type_code, cell.category] += count
            last_seen[cell.last_hour, cell.type_code, cell.category, cell.country] += count
            total[cell.type_code, cell.category, cell.status] += count
            counted[cell.type_code, cell.category, cell.status] += self._counted[cell]
        _add(tx, "rollup_hour", "hour, type, category", "indicators, sightings", (by_hour, self._sightings))
        _add(tx, "rollup_technique", "hour, technique", "sightings", (self._techniques,))
        _add(tx, "rollup_trait", "hour, category, kind, value", "sightings", (self._traits,))
        _add(tx, "rollup_last_seen", "hour, type, category, country", "indicators", (last_seen,))
        _add(tx, "rollup_total", "type, category, status", "indicators, sightings", (total, counted))


def _add(tx: Transaction, table: str, keys: str, columns: str, counts: Sequence[Counter[Any]]) -> None:
    """Adds counts to the cells of a rollup, one count for each column."""
    names = columns.split(", ")
    cells = sorted({cell for count in counts for cell in count if any(other[cell] for other in counts)})
    marks = ", ".join("?" * (len(keys.split(", ")) + len(names)))
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in names)
    tx.db.run_many(
        f"INSERT INTO {table} ({keys}, {columns}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {sums}",
        [(*cell, *(count[cell] for count in counts)) for cell in cells],
    )


class Total(NamedTuple):
    """One cell of the totals."""

    type_code: int
    category: str
    status: str
    indicators: int
    sightings: int


def totals(db: Connection) -> list[Total]:
    """Every cell of the totals, at most types x categories x statuses."""
    return [Total(*row) for row in db.rows("SELECT type, category, status, indicators, sightings FROM rollup_total")]


def since_hour(db: Connection, hour: int) -> tuple[int, int, str | None]:
    """New indicators, sightings and the category most sighted (None when none has one) from an hour on."""
    row = db.row("SELECT sum(indicators), sum(sightings) FROM rollup_hour WHERE hour >= ?", (hour,))
    top = db.row(
        "SELECT category FROM rollup_hour WHERE hour >= ? AND category <> ? GROUP BY category "
        "HAVING sum(sightings) > 0 ORDER BY sum(sightings) DESC, category LIMIT 1",
        (hour, UNCATEGORIZED),
    )
    new, seen = row or (0, 0)
    return int(new or 0), int(seen or 0), top[0] if top else None


def count_sources(db: Connection) -> int:
    """How many distinct sources ever reported."""
    row = db.row("SELECT count(*) FROM source")
    return int(row[0]) if row else 0
