"""Where this server may connect to of its own accord: URLs an operator typed, which a name, a redirect or a rebinding
must not turn on this machine or its network (server-side request forgery).

The address that is connected to decides, however it was spelled: a URL is read by the WHATWG standard, in which
``http://2130706433/`` and ``http://0177.1/`` are 127.0.0.1, and every address its name resolves to is looked at.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

import can_ada

from threatcloud.domain.address import WIDTHS, Network, masked
from threatcloud.domain.errors import DomainError
from threatcloud.domain.special_addresses import embedded_ipv4, special_range

_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_CHARS: Final = 2_048


class OutboundRefused(DomainError):
    """This server does not connect there; the message says why and what would allow it."""

    code = "outbound_refused"


class Destination(NamedTuple):
    """What a URL leads to: ``url`` as the standard spells it, and the parts that connecting needs.

    ``host``: a name without its final dot, or an address without brackets. ``authority``: as the Host header says it.
    """

    url: str
    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @property
    def address(self) -> str | None:
        """The address that the URL itself names; None for a name."""
        return self.host if _network(self.host) else None


def destination(url: str) -> Destination:
    """The destination of a URL; OutboundRefused for what is none, is no http or https, or carries a password."""
    text = url.strip()
    if len(text) > MAX_URL_CHARS or not text.isprintable():
        raise OutboundRefused(f"must be a URL of at most {MAX_URL_CHARS} printable characters")
    try:
        parsed = can_ada.parse(text)
    except ValueError:
        raise OutboundRefused("must be an absolute URL, such as https://example.org/hook") from None
    scheme = parsed.protocol.removesuffix(":")
    if scheme not in _PORTS:
        raise OutboundRefused(f"must begin with https:// or http://, not {scheme}:")
    if parsed.username or parsed.password:
        raise OutboundRefused("must not carry a user name or password")
    host = parsed.hostname.removeprefix("[").removesuffix("]").removesuffix(".")
    if not host:
        raise OutboundRefused("must name a host")
    port = int(parsed.port) if parsed.port else _PORTS[scheme]
    name = f"[{host}]" if ":" in host else host
    authority = f"{name}:{parsed.port}" if parsed.port else name
    target = parsed.pathname + parsed.search
    return Destination(f"{scheme}://{authority}{target}", scheme, host, port, authority, target)


def refusal(address: str, allowed: Sequence[Network]) -> str | None:
    """Why an address is not connected to, in words; None when it may be.

    Only ordinary global addresses are, and what is ``allowed`` on purpose. IPv4 inside IPv6 (mapped, NAT64, 6to4,
    Teredo) has to be allowed by its own address, too: who allows a translator does not allow what is behind it.
    """
    network = _network(address)
    if network is None:
        return "is no address"
    inner = embedded_ipv4(network)
    if inner is not None and (reason := _refusal(inner, allowed)):
        return reason
    return _refusal(network, allowed)


def _refusal(network: Network, allowed: Sequence[Network]) -> str | None:
    if any(_holds(wide, network) for wide in allowed):
        return None
    special = special_range(network)
    return None if special is None else f"is not on the internet: {special}"


def _holds(wide: Network, network: Network) -> bool:
    return wide.version == network.version and wide.first <= network.first and network.last <= wide.last


def _network(address: str) -> Network | None:
    """An address as a network of one; a mapped one is the IPv4 address that the system connects to. A zone (``%eth0``)
    does not belong to it."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return masked(found.version, int(found), WIDTHS[found.version])
