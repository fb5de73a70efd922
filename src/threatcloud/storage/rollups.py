"""Rollups: counts by hour and by kind, moved as states change, so that statistics never scan facts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from threatcloud.domain.state import UNCATEGORIZED, IndicatorState
from threatcloud.domain.times import HOUR_MS
from threatcloud.storage.driver import Connection, Row, Transaction

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
        self._add_sighting(1, type_code, observed_at, category, techniques, traits)

    def unseen(
        self,
        type_code: int,
        observed_at: int,
        category: str | None,
        techniques: Sequence[str] = (),
        traits: Sequence[tuple[str, str]] = (),
    ) -> None:
        """One positive sighting less, of the same kind."""
        self._add_sighting(-1, type_code, observed_at, category, techniques, traits)

    def _add_sighting(
        self,
        sign: int,
        type_code: int,
        observed_at: int,
        category: str | None,
        techniques: Sequence[str],
        traits: Sequence[tuple[str, str]],
    ) -> None:
        hour = observed_at // HOUR_MS
        self._sightings[hour, type_code, category or UNCATEGORIZED] += sign
        for technique in techniques:
            self._techniques[hour, technique] += sign
        for kind, value in traits:
            self._traits[hour, category or UNCATEGORIZED, kind, value] += sign

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
        _add(tx, "rollup_hour", (by_hour, self._sightings))
        _add(tx, "rollup_technique", (self._techniques,))
        _add(tx, "rollup_trait", (self._traits,))
        _add(tx, "rollup_last_seen", (last_seen,))
        _add(tx, "rollup_total", (total, counted))


#: The columns that name a cell of each rollup, and those that count.
TABLES: Final = {
    "rollup_hour": ("hour, type, category", "indicators, sightings"),
    "rollup_technique": ("hour, technique", "sightings"),
    "rollup_trait": ("hour, category, kind, value", "sightings"),
    "rollup_last_seen": ("hour, type, category, country", "indicators"),
    "rollup_total": ("type, category, status", "indicators, sightings"),
}


def _add(tx: Transaction, table: str, counts: Sequence[Counter[Any]]) -> None:
    """Adds counts to the cells of a rollup, one count for each column."""
    keys, columns = TABLES[table]
    names = columns.split(", ")
    cells = sorted({cell for count in counts for cell in count if any(other[cell] for other in counts)})
    marks = ", ".join("?" * (len(keys.split(", ")) + len(names)))
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in names)
    tx.db.run_many(
        f"INSERT INTO {table} ({keys}, {columns}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {sums}",
        [(*cell, *(count[cell] for count in counts)) for cell in cells],
    )


def empty_cells(db: Connection, table: str, most: int) -> list[Row]:
    """Some cells of a rollup that count nothing (any more)."""
    keys, columns = TABLES[table]
    return db.rows(f"SELECT {keys} FROM {table} WHERE {_counts_nothing(columns)} LIMIT ?", (most,))


def drop_cells(tx: Transaction, table: str, cells: Sequence[Row]) -> None:
    """Deletes those of the cells that count nothing."""
    keys, columns = TABLES[table]
    same = " AND ".join(f"{key} = ?" for key in keys.split(", "))
    tx.db.run_many(f"DELETE FROM {table} WHERE {same} AND {_counts_nothing(columns)}", cells)


def _counts_nothing(columns: str) -> str:
    return " AND ".join(f"{name} = 0" for name in columns.split(", "))


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
