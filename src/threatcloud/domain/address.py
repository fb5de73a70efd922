"""Addresses and networks as numbers, from canonical ``ip`` values and back.

A canonical value without a prefix is one address, with one it is a network. The exception: ``203.0.0.0/32``
is an address, because the plain ``203.0.0.0`` spells an anonymised observation of ``203.0.0.0/16``.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final, NamedTuple

#: Bits of an address by IP version.
WIDTHS: Final = {4: 32, 6: 128}
_MAPPED_TOP: Final = 0xFFFF  # ::ffff:0:0/96 shifted right by the 32 bits of the IPv4 address (RFC 4291 2.5.5.2)


class Network(NamedTuple):
    """The addresses that share the first ``prefix`` bits of ``first``; a host is a network of one."""

    version: int
    first: int
    prefix: int

    @property
    def last(self) -> int:
        """The highest address of the network."""
        return self.first | host_mask(self.version, self.prefix)


def host_mask(version: int, prefix: int) -> int:
    """The bits below a prefix, all set: 255 for (4, 24)."""
    return (1 << (WIDTHS[version] - prefix)) - 1


def masked(version: int, address: int, prefix: int) -> Network:
    """The network of that prefix around an address; IPv4-mapped IPv6 (RFC 4291 2.5.5.2) becomes IPv4."""
    if version == 6 and prefix >= 96 and address >> 32 == _MAPPED_TOP:
        return masked(4, address & 0xFFFFFFFF, prefix - 96)
    return Network(version, address & ~host_mask(version, prefix), prefix)


def network_value(network: Network) -> str:
    """The canonical text: RFC 5952 or dotted quad, a prefix for networks and for the host ``a.b.0.0/32``."""
    version, first, prefix = network
    text = ".".join(map(str, first.to_bytes(4, "big"))) if version == 4 else str(IPv6Address(first))
    anonymous_looking = version == 4 and not first & 0xFFFF
    return text if prefix == WIDTHS[version] and not anonymous_looking else f"{text}/{prefix}"


def parse_network(value: str) -> Network:
    """The network a canonical ``ip`` value names, a host as /32 or /128; ValueError when it is none."""
    text, _, prefix = value.partition("/")
    if ":" in text:
        return Network(6, int(IPv6Address(text)), int(prefix or 128))
    octets = bytes(map(int, text.split(".")))
    if len(octets) != 4:
        raise ValueError("an IPv4 address has four octets")
    return Network(4, int.from_bytes(octets, "big"), int(prefix or 32))


def is_network(value: str) -> bool:
    """Whether a canonical ``ip`` value is a network rather than one address."""
    return "/" in value and (":" in value or not value.endswith("/32"))


def covering(value: str, prefixes: Iterable[int]) -> list[str]:
    """The canonical values of the networks around a canonical ``ip`` value, in the order of ``prefixes``.

    Lengths not shorter than the value's own are passed over: nothing contains itself.
    """
    version, first, own = parse_network(value)
    return [network_value(masked(version, first, prefix)) for prefix in prefixes if 0 <= prefix < own]


def packed(network: Network) -> bytes:
    """17 bytes that sort by address, then widest first: the address as IPv6, then the prefix of 128 bits.

    IPv4 is mapped into ``::ffff:0:0/96``, so a /24 packs as 120 and one index serves both versions.
    """
    version, first, prefix = network
    if version == 4:
        first, prefix = _MAPPED_TOP << 32 | first, prefix + 96
    return first.to_bytes(16, "big") + bytes((prefix,))


def packed_around(value: str, prefixes: Iterable[int]) -> list[bytes]:
    """The packed networks, of these lengths on the 128 scale, that contain a canonical ``ip`` value but are not it."""
    version, first, own = parse_network(value)
    if version == 4:
        first, own = first | _MAPPED_TOP << 32, own + 96
    return [
        ((first >> 128 - prefix) << 128 - prefix).to_bytes(16, "big") + bytes((prefix,))
        for prefix in prefixes
        if prefix < own and (version == 6 or prefix >= 96)
    ]
