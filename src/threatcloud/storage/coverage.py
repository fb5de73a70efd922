"""Which stored indicators entries of the allowlist cover. There is no index on values: what follows from an entry is
looked up by id, the rest is a scan that the engine narrows down by text and the allowlist itself decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.address import Network, covering, network_value, parse_network
from threatcloud.domain.allow_entry import AllowEntry, EntryKind, allowlist_of
from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.hosts import lineage
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.state import LASTING_CODES
from threatcloud.storage.driver import Connection, Row

_TYPES: Final = {kind.code: kind for kind in IndicatorType}
_OPEN: Final = "coalesce(withheld_code, '') NOT IN ({})".format(
    ", ".join(f"'{code}'" for code in sorted(LASTING_CODES))
)
#: A condition on the value of indicators of a type, with its one parameter.
_Condition = tuple[IndicatorType, str, str]


class Covered(NamedTuple):
    """Covered indicators by id, and the time of the last commit the search saw (0 before the first)."""

    indicators: dict[bytes, Indicator]
    as_of: int


def find_covered(db: Connection, entries: Sequence[AllowEntry]) -> Covered:
    """The stored indicators that entries cover, but for those whose finding no allowlist changes. A scan."""
    last = [db.row("SELECT max(updated_at) FROM indicator WHERE type = ?", (code,)) for code in _TYPES]
    keys = list({indicator_key(*related) for entry in entries for related in _related(entry)})
    rows = db.rows_in(f"SELECT id, type, value FROM indicator WHERE id IN keys() AND {_OPEN}", keys)
    wanted: dict[IndicatorType, dict[tuple[str, str], None]] = {}
    for kind, text, param in (condition for entry in entries for condition in _conditions(entry)):
        wanted.setdefault(kind, {})[text, param] = None
    for kind, conditions in wanted.items():
        either = " OR ".join(text for text, _ in conditions)
        rows += db.rows(
            f"SELECT id, type, value FROM indicator WHERE type = ? AND ({either}) AND {_OPEN}",
            (kind.code, *(param for _, param in conditions)),
        )
    return Covered(_judged(rows, allowlist_of(entries)), max((row[0] or 0) for row in last if row))


def covered_since(db: Connection, allowlist: Allowlist, after: int, most: int) -> dict[bytes, Indicator] | None:
    """What a list covers of all that was stored or changed after a commit; None when that is more than ``most``."""
    rows: list[Row] = []
    for code in _TYPES:
        rows += db.rows(
            f"SELECT id, type, value FROM indicator WHERE type = ? AND updated_at > ? AND {_OPEN} LIMIT ?",
            (code, after, most + 1 - len(rows)),
        )
        if len(rows) > most:
            return None
    return _judged(rows, allowlist)


def _judged(rows: Iterable[Row], allowlist: Allowlist) -> dict[bytes, Indicator]:
    found = {key: Indicator(_TYPES[code], value) for key, code, value in rows}
    return {key: indicator for key, indicator in found.items() if allowlist.covers(indicator)}


def _related(entry: AllowEntry) -> Iterator[Indicator]:
    """What an entry covers for certain: itself, the networks around it, the names above it."""
    kind, value = entry
    if kind is IndicatorType.DOMAIN:
        for name in lineage(entry.zone or value):
            yield Indicator(kind, name)
        return
    yield Indicator(kind, value)
    if kind is IndicatorType.IP:
        for around in covering(value, range(parse_network(value).prefix)):
            yield Indicator(kind, around)


def _conditions(entry: AllowEntry) -> Iterator[_Condition]:
    """What else it may cover, generously."""
    if entry.type is IndicatorType.IP:
        yield from _of_network(parse_network(entry.value), entry.kind is EntryKind.NETWORK)
    elif entry.type is IndicatorType.DOMAIN:
        name = entry.zone or entry.value
        if entry.zone:
            yield IndicatorType.DOMAIN, "instr(value, ?) > 0", f".{name}"
        yield IndicatorType.URL, "instr(value, ?) > 0", name
        yield IndicatorType.EMAIL, "instr(value, ?) > 0", name


def _of_network(network: Network, is_wide: bool) -> Iterator[_Condition]:
    if network.version == 6:
        # Zeros are left out somewhere: no text is the beginning of all its addresses.
        if is_wide:
            yield IndicatorType.IP, "instr(value, ?) > 0", ":"
        yield IndicatorType.URL, "instr(value, ?) > 0", "["
        return
    octets = network_value(network).partition("/")[0].split(".")[: network.prefix // 8]
    begin = ".".join(octets) + ("." if len(octets) < 4 else "")
    if is_wide:
        yield IndicatorType.IP, "value LIKE ?", f"{begin}%"
    yield IndicatorType.URL, "instr(value, ?) > 0", f"/{begin}"
    yield IndicatorType.URL, "instr(value, ?) > 0", f"@{begin}"
