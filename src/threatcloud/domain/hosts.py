"""Hosts taken apart: the number of a plain IPv4 address, the names a name lies under, the host of a URL."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from threatcloud.domain.address import Network, parse_network

_OCTETS: Final = {str(octet): octet for octet in range(256)}


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
