"""Special-purpose addresses: our own table of the IANA registries, because ``ipaddress.is_global`` is wrong
on several.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), IPv4 and IPv6 multicast
and reserved space. No row is ever published, not even the few that the registries call globally reachable:
those are anycast services and identifiers, where no attacker lives. Transition prefixes (6to4, NAT64, Teredo)
are rows too: they stand for an IPv4 address that has an indicator of its own, and mean something else in each
network that uses them.
"""

from typing import Final, NamedTuple

from threatcloud.domain.address import WIDTHS, Network, parse_network
from threatcloud.domain.intervals import Intervals


class SpecialRange(NamedTuple):
    """One row: its network, its name in the registry, the document behind it, and whether it is routed."""

    network: Network
    name: str
    document: str
    globally_reachable: bool = False


def _row(network: str, name: str, document: str, globally_reachable: bool = False) -> SpecialRange:
    return SpecialRange(parse_network(network), name, document, globally_reachable)


#: The rows, those of IPv4 first. Where rows nest, the narrowest names an address.
SPECIAL_RANGES: Final = (
    _row("0.0.0.0/8", "This network", "RFC 791"),
    _row("10.0.0.0/8", "Private-Use", "RFC 1918"),
    _row("100.64.0.0/10", "Shared Address Space", "RFC 6598"),
    _row("127.0.0.0/8", "Loopback", "RFC 1122"),
    _row("169.254.0.0/16", "Link Local", "RFC 3927"),
    _row("172.16.0.0/12", "Private-Use", "RFC 1918"),
    _row("192.0.0.0/24", "IETF Protocol Assignments", "RFC 6890"),
    _row("192.0.0.0/29", "IPv4 Service Continuity Prefix", "RFC 7335"),
    _row("192.0.0.8/32", "IPv4 dummy address", "RFC 7600"),
    _row("192.0.0.9/32", "Port Control Protocol Anycast", "RFC 7723", globally_reachable=True),
    _row("192.0.0.10/32", "TURN Anycast", "RFC 8155", globally_reachable=True),
    _row("192.0.0.170/31", "NAT64/DNS64 Discovery", "RFC 8880"),
    _row("192.0.2.0/24", "Documentation (TEST-NET-1)", "RFC 5737"),
    _row("192.31.196.0/24", "AS112-v4", "RFC 7535", globally_reachable=True),
    _row("192.52.193.0/24", "AMT", "RFC 7450", globally_reachable=True),
    _row("192.88.99.0/24", "Deprecated 6to4 Relay Anycast", "RFC 7526"),
    _row("192.168.0.0/16", "Private-Use", "RFC 1918"),
    _row("192.175.48.0/24", "Direct Delegation AS112 Service", "RFC 7534", globally_reachable=True),
    _row("198.18.0.0/15", "Benchmarking", "RFC 2544"),
    _row("198.51.100.0/24", "Documentation (TEST-NET-2)", "RFC 5737"),
    _row("203.0.113.0/24", "Documentation (TEST-NET-3)", "RFC 5737"),
    _row("224.0.0.0/4", "Multicast", "RFC 5771"),
    _row("233.252.0.0/24", "Documentation (MCAST-TEST-NET)", "RFC 6676"),
    _row("240.0.0.0/4", "Reserved", "RFC 1112"),
    _row("255.255.255.255/32", "Limited Broadcast", "RFC 8190"),
    # Only 2000::/3 is global unicast (RFC 4291 section 2.4); these three rows are all the rest.
    _row("::/3", "Outside global unicast", "RFC 4291"),
    _row("4000::/2", "Outside global unicast", "RFC 4291"),
    _row("8000::/1", "Outside global unicast", "RFC 4291"),
    _row("::/96", "IPv4-compatible (deprecated)", "RFC 4291"),
    _row("::/128", "Unspecified Address", "RFC 4291"),
    _row("::1/128", "Loopback Address", "RFC 4291"),
    _row("::ffff:0:0/96", "IPv4-mapped Address", "RFC 4291"),
    _row("64:ff9b::/96", "IPv4-IPv6 Translation (NAT64)", "RFC 6052", globally_reachable=True),
    _row("64:ff9b:1::/48", "IPv4-IPv6 Translation (local NAT64)", "RFC 8215"),
    _row("100::/64", "Discard-Only", "RFC 6666"),
    _row("100:0:0:1::/64", "Dummy IPv6 Prefix", "RFC 9780"),
    _row("2001::/23", "IETF Protocol Assignments", "RFC 2928"),
    _row("2001::/32", "Teredo", "RFC 4380"),
    _row("2001:1::1/128", "Port Control Protocol Anycast", "RFC 7723", globally_reachable=True),
    _row("2001:1::2/128", "TURN Anycast", "RFC 8155", globally_reachable=True),
    _row("2001:1::3/128", "DNS-SD SRP Anycast", "RFC 9665", globally_reachable=True),
    _row("2001:2::/48", "Benchmarking", "RFC 5180"),
    _row("2001:3::/32", "AMT", "RFC 7450", globally_reachable=True),
    _row("2001:4:112::/48", "AS112-v6", "RFC 7535", globally_reachable=True),
    _row("2001:10::/28", "Deprecated ORCHID", "RFC 4843"),
    _row("2001:20::/28", "ORCHIDv2", "RFC 7343", globally_reachable=True),
    _row("2001:30::/28", "Drone Remote ID (DET)", "RFC 9374", globally_reachable=True),
    _row("2001:db8::/32", "Documentation", "RFC 3849"),
    _row("2002::/16", "6to4", "RFC 3056"),
    _row("2620:4f:8000::/48", "Direct Delegation AS112 Service", "RFC 7534", globally_reachable=True),
    _row("3ffe::/16", "6bone (returned)", "RFC 3701"),
    _row("3fff::/20", "Documentation", "RFC 9637"),
    _row("5f00::/16", "Segment Routing (SRv6) SIDs", "RFC 9602"),
    _row("fc00::/7", "Unique-Local", "RFC 4193"),
    _row("fe80::/10", "Link-Local Unicast", "RFC 4291"),
    _row("fec0::/10", "Deprecated Site-Local", "RFC 3879"),
    _row("ff00::/8", "Multicast", "RFC 4291"),
)

_BY_RANK: Final = tuple(sorted(SPECIAL_RANGES, key=lambda row: -row.network.prefix))
_NAMES: Final = tuple(f"{row.name} ({row.document})" for row in _BY_RANK)


def _intervals(version: int) -> Intervals:
    return Intervals(
        (row.network.first, row.network.last, rank)
        for rank, row in enumerate(_BY_RANK)
        if row.network.version == version
    )


_IPV4: Final = _intervals(4)
_IPV6: Final = _intervals(6)
_IPV4_MASK: Final = 0xFFFFFFFF
_6TO4_TOP: Final = 0x2002
_TEREDO_TOP: Final = 0x2001 << 16
_IPV4_LAST: Final = frozenset({0xFFFF, 0x64_FF9B << 64})  # ::ffff:0:0/96 and 64:ff9b::/96, shifted right by 32


def special_range(network: Network) -> str | None:
    """The registry entry that an address or network overlaps, in either direction: its name and document.

    None for a network wholly of ordinary global addresses. The narrowest entry is named, and with a
    transition prefix the entry of the IPv4 address inside, when that is special too: ``6to4 (RFC 3056) of
    Private-Use (RFC 1918)``.
    """
    version, first, prefix = network
    rows = _IPV4 if version == 4 else _IPV6
    rank = rows.at(first)
    if rank is None and prefix < WIDTHS[version]:
        rank = rows.strongest(first, network.last)
    if rank is None:
        return None
    inner = embedded_ipv4(network)
    inner_name = special_range(inner) if inner else None
    return f"{_NAMES[rank]} of {inner_name}" if inner_name else _NAMES[rank]


def special_ipv4(address: int) -> str | None:
    """``special_range`` for one IPv4 address by its number, the quick way."""
    rank = _IPV4.at(address)
    return None if rank is None else _NAMES[rank]


def embedded_ipv4(network: Network) -> Network | None:
    """The IPv4 address or network inside an IPv6 one; None when there is none.

    Reads IPv4-mapped (RFC 4291), NAT64 with the well-known prefix (RFC 6052), 6to4 (RFC 3056) and the client
    of a Teredo address (RFC 4380).
    """
    version, first, prefix = network
    if version == 4:
        return None
    if first >> 112 == _6TO4_TOP and prefix >= 16:
        return Network(4, first >> 80 & _IPV4_MASK, min(prefix - 16, 32))
    if first >> 96 == _TEREDO_TOP and prefix == 128:
        return Network(4, first & _IPV4_MASK ^ _IPV4_MASK, 32)  # every bit is flipped, RFC 4380 section 4
    if first >> 32 in _IPV4_LAST and prefix >= 96:
        return Network(4, first & _IPV4_MASK, prefix - 96)
    return None
