"""Searching indicators: filters, order and place become one statement; totals come from counts where they can."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.address import Network, network_value, packed, parse_network
from threatcloud.domain.indicator import IndicatorType, indicator_key
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage.driver import Connection
from threatcloud.storage.indicators import COLUMNS, state_of
from threatcloud.storage.names import Names

#: Hosts of networks up to this size are looked up one by one; of wider ones the addresses are scanned.
_MAX_LOOKED_UP_HOSTS: Final = 4_096
#: Matches for each row of a page from which a walk in order is cheaper than a pass: a row costs it six times as much.
_MATCHES_A_WALK: Final = 8
#: The same from which a walk is as short as a point read, and the rows of a page so far in the update index.
_MATCHES_A_SHORT_WALK: Final = 1_000
_SHORT_WALK_ROWS: Final = 2_000
#: A limit that limits nothing: the order of what has none is not kept.
_ALL: Final = (1 << 63) - 1
#: What changed since a time is found by its index where it is less than this.
_FEW: Final = 20_000
_AMONG: Final = "pk IN (SELECT value FROM json_each(?))"
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

    @property
    def is_plain(self) -> bool:
        """Whether the update index has all that is asked for."""
        return self._replace(type=None, since=None) == Filters()


class Place(NamedTuple):
    """Where a page begins: after the (order column, pk) of the last item before it, else after ``offset`` items."""

    after: tuple[int, int] | None
    offset: int
    limit: int


def walks(filters: Filters, sort: Sort, place: Place, total: int) -> bool:
    """Whether a page is found by a walk in the order of the update index: always where that passes no more than what
    is asked for, else where so many match that it ends soon. What is left is found by one pass over the table."""
    if sort is not Sort.UPDATED:
        return False
    return filters.is_plain or (place.offset + place.limit) * _MATCHES_A_WALK < total


def is_short_walk(filters: Filters, sort: Sort, place: Place, total: int) -> bool:
    """Whether a page is found in about a millisecond."""
    rows = place.offset + place.limit
    if sort is not Sort.UPDATED or rows > _SHORT_WALK_ROWS:
        return False
    return filters.is_plain or (filters.is_counted and rows * _MATCHES_A_SHORT_WALK < total)


def search(
    db: Connection, filters: Filters, sort: Sort, place: Place, names: Names, total: int
) -> list[IndicatorState]:
    """One page of states in the order asked for; about ``total`` indicators pass the filters."""
    column, falls = _ORDERS[sort]
    order = f"ORDER BY {column} {'DESC' if falls else 'ASC'}, pk {'DESC' if falls else 'ASC'}"
    if walks(filters, sort, place, total):
        found, values = _walked(db, filters, place, order)
    else:
        found, values = _gathered(db, filters, sort, place, order)
    # Only what is shown is read whole: what a page skips costs its entry in an index.
    rows = db.rows(f"SELECT {COLUMNS} FROM indicator WHERE pk IN (SELECT pk FROM ({found}) AS found) {order}", values)
    return [state_of(row, names) for row in rows]


def _walked(db: Connection, filters: Filters, place: Place, order: str) -> tuple[str, list[Any]]:
    """The newest of each type by its index, merged: six short walks instead of a sort of everything."""
    where, params = _where(db, filters._replace(type=None))
    later, edge = _after(Sort.UPDATED, place)
    kinds = [filters.type] if filters.type else list(IndicatorType)
    found = f"SELECT pk, updated_at FROM indicator WHERE type = ? AND {' AND '.join(where + later)} {order} LIMIT ?"
    part = f"SELECT * FROM ({found}) AS t"
    values: list[Any] = []
    for kind in kinds:
        values += [kind.code, *params, *edge, place.offset + place.limit]
    return f"{' UNION ALL '.join([part] * len(kinds))} {order} LIMIT ? OFFSET ?", [*values, place.limit, place.offset]


def _gathered(db: Connection, filters: Filters, sort: Sort, place: Place, order: str) -> tuple[str, list[Any]]:
    """All that match, and of these the first in order."""
    column, falls = _ORDERS[sort]
    where, params = _gathering(db, filters)
    later, edge = _after(sort, place)
    found = f"SELECT pk, {column} FROM indicator WHERE {' AND '.join(where + later)}"
    if falls:
        # Of equals the last comes first: met in that order the others never displace it, which halves the time.
        found = f"SELECT * FROM ({found} ORDER BY pk DESC LIMIT {_ALL}) AS matching"
    return f"{found} {order} LIMIT ? OFFSET ?", [*params, *edge, place.limit, place.offset]


def _after(sort: Sort, place: Place) -> tuple[list[str], Sequence[Any]]:
    """What is left of an order after the last item of the page before."""
    if place.after is None:
        return [], ()
    column, falls = _ORDERS[sort]
    return [f"({column}, pk) {'<' if falls else '>'} (?, ?)"], place.after


def count(db: Connection, filters: Filters) -> int:
    """How many indicators a search finds in all."""
    if filters.is_counted:
        where, params = _where(db, filters)
        row = db.row(f"SELECT sum(indicators) FROM rollup_total WHERE {' AND '.join(where)}", params)
    else:
        where, params = _gathering(db, filters)
        row = db.row(f"SELECT count(*) FROM indicator WHERE {' AND '.join(where)}", params)
    return int(row[0] or 0) if row else 0


def _gathering(db: Connection, filters: Filters) -> tuple[list[str], list[Any]]:
    """Conditions that all matches are found by: by the update index what changed lately, else by the table in its own
    order, which is six times as fast a row."""
    if filters.since is not None and (filters.is_plain or _changed_few(db, filters.since)):
        kinds = [filters.type] if filters.type else list(IndicatorType)
        where, params = _where(db, filters._replace(type=None))
        return [f"type IN ({', '.join(str(kind.code) for kind in kinds)})", *where], params
    where, params = _where(db, filters)
    return [text.replace("type = ?", "+type = ?") for text in where], params


def _changed_few(db: Connection, since: int) -> bool:
    codes = ", ".join(str(kind.code) for kind in IndicatorType)
    changed = f"SELECT 1 FROM indicator WHERE type IN ({codes}) AND updated_at >= ? LIMIT {_FEW}"
    row = db.row(f"SELECT count(*) FROM ({changed}) AS changed", (since,))
    return row is not None and row[0] < _FEW


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
        ("value LIKE ? ESCAPE '!'", _containing(filters.text) if filters.text else None),
        (_IN_CAMPAIGN, filters.campaign),
        ("pk IN (SELECT indicator FROM label WHERE kind = 'tag' AND value = ?)", filters.tag),
        ("pk IN (SELECT indicator FROM label WHERE kind = 'technique' AND value = ?)", filters.technique),
    ]
    used = [(text, value) for text, value in plain if value is not None]
    where, params = [text for text, _ in used], [value for _, value in used]
    if filters.network is not None:
        text, values = _inside(db, filters.network)
        where.append(text)
        params += values
    return where or ["1 = 1"], params


def _containing(text: str) -> str:
    """A LIKE pattern of values that hold a text; LIKE tells no capitals from small letters in ASCII."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"


def _inside(db: Connection, network: Network) -> tuple[str, list[Any]]:
    """The condition of stored addresses and networks that lie in a network."""
    first, last = (
        packed(network),
        packed(Network(network.version, network.last, 128 if network.version == 6 else 32)),
    )
    rows = db.rows("SELECT indicator, packed FROM network WHERE packed >= ? AND packed <= ?", (first, last))
    # IPv4 is stored inside ::/0, and is none of it.
    found = [pk for pk, stored in rows if stored.startswith(_MAPPED) == (network.version == 4)]
    is_wide = network.last - network.first >= _MAX_LOOKED_UP_HOSTS
    if is_wide and network.version == 4:
        text, params = _host_pattern(network)
        return f"({_AMONG} OR (type = {IndicatorType.IP.code} AND {text}))", [msgspec.json.encode(found), *params]
    found += _wide_hosts(db, network) if is_wide else _few_hosts(db, network)
    return _AMONG, [msgspec.json.encode(found)]


def _few_hosts(db: Connection, network: Network) -> list[int]:
    bits = 32 if network.version == 4 else 128
    hosts = (network_value(Network(network.version, first, bits)) for first in range(network.first, network.last + 1))
    keys = [indicator_key(IndicatorType.IP, host) for host in hosts]
    return [row[0] for row in db.rows_in("SELECT pk FROM indicator WHERE id IN keys()", keys)]


def _host_pattern(network: Network) -> tuple[str, list[Any]]:
    """What the text of an IPv4 host in a network is like: its whole octets, and bounds of the one that is cut."""
    whole, bits = divmod(network.prefix, 8)
    octets = network_value(network).split("/")[0].split(".")
    stem = "".join(f"{octet}." for octet in octets[:whole])
    text, params = "value LIKE ? AND instr(value, '/') = 0 AND instr(value, ':') = 0", [f"{stem}%"]
    if not bits:
        return text, params
    low = int(octets[whole])
    rest = f"substr(value, {len(stem) + 1})"
    octet = f"CAST(substr({rest}, 1, instr({rest} || '.', '.') - 1) AS INTEGER)"
    # Only what is like that has a number there.
    return f"CASE WHEN {text} THEN {octet} BETWEEN ? AND ? ELSE FALSE END", [*params, low, low + (1 << (8 - bits)) - 1]


def _wide_hosts(db: Connection, network: Network) -> list[int]:
    """Hosts of a wide IPv6 network, whose texts are too free for a pattern."""
    rows = db.rows(
        "SELECT pk, value FROM indicator WHERE +type = ? AND value LIKE '%:%' AND instr(value, '/') = 0",
        (IndicatorType.IP.code,),
    )
    return [pk for pk, value in rows if network.first <= parse_network(value).first <= network.last]
