"""A MaxMind DB file with the verdict on each network: what web servers, SIEMs and libraries look addresses up in."""

from collections import defaultdict
from itertools import count
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.hosts import numbered
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED
from threatcloud.domain.times import SECOND_MS
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.mmdb import Value, database

_IPV4_BITS: Final = 96


def write(snapshot: Snapshot) -> bytes:
    """``{"verdict": "block", "reputation": 12, "category": "c2"}`` by address."""
    numbers: dict[tuple[int, str], int] = defaultdict(count().__next__)
    data = [numbers[reputation, category or UNCATEGORIZED] for _, reputation, category, _, _ in snapshot.entries]
    firsts, wide = numbered(snapshot.values)
    prefixes = [128] * len(firsts)
    for place, (version, _, prefix) in wide.items():
        prefixes[place] = prefix if version == 6 else prefix + _IPV4_BITS
    data_of: list[dict[str, Value]] = [
        {"verdict": "block", "reputation": reputation, "category": category} for reputation, category in numbers
    ]
    placed = zip(firsts, prefixes, data, strict=True)
    built_s = snapshot.generated_at // SECOND_MS
    return database(placed, data_of, "Threat-Cloud-IP-Blocklist", "Addresses of bad reputation", built_s)


FORMAT: Final = Format(
    name="mmdb",
    extension="mmdb",
    description="a MaxMind DB file with verdict, reputation and category by address",
    media="application/vnd.maxmind.maxmind-db",
    kinds=(IndicatorType.IP,),
    write=write,
    detail=Detail.ENTRY,
)
