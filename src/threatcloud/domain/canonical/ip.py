"""Canonical ``ip`` values: strict dotted quads (no octal), RFC 5952 IPv6, CIDR networks without host bits."""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from threatcloud.domain.address import WIDTHS, masked, network_value, parse_network
from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.refang import prepare

_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
is_ipv4: Final = re.compile(_IPV4).fullmatch
_with_port: Final = re.compile(rf"(?:({_IPV4})|\[([^]]*)\])(?::([0-9]{{1,5}}))?").fullmatch
_is_prefix: Final = re.compile(r"0|[1-9][0-9]{0,2}").fullmatch
_leading_zero: Final = re.compile(r"(?:^|\.)0[0-9]").search

_EXPECTED: Final = "must be an IPv4 or IPv6 address or a CIDR network, such as 192.0.2.1 or 2001:db8::/32"


def canonical_ip(text: str) -> str:
    """The canonical value of an address or network; raises InvalidIndicator.

    A port is dropped, IPv4-mapped IPv6 becomes IPv4, host bits below a prefix are cleared. ``a.b.0.0``
    without a prefix is an anonymised observation and gives ``a.b.0.0/16``; its host is ``a.b.0.0/32``.
    """
    return plain_ipv4(text) or _address_or_network(prepare(text))


def plain_ipv4(text: str) -> str | None:
    """The canonical value of a bare dotted quad, and None for every other text: the quick way."""
    return _without_prefix(text) if is_ipv4(text) else None


def _address_or_network(text: str) -> str:
    host, slash, prefix = text.partition("/")
    if slash:
        version, address = _parse(host)
        return network_value(masked(version, address, _prefix_length(prefix, WIDTHS[version])))
    version, address = _parse(_without_port(text))
    host = network_value(masked(version, address, WIDTHS[version]))
    return _without_prefix(host.removesuffix("/32"))


def _without_prefix(address: str) -> str:
    return f"{address}/16" if address.endswith(".0.0") else address


def _prefix_length(text: str, width: int) -> int:
    if not _is_prefix(text) or int(text) > width:
        raise InvalidIndicator(f"must have a whole number from 0 to {width} after the slash")
    return int(text)


def _without_port(text: str) -> str:
    match = _with_port(text)
    if not match:
        return text
    if match[3] and int(match[3]) > 65535:
        raise InvalidIndicator("must have a port from 0 to 65535, or none")
    return match[1] or match[2]


def _parse(host: str) -> tuple[int, int]:
    """Version and number of one address as it is written, mapped or not."""
    if is_ipv4(host):
        network = parse_network(host)
        return network.version, network.first
    if "%" in host:
        raise InvalidIndicator("must be an address without a zone id, which has a meaning on one machine only")
    try:
        return 6, int(IPv6Address(host))
    except AddressValueError:
        raise InvalidIndicator(_why_not(host)) from None


def _why_not(host: str) -> str:
    if not host.strip("0123456789.") and _leading_zero(host):
        return "must have octets without leading zeros, which some systems read as octal"
    if host and not host.strip("0123456789.-*"):
        return "must be one address or a CIDR network such as 192.0.2.0/24, not a range, a pattern or a part"
    return _EXPECTED
