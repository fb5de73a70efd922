"""A MaxMind DB file with the verdict on each network: what web servers, SIEMs and libraries look addresses up in."""

from typing import Final

from threatcloud.domain.address import parse_network
from threatcloud.domain.feed import Detail
from threatcloud.domain.hosts import ipv4_number
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED
from threatcloud.domain.times import SECOND_MS
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.mmdb import Placed, Value, database

_IPV4_BITS: Final = 96


def write(snapshot: Snapshot) -> bytes:
    """``{"verdict": "block", "reputation": 12, "category": "c2"}`` by address."""
    numbers: dict[tuple[int, str], int] = {}
    placed = []
    for entry in snapshot.entries:
        data = numbers.setdefault((entry.reputation, entry.category or UNCATEGORIZED), len(numbers))
        placed.append(_placed(entry.value, data))
    data_of: list[dict[str, Value]] = [
        {"verdict": "block", "reputation": reputation, "category": category} for reputation, category in numbers
    ]
    built_s = snapshot.generated_at // SECOND_MS
    return database(placed, data_of, "Threat-Cloud-IP-Blocklist", "Addresses of bad reputation", built_s)


def _placed(value: str, data: int) -> Placed:
    number = ipv4_number(value)
    if number is not None:
        return Placed(number, 128, data)
    version, first, prefix = parse_network(value)
    return Placed(first, prefix if version == 6 else prefix + _IPV4_BITS, data)


FORMAT: Final = Format(
    name="mmdb",
    extension="mmdb",
    description="a MaxMind DB file with verdict, reputation and category by address",
    media="application/vnd.maxmind.maxmind-db",
    kinds=(IndicatorType.IP,),
    write=write,
    detail=Detail.ENTRY,
)
