"""For ``iptables-restore --noflush`` and ``ip6tables-restore --noflush``: one chain, replaced in one commit.

A rule is looked at after the other, so networks are joined to the fewest; long lists are better off in sets.
"""

from collections.abc import Callable
from typing import Final

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.families import is_v4, is_v6
from threatcloud.formats.feeds.format import Format, Refusal, Snapshot, lines

_CHAIN: Final = "THREAT-CLOUD"


def write(snapshot: Snapshot) -> bytes:
    """The chain ``THREAT-CLOUD`` of the table ``filter``, which drops what comes from the list."""
    header = snapshot.header()
    rules = lines(aggregated(snapshot.values), f"-A {_CHAIN} -s ", " -j DROP")
    return header + f"*filter\n:{_CHAIN} - [0:0]\n".encode() + rules + b"COMMIT\n"


def _format(name: str, refuses: Callable[[str], bool], reason: str) -> Format:
    return Format(
        name=name,
        extension=name,
        description=f"for `{name}-restore --noflush`: the chain `{_CHAIN}`, replaced in one commit",
        kinds=(IndicatorType.IP,),
        write=write,
        refusals=(Refusal(reason, refuses),),
    )


FORMAT: Final = _format("iptables", is_v6, "of IPv6")
FORMAT_V6: Final = _format("ip6tables", is_v4, "of IPv4")
