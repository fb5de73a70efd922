"""A CDB list of Wazuh: keys with their category. Networks are keys that end with a dot, which stand for whole octets.

A network between two octets is written as those of the next octet, at most 128 of them. A key holds a colon only
between quotation marks.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from threatcloud.domain.address import is_network, parse_network
from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED
from threatcloud.formats.feeds.format import Format, Refusal, joined
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """``key:category`` for each; a key is in the list once, as the worst it was."""
    found: dict[str, str] = {}
    for value, _, category, _, _ in snapshot.entries:
        for key in _keys(snapshot.kind, value):
            found.setdefault(key, category or UNCATEGORIZED)
    return joined(f"{key}:{category}\n" for key, category in found.items())


def _keys(kind: IndicatorType, value: str) -> Iterable[str]:
    if ":" in value:
        return (f'"{value}"',)
    return _octets(value) if kind is IndicatorType.IP and "/" in value else (value,)


def _octets(value: str) -> Iterator[str]:
    """The keys that together are an IPv4 network."""
    _, first, prefix = parse_network(value)
    octets = -(-prefix // 8)
    step = 1 << 32 - 8 * octets
    for number in range(first, first + (1 << 32 - prefix), step):
        shown = ".".join(map(str, number.to_bytes(4, "big")[:octets]))
        yield shown if octets == 4 else f"{shown}."


FORMAT: Final = Format(
    name="wazuh",
    extension="cdb",
    description="a CDB list of Wazuh: keys with their category",
    kinds=(IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL, IndicatorType.HASH),
    write=write,
    detail=Detail.ENTRY,
    refusals=(
        Refusal("networks of IPv6", lambda value: ":" in value and is_network(value), (IndicatorType.IP,)),
        Refusal("with a quotation mark in it", lambda url: '"' in url, (IndicatorType.URL,)),
    ),
)
