"""Hosts taken apart: the number of a plain IPv4 address, the names a name lies under, the host of a URL."""

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.address import Network, parse_network

_OCTETS: Final = {str(octet): octet for octet in range(256)}
_ANY: Final = "192.0.2.0"
#: So many addresses are taken apart at a time: four texts come of each.
_BATCH: Final = 10_000


class UrlHost(NamedTuple):
    """The host of a URL: its name or address as text, and the address as a network of one (None for a name).

    ``whole``: the path is ``/`` and there is no query, so blocking the URL blocks the host.
    """

    text: str
    network: Network | None
    whole: bool


def ipv4_number(value: str) -> int | None:
    """The number of a canonical IPv4 address such as ``192.0.2.1``; None for any other text."""
    try:
        first, second, third, fourth = value.split(".")
        return _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (KeyError, ValueError):
        return None


def numbered(values: Sequence[str]) -> tuple[list[int], dict[int, Network]]:
    """The first addresses of canonical ``ip`` values, in their order; and the networks of those that are no single IPv4
    address without a prefix, by place."""
    wide = {place: parse_network(value) for place, value in enumerate(values) if "/" in value or ":" in value}
    hosts = [_ANY if place in wide else value for place, value in enumerate(values)] if wide else values
    numbers = _ipv4_numbers(hosts)
    for place, network in wide.items():
        numbers[place] = network.first
    return numbers, wide


def _ipv4_numbers(values: Sequence[str]) -> list[int]:
    """The numbers of canonical IPv4 addresses, in half the time that each alone takes."""
    numbers = array("I")
    for begins in range(0, len(values), _BATCH):
        octets = ".".join(values[begins : begins + _BATCH]).split(".")
        numbers.frombytes(bytes(map(_OCTETS.__getitem__, octets)))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tolist()


def lineage(name: str) -> Iterator[str]:
    """The name itself, then every name it lies under, the top-level one last."""
    yield name
    while dot := name.find(".") + 1:
        name = name[dot:]
        yield name


def url_host(url: str) -> UrlHost:
    """The host of a canonical URL (WHATWG serialisation, so the path is never empty)."""
    authority, _, rest = url.partition("://")[2].partition("/")
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        text = host[1 : host.index("]")]
        return UrlHost(text, parse_network(text), not rest)
    text = host.partition(":")[0]
    number = ipv4_number(text)
    return UrlHost(text, None if number is None else Network(4, number, 32), not rest)
