import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.address import (
    Network,
    covering,
    is_network,
    masked,
    network_value,
    packed,
    parse_network,
)
from threatcloud.domain.canonical.ip import canonical_ip

ipv4_networks = st.builds(masked, st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 32))
ipv6_networks = st.builds(masked, st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 128))
networks = ipv4_networks | ipv6_networks


@pytest.mark.parametrize(
    ("value", "network", "last", "wide"),
    [
        ("192.0.2.1", Network(4, 0xC0000201, 32), 0xC0000201, False),
        ("192.0.2.0/24", Network(4, 0xC0000200, 24), 0xC00002FF, True),
        ("203.0.0.0/32", Network(4, 0xCB000000, 32), 0xCB000000, False),
        ("203.0.0.0/16", Network(4, 0xCB000000, 16), 0xCB00FFFF, True),
        ("0.0.0.0/0", Network(4, 0, 0), 2**32 - 1, True),
        ("::1", Network(6, 1, 128), 1, False),
        ("2001:db8::/32", Network(6, 0x20010DB8 << 96, 32), (0x20010DB9 << 96) - 1, True),
        ("::/0", Network(6, 0, 0), 2**128 - 1, True),
    ],
)
def test_values_and_numbers(value: str, network: Network, last: int, wide: bool) -> None:
    assert parse_network(value) == network
    assert network_value(network) == value
    assert network.last == last
    assert is_network(value) is wide


@pytest.mark.parametrize("value", ["", "192.0.2", "192.0.2.1.1", "192.0.2.256", "example.com", "2001:db8::g", "::/x"])
def test_what_is_no_value_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_network(value)


@given(networks)
def test_values_are_canonical_and_read_back(network: Network) -> None:
    value = network_value(network)
    assert canonical_ip(value) == value
    assert parse_network(value) == network
    assert is_network(value) is (network.first != network.last)


@given(networks)
def test_bounds_agree_with_the_standard_library(network: Network) -> None:
    kind = ipaddress.IPv4Network if network.version == 4 else ipaddress.IPv6Network
    same = kind((network.first, network.prefix))
    assert network.last == int(same.broadcast_address)


def test_covering_lists_the_networks_around_in_the_order_asked() -> None:
    assert covering("203.0.113.9", (24, 16, 8)) == ["203.0.113.0/24", "203.0.0.0/16", "203.0.0.0/8"]
    assert covering("203.0.113.9", (0, 31, 32)) == ["0.0.0.0/0", "203.0.113.8/31"]
    assert covering("203.0.113.0/24", (16, 24, 28)) == ["203.0.0.0/16"]
    assert covering("203.0.0.0/32", (16,)) == ["203.0.0.0/16"]
    assert covering("2001:db8::1", (32, 64)) == ["2001:db8::/32", "2001:db8::/64"]
    assert covering("192.0.2.1", ()) == []


@given(networks, st.integers(0, 127))
def test_what_covers_a_value_holds_all_of_it(network: Network, prefix: int) -> None:
    found = covering(network_value(network), [prefix])
    assert len(found) == (prefix < network.prefix)
    for value in found:
        outer = parse_network(value)
        assert outer.prefix == prefix
        assert outer.first <= network.first <= network.last <= outer.last


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("192.0.2.0/24", "00000000000000000000ffffc000020078"),
        ("192.0.2.1", "00000000000000000000ffffc000020180"),
        ("0.0.0.0/0", "00000000000000000000ffff0000000060"),
        ("2001:db8::/32", "20010db800000000000000000000000020"),
        ("::1", "0000000000000000000000000000000180"),
    ],
)
def test_packed(value: str, expected: str) -> None:
    assert packed(parse_network(value)).hex() == expected


@given(networks, networks)
def test_packed_sorts_by_address_then_widest_first(one: Network, other: Network) -> None:
    if one.version == other.version:
        assert (packed(one) < packed(other)) == ((one.first, one.prefix) < (other.first, other.prefix))
