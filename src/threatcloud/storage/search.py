"""Searching indicators: filters, order and place become one statement; totals come from counts where they can."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from threatcloud.domain.address import Network, network_value, packed, parse_network
from threatcloud.domain.indicator import IndicatorType, indicator_key
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage.driver import Connection
from threatcloud.storage.indicators import COLUMNS, state_of
from threatcloud.storage.names import Names

#: Hosts of networks up to this size are looked up one by one; of wider ones the addresses are scanned.
_MAX_LOOKED_UP_HOSTS: Final = 4_096
_MAPPED: Final = packed(Network(4, 0, 0))[:12]


#: Also by the id of a campaign that went into another.
_IN_CAMPAIGN: Final = (
    "pk IN (SELECT m.indicator FROM campaign c JOIN campaign_member m ON m.campaign = coalesce(c.merged_into, c.pk) "
    "WHERE c.id = ? AND c.dismissed_at IS NULL)"
)


class Sort(StrEnum):
    """The orders a search can have."""

    UPDATED = "updated"
    REPUTATION = "reputation"
    SIGHTINGS = "sightings"
    FIRST_SEEN = "firstSeen"


#: The column of an order and whether it falls.
_ORDERS: Final = {
    Sort.UPDATED: ("updated_at", True),
    Sort.REPUTATION: ("reputation", False),
    Sort.SIGHTINGS: ("sightings", True),
    Sort.FIRST_SEEN: ("first_seen", True),
}


class Filters(NamedTuple):
    """What a search asks for; None asks nothing."""

    type: IndicatorType | None = None
    source: str | None = None
    min_reputation: int | None = None
    max_reputation: int | None = None
    status: Status | None = None
    category: str | None = None
    since: int | None = None
    text: str | None = None
    network: Network | None = None
    tag: str | None = None
    technique: str | None = None
    country: str | None = None
    campaign: str | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the totals answer how many there are."""
        return self._replace(type=None, status=None, category=None) == Filters()


class Place(NamedTuple):
    """Where a page begins: after the (order column, pk) of the last item before it, else after ``offset`` items."""

    after: tuple[int, int] | None
    offset: int
    limit: int


def search(db: Connection, filters: Filters, sort: Sort, place: Place, names: Names) -> list[IndicatorState]:
    """One page of states in the order asked for."""
    column, falls = _ORDERS[sort]
    where, params = _where(db, filters)
    if place.after is not None:
        where.append(f"({column}, pk) {'<' if falls else '>'} (?, ?)")
        params += place.after
    way = "DESC" if falls else "ASC"
    order = f"ORDER BY {column} {way}, pk {way}"
    if sort is Sort.UPDATED:
        found, values = _by_type(filters, where, params, order, place)
    else:
        found = f"SELECT pk, {column} FROM indicator WHERE {' AND '.join(where)} {order} LIMIT ? OFFSET ?"
        values = [*params, place.limit, place.offset]
    # Only what is shown is read whole: what a page skips costs its entry in an index.
    rows = db.rows(f"SELECT {COLUMNS} FROM indicator WHERE pk IN (SELECT pk FROM ({found}) AS found) {order}", values)
    return [state_of(row, names) for row in rows]


def _by_type(
    filters: Filters, where: Sequence[str], params: Sequence[Any], order: str, place: Place
) -> tuple[str, list[Any]]:
    """The newest of each type by its index, merged: six short walks instead of a sort of everything."""
    kinds = [filters.type] if filters.type else list(IndicatorType)
    found = f"SELECT pk, updated_at FROM indicator WHERE type = ? AND {' AND '.join(where)} {order} LIMIT ?"
    part = f"SELECT * FROM ({found}) AS t"
    values: list[Any] = []
    for kind in kinds:
        values += [kind.code, *params, place.offset + place.limit]
    return f"{' UNION ALL '.join([part] * len(kinds))} {order} LIMIT ? OFFSET ?", [
        *values,
        place.limit,
        place.offset,
    ]


def count(db: Connection, filters: Filters) -> int:
    """How many indicators a search finds in all."""
    where, params = _where(db, filters)
    if filters.is_counted:
        row = db.row(f"SELECT sum(indicators) FROM rollup_total WHERE {' AND '.join(where)}", params)
    else:
        row = db.row(f"SELECT count(*) FROM indicator WHERE {' AND '.join(where)}", params)
    return int(row[0] or 0) if row else 0


def place_of(state: IndicatorState, sort: Sort) -> tuple[int, int]:
    """The place of an item in an order."""
    column = {
        Sort.UPDATED: state.updated_at,
        Sort.REPUTATION: state.reputation,
        Sort.SIGHTINGS: state.sightings,
    }
    return column.get(sort, state.first_seen), state.pk


def _where(db: Connection, filters: Filters) -> tuple[list[str], list[Any]]:
    # A category of "uncategorized" stands for none, in the totals as in the table.
    plain: list[tuple[str, Any]] = [
        ("type = ?", filters.type.code if filters.type else None),
        ("source = (SELECT s.pk FROM source s WHERE s.name = ?)", filters.source),
        ("reputation >= ?", filters.min_reputation),
        ("reputation <= ?", filters.max_reputation),
        ("status = ?", filters.status.value if filters.status else None),
        ("category = ?", filters.category),
        ("updated_at >= ?", filters.since),
        ("country = ?", filters.country),
        ("instr(lower(value), ?) > 0", filters.text.lower() if filters.text else None),
        (_IN_CAMPAIGN, filters.campaign),
        ("pk IN (SELECT indicator FROM label WHERE kind = 'tag' AND value = ?)", filters.tag),
        ("pk IN (SELECT indicator FROM label WHERE kind = 'technique' AND value = ?)", filters.technique),
    ]
    used = [(text, value) for text, value in plain if value is not None]
    where, params = [text for text, _ in used], [value for _, value in used]
    if filters.network is not None:
        inside = ",".join(map(str, _inside(db, filters.network)))
        where.append(f"pk IN ({inside})")
    return where or ["1 = 1"], params


def _inside(db: Connection, network: Network) -> list[int]:
    """The row numbers of stored addresses and networks that lie in a network."""
    first, last = (
        packed(network),
        packed(Network(network.version, network.last, 128 if network.version == 6 else 32)),
    )
    rows = db.rows("SELECT indicator, packed FROM network WHERE packed >= ? AND packed <= ?", (first, last))
    # IPv4 is stored inside ::/0, and is none of it.
    networks = [pk for pk, stored in rows if stored.startswith(_MAPPED) == (network.version == 4)]
    return networks + _hosts_inside(db, network)


def _hosts_inside(db: Connection, network: Network) -> list[int]:
    size = network.last - network.first + 1
    bits = 32 if network.version == 4 else 128
    if size <= _MAX_LOOKED_UP_HOSTS:
        hosts = (network_value(Network(network.version, network.first + i, bits)) for i in range(size))
        keys = [indicator_key(IndicatorType.IP, host) for host in hosts]
        return [row[0] for row in db.rows_in("SELECT pk FROM indicator WHERE id IN keys()", keys)]
    likes = _text_prefix(network)
    rows = db.rows("SELECT pk, value FROM indicator WHERE type = ? AND value LIKE ?", (IndicatorType.IP.code, likes))
    found = []
    for pk, value in rows:
        host = parse_network(value)
        if host.prefix == bits and network.first <= host.first <= network.last:
            found.append(pk)
    return found


def _text_prefix(network: Network) -> str:
    """What every address of the network begins with, as a LIKE pattern."""
    if network.version == 6:
        return "%:%"
    octets = network_value(network).split("/")[0].split(".")[: network.prefix // 8]
    return "".join(f"{octet}." for octet in octets) + "%"
