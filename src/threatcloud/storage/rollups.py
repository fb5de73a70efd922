"""Rollups: counts by hour and by kind, moved as states change, so that statistics never scan facts."""

from collections import Counter
from typing import NamedTuple

from threatcloud.domain.state import UNCATEGORIZED, IndicatorState
from threatcloud.domain.times import hour_of
from threatcloud.storage.driver import Connection, Transaction

NO_COUNTRY = ""


class RollupChanges:
    """What a batch changes in the rollups, gathered and then applied with one upsert per cell."""

    def __init__(self) -> None:
        self._new: Counter[tuple[int, int, str]] = Counter()
        self._sightings: Counter[tuple[int, int, str]] = Counter()
        self._techniques: Counter[tuple[int, str]] = Counter()
        self._last_seen: Counter[tuple[int, int, str, str]] = Counter()
        self._total: Counter[tuple[int, str, str]] = Counter()
        self._total_sightings: Counter[tuple[int, str, str]] = Counter()

    def moved(self, old: IndicatorState | None, new: IndicatorState | None) -> None:
        """An indicator appeared (no old), changed, or went (no new)."""
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)

    def _count(self, state: IndicatorState, sign: int) -> None:
        code, category = state.indicator.type.code, state.category or UNCATEGORIZED
        self._new[hour_of(state.first_seen), code, category] += sign
        self._last_seen[hour_of(state.last_seen), code, category, state.country or NO_COUNTRY] += sign
        self._total[code, category, state.status.value] += sign
        self._total_sightings[code, category, state.status.value] += sign * state.sightings

    def seen(self, type_code: int, observed_at: int, category: str | None, techniques: list[str]) -> None:
        """One positive sighting."""
        hour = hour_of(observed_at)
        self._sightings[hour, type_code, category or UNCATEGORIZED] += 1
        for technique in techniques:
            self._techniques[hour, technique] += 1

    def apply(self, tx: Transaction) -> None:
        """Writes what changed, in key order."""
        hours = sorted(self._new.keys() | self._sightings.keys())
        tx.db.run_many(
            "INSERT INTO rollup_hour (hour, type, category, indicators, sightings) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (hour, type, category) DO UPDATE SET indicators = rollup_hour.indicators + "
            "excluded.indicators, sightings = rollup_hour.sightings + excluded.sightings",
            [(*key, self._new[key], self._sightings[key]) for key in hours if self._new[key] or self._sightings[key]],
        )
        tx.db.run_many(
            "INSERT INTO rollup_technique (hour, technique, sightings) VALUES (?, ?, ?) "
            "ON CONFLICT (hour, technique) DO UPDATE SET sightings = rollup_technique.sightings + excluded.sightings",
            [(*key, count) for key, count in sorted(self._techniques.items()) if count],
        )
        tx.db.run_many(
            "INSERT INTO rollup_last_seen (hour, type, category, country, indicators) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (hour, type, category, country) "
            "DO UPDATE SET indicators = rollup_last_seen.indicators + excluded.indicators",
            [(*key, count) for key, count in sorted(self._last_seen.items()) if count],
        )
        totals = sorted(self._total.keys() | self._total_sightings.keys())
        tx.db.run_many(
            "INSERT INTO rollup_total (type, category, status, indicators, sightings) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (type, category, status) DO UPDATE SET indicators = rollup_total.indicators + "
            "excluded.indicators, sightings = rollup_total.sightings + excluded.sightings",
            [
                (*key, self._total[key], self._total_sightings[key])
                for key in totals
                if self._total[key] or self._total_sightings[key]
            ],
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
