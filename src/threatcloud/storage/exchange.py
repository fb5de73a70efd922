"""What exchange protocols (TAXII, MISP) page through: published indicators in the order of their last change."""

from collections.abc import Sequence
from typing import NamedTuple

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import IndicatorState
from threatcloud.storage.campaigns import COLUMNS as CAMPAIGN_COLUMNS
from threatcloud.storage.campaigns import SHOWN, campaign_of
from threatcloud.storage.driver import Connection
from threatcloud.storage.indicators import COLUMNS, by_change, of_each, state_of
from threatcloud.storage.names import Names


class Place(NamedTuple):
    """Where a page ended: the time of the last change of its last item, and its row number."""

    updated_at: int = -1
    pk: int = 0


def listed_page(
    db: Connection, kinds: Sequence[IndicatorType], after: Place, limit: int, names: Names
) -> list[IndicatorState]:
    """Members of the default lists of these types after a place, the oldest change first."""
    sql = (
        f"SELECT {COLUMNS} FROM indicator INDEXED BY indicator_by_update WHERE type = ? "
        "AND (updated_at, pk) > (?, ?) AND listed = 1 ORDER BY updated_at, pk LIMIT ?"
    )
    return of_each(db, sql, [(kind.code, *after, limit) for kind in kinds], names)[:limit]


def listed_among(db: Connection, starts: Sequence[bytes], names: Names) -> list[IndicatorState]:
    """Members of the default lists whose ids begin with one of these bytes."""
    sql = f"SELECT {COLUMNS} FROM indicator WHERE id >= ? AND id <= ? AND listed = 1"
    return of_each(db, sql, [(start, start + b"\xff" * 16) for start in starts], names)


def campaign_page(db: Connection, after: Place, limit: int) -> list[Campaign]:
    """Campaigns after a place, the oldest change first."""
    rows = db.rows(
        f"SELECT {CAMPAIGN_COLUMNS} FROM campaign WHERE {SHOWN} AND (updated_at, pk) > (?, ?) "
        "ORDER BY updated_at, pk LIMIT ?",
        (*after, limit),
    )
    return [campaign_of(row) for row in rows]


class Kind(NamedTuple):
    """Indicators of a type; of hashes only those of so many digits, where that is said."""

    type: IndicatorType
    length: int | None = None


def listed_since(
    db: Connection, kinds: Sequence[Kind], since: int, offset: int, limit: int, names: Names
) -> list[IndicatorState]:
    """Members of the default lists of these kinds that changed since a time, oldest change first, from an offset on."""
    found: list[IndicatorState] = []
    for kind, length in kinds:
        narrow, params = ("", ()) if length is None else (" AND length(value) = ?", (length,))
        rows = db.rows(
            f"SELECT {COLUMNS} FROM indicator INDEXED BY indicator_by_update WHERE type = ? AND updated_at >= ? "
            f"AND listed = 1{narrow} ORDER BY updated_at, pk LIMIT ?",
            (kind.code, since, *params, offset + limit),
        )
        found += [state_of(row, names) for row in rows]
    return by_change(found)[offset : offset + limit]


def listed_with(db: Connection, keys: Sequence[bytes], names: Names) -> list[IndicatorState]:
    """Members of the default lists with these ids."""
    rows = db.rows_in(f"SELECT {COLUMNS} FROM indicator WHERE id IN keys() AND listed = 1", keys)
    return by_change(state_of(row, names) for row in rows)
