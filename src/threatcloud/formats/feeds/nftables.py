"""For ``nft -f``: two sets of intervals, emptied and filled in one transaction.

Intervals of a set must not overlap, so networks are joined to the fewest that hold the same addresses.
"""

from typing import Final

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.families import apart
from threatcloud.formats.feeds.format import Format, Snapshot

_TABLE: Final = "inet threat_cloud"


def write(snapshot: Snapshot) -> bytes:
    """The sets ``blocklist4`` and ``blocklist6`` of the table ``inet threat_cloud``."""
    v4, v6 = apart(aggregated(snapshot.values))
    header = snapshot.header().decode()
    text = f"{header}add table {_TABLE}\n{_set('blocklist4', 'ipv4_addr', v4)}{_set('blocklist6', 'ipv6_addr', v6)}"
    return text.encode()


def _set(name: str, kind: str, values: list[str]) -> str:
    full = f"{_TABLE} {name}"
    declared = f"add set {full} {{ type {kind}; flags interval; }}\nflush set {full}\n"
    elements = ",\n".join(values)
    return declared + (f"add element {full} {{\n{elements}\n}}\n" if values else "")


FORMAT: Final = Format(
    name="nftables",
    extension="nft",
    description="for `nft -f`: the sets `blocklist4` and `blocklist6` of `inet threat_cloud`, in one transaction",
    kinds=(IndicatorType.IP,),
    write=write,
)
