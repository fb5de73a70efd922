"""For ``nft -f``: two sets of intervals, emptied and filled in one transaction.

Intervals of a set must not overlap, so networks are joined to the fewest that hold the same addresses.
"""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import Change, Delta, Versions, head
from threatcloud.formats.feeds.families import apart
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.snapshot import Snapshot

_TABLE: Final = "inet threat_cloud"
_NAMES: Final = ("blocklist4", "blocklist6")


def write(snapshot: Snapshot) -> bytes:
    """The sets ``blocklist4`` and ``blocklist6`` of the table ``inet threat_cloud``."""
    v4, v6 = apart(aggregated(snapshot.values))
    header = snapshot.header().decode()
    text = f"{header}add table {_TABLE}\n{_set(_NAMES[0], 'ipv4_addr', v4)}{_set(_NAMES[1], 'ipv6_addr', v6)}"
    return text.encode()


def _set(name: str, kind: str, values: list[str]) -> str:
    full = f"{_TABLE} {name}"
    declared = f"add set {full} {{ type {kind}; flags interval; }}\nflush set {full}\n"
    return declared + _elements("add", name, values)


def _elements(verb: str, name: str, values: list[str]) -> str:
    elements = ",\n".join(values)
    return f"{verb} element {_TABLE} {name} {{\n{elements}\n}}\n" if values else ""


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """The intervals to be deleted, then those to be added, in one transaction: of both versions of a list."""
    return b"".join(head(change, versions) + _commands(change).encode() for change in changes)


def _commands(change: Change) -> str:
    new, old = aggregated(change.added.values), aggregated(change.removed.values)
    kept = set(new) & set(old)
    parts = []
    for verb, values in (("delete", old), ("add", new)):
        own = apart([value for value in values if value not in kept])
        parts += [_elements(verb, name, found) for name, found in zip(_NAMES, own, strict=True)]
    return "".join(parts)


FORMAT: Final = Format(
    name="nftables",
    extension="nft",
    description="for `nft -f`: the sets `blocklist4` and `blocklist6` of `inet threat_cloud`, in one transaction",
    kinds=(IndicatorType.IP,),
    write=write,
    delta=Delta(write_delta, needs_lists=True),
)
