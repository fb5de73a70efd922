"""For ``iptables-restore --noflush`` and ``ip6tables-restore --noflush``: one chain, replaced in one commit.

A rule is looked at after the other, so networks are joined to the fewest; long lists are better off in sets.
"""

from collections.abc import Callable, Sequence
from typing import Final

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import Change, Delta, Versions, changed_lines, head
from threatcloud.formats.feeds.families import is_v4, is_v6
from threatcloud.formats.feeds.format import Format, Refusal, lines
from threatcloud.formats.feeds.snapshot import Snapshot

_CHAIN: Final = "THREAT-CLOUD"


def write(snapshot: Snapshot) -> bytes:
    """The chain ``THREAT-CLOUD`` of the table ``filter``, which drops what comes from the list."""
    header = snapshot.header()
    rules = lines(aggregated(snapshot.values), f"-A {_CHAIN} -s ", " -j DROP")
    return header + f"*filter\n:{_CHAIN} - [0:0]\n".encode() + rules + b"COMMIT\n"


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """The rules that go from the chain and those that come into it, in one commit."""
    return b"".join(head(change, versions) + _commands(*changed_lines(write, change)) for change in changes)


def _commands(new: list[str], old: list[str]) -> bytes:
    gone = [line.replace("-A ", "-D ", 1) for line in old]
    return "\n".join(["*filter", *gone, *new, "COMMIT", ""]).encode()


def _format(name: str, refuses: Callable[[str], bool], reason: str) -> Format:
    return Format(
        name=name,
        extension=name,
        description=f"for `{name}-restore --noflush`: the chain `{_CHAIN}`, replaced in one commit",
        kinds=(IndicatorType.IP,),
        write=write,
        delta=Delta(write_delta, needs_lists=True),
        refusals=(Refusal(reason, refuses),),
    )


FORMAT: Final = _format("iptables", is_v6, "of IPv6")
FORMAT_V6: Final = _format("ip6tables", is_v4, "of IPv4")
