"""The special-purpose registries against an independent oracle, and what lies inside transition addresses."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from threatcloud.domain.address import WIDTHS, Network, parse_network
from threatcloud.domain.special_addresses import (
    SPECIAL_RANGES,
    embedded_ipv4,
    special_ipv4,
    special_range,
)

# Typed from the registries once more, merged and without names.
NOT_ORDINARY = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/3",
        "4000::/2",
        "8000::/1",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3ffe::/16",
        "3fff::/20",
    )
]
EDGES = sorted(
    {
        (network.version, edge)
        for network in NOT_ORDINARY
        for edge in (
            int(network.network_address) - 1,
            int(network.network_address),
            int(network.broadcast_address),
            int(network.broadcast_address) + 1,
        )
        if 0 <= edge < 1 << network.max_prefixlen
    }
)


def host(version: int, number: int) -> Network:
    return Network(version, number, WIDTHS[version])


def around(version: int, number: int, prefix: int) -> Network:
    width = WIDTHS[version]
    return Network(version, number >> (width - prefix) << (width - prefix), prefix)


def overlaps_oracle(network: Network) -> bool:
    last = network.first + (1 << (WIDTHS[network.version] - network.prefix)) - 1
    return any(
        network.first <= int(other.broadcast_address) and int(other.network_address) <= last
        for other in NOT_ORDINARY
        if other.version == network.version
    )


numbers = st.one_of(
    st.sampled_from(EDGES),
    st.tuples(st.just(4), st.integers(0, (1 << 32) - 1)),
    st.tuples(st.just(6), st.integers(0, (1 << 128) - 1)),
    st.tuples(st.just(6), st.integers(0x2000 << 112, (0x4000 << 112) - 1)),
)


@given(numbers)
def test_an_address_is_special_exactly_when_the_oracle_says_so(number: tuple[int, int]) -> None:
    network = host(*number)
    assert (special_range(network) is not None) == overlaps_oracle(network)


@given(numbers, st.integers(0, 128))
def test_a_network_is_special_when_it_overlaps_in_either_direction(number: tuple[int, int], prefix: int) -> None:
    version, address = number
    network = around(version, address, min(prefix, WIDTHS[version]))
    assert (special_range(network) is not None) == overlaps_oracle(network)


@given(numbers)
def test_whatever_python_calls_not_global_is_special(number: tuple[int, int]) -> None:
    version, address = number
    standard = ipaddress.IPv4Address(address) if version == 4 else ipaddress.IPv6Address(address)
    if not standard.is_global:
        assert special_range(host(version, address)) is not None


@given(st.integers(0, (1 << 32) - 1))
@example(0x08080808)
@example(0x0A000005)
def test_the_quick_way_agrees(address: int) -> None:
    assert special_ipv4(address) == special_range(host(4, address))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("10.0.0.5", "Private-Use (RFC 1918)"),
        ("100.64.1.1", "Shared Address Space (RFC 6598)"),
        ("127.0.0.1", "Loopback (RFC 1122)"),
        ("192.88.99.1", "Deprecated 6to4 Relay Anycast (RFC 7526)"),
        ("192.0.0.9", "Port Control Protocol Anycast (RFC 7723)"),
        ("224.0.0.1", "Multicast (RFC 5771)"),
        ("233.252.0.7", "Documentation (MCAST-TEST-NET) (RFC 6676)"),
        ("250.1.2.3", "Reserved (RFC 1112)"),
        ("::1", "Loopback Address (RFC 4291)"),
        ("3fff:123::1", "Documentation (RFC 9637)"),
        ("5f00::1", "Segment Routing (SRv6) SIDs (RFC 9602)"),
        ("a83f:8110:2000::1", "Outside global unicast (RFC 4291)"),
        ("fe80::1", "Link-Local Unicast (RFC 4291)"),
        ("fec0::1", "Deprecated Site-Local (RFC 3879)"),
        ("ff02::1", "Multicast (RFC 4291)"),
        ("64:ff9b:1::1", "IPv4-IPv6 Translation (local NAT64) (RFC 8215)"),
        # A transition address is withheld whatever is inside; what is inside is named when it is special too.
        ("64:ff9b::808:808", "IPv4-IPv6 Translation (NAT64) (RFC 6052)"),
        ("64:ff9b::a00:1", "IPv4-IPv6 Translation (NAT64) (RFC 6052) of Private-Use (RFC 1918)"),
        ("2002:808:808::1", "6to4 (RFC 3056)"),
        ("2002:a00:1::", "6to4 (RFC 3056) of Private-Use (RFC 1918)"),
        ("2002:a00::/24", "6to4 (RFC 3056) of Private-Use (RFC 1918)"),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", "Teredo (RFC 4380) of Private-Use (RFC 1918)"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo (RFC 4380) of Documentation (TEST-NET-1) (RFC 5737)"),
        ("::ffff:0:0/96", "IPv4-mapped Address (RFC 4291) of This network (RFC 791)"),
        # Wide networks are named by what they begin in, else by the narrowest row inside.
        ("0.0.0.0/0", "This network (RFC 791)"),
        ("192.0.0.0/8", "IPv4 Service Continuity Prefix (RFC 7335)"),
        ("8.0.0.0/5", "Private-Use (RFC 1918)"),
    ],
)
def test_special_ranges_are_named(value: str, name: str) -> None:
    assert special_range(parse_network(value)) == name


@pytest.mark.parametrize("value", ["8.8.8.8", "1.1.1.0/24", "100.63.255.255", "2001:4860:4860::8888", "2600::/12"])
def test_ordinary_addresses_are_not_special(value: str) -> None:
    assert special_range(parse_network(value)) is None


@given(st.integers(0, (1 << 32) - 1))
def test_embedded_ipv4_is_found_in_each_form(address: int) -> None:
    expected = Network(4, address, 32)
    flipped = address ^ 0xFFFFFFFF
    for number in (
        0xFFFF << 32 | address,
        0x64FF9B << 96 | address,
        0x2002 << 112 | address << 80 | 5,
        0x2001 << 112 | 0x4136E378 << 64 | flipped,
    ):
        assert embedded_ipv4(host(6, number)) == expected


def test_ordinary_addresses_embed_nothing() -> None:
    assert embedded_ipv4(parse_network("8.8.8.8")) is None
    assert embedded_ipv4(parse_network("2a00::1")) is None
    assert embedded_ipv4(parse_network("2001::/32")) is None


def test_rows_are_networks_without_host_bits() -> None:
    for row in SPECIAL_RANGES:
        assert row.network == around(*row.network)
    assert len({row.network for row in SPECIAL_RANGES}) == len(SPECIAL_RANGES)
