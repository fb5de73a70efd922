"""The fewest networks, against a count over a tree of every address of a small range."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.address import Network, network_value, parse_network
from threatcloud.domain.aggregation import aggregated

#: The range that examples lie in: 64 addresses.
BITS = 6
BASES = {4: parse_network("198.51.100.64").first, 6: parse_network("2001:db8::ffc0").first}
WIDTHS = {4: 32, 6: 128}


def addresses(values: Sequence[str]) -> set[tuple[int, int]]:
    """(version, number) of every address in some networks."""
    networks = [parse_network(value) for value in values]
    return {(net.version, number) for net in networks for number in range(net.first, net.last + 1)}


def fewest(version: int, wanted: set[tuple[int, int]], first: int, bits: int) -> int:
    """How many networks it takes at least: one for a full branch of the tree, else what the two halves take."""
    full = [(version, number) in wanted for number in range(first, first + (1 << bits))]
    if all(full) or not any(full):
        return int(any(full))
    return fewest(version, wanted, first, bits - 1) + fewest(version, wanted, first + (1 << bits - 1), bits - 1)


@st.composite
def networks(draw: st.DrawFn) -> str:
    """A canonical value of a network, or an address, in the range."""
    version = draw(st.sampled_from((4, 6)))
    host_bits = draw(st.integers(0, BITS))
    offset = draw(st.integers(0, (1 << BITS - host_bits) - 1)) << host_bits
    return network_value(Network(version, BASES[version] + offset, WIDTHS[version] - host_bits))


@given(st.lists(networks(), max_size=40))
def test_the_same_addresses_in_the_fewest_networks(values: list[str]) -> None:
    found = aggregated(values)

    wanted = addresses(values)
    assert addresses(found) == wanted
    assert len(found) == sum(fewest(version, wanted, first, BITS) for version, first in BASES.items())
    assert all(ip_network(value) for value in found)


@given(st.lists(networks(), max_size=40))
def test_each_stands_where_the_first_of_what_it_covers_stood(values: list[str]) -> None:
    covered = [addresses([value]) for value in aggregated(values)]
    places = [min(at for at, value in enumerate(values) if addresses([value]) <= each) for each in covered]

    assert places == sorted(places)


@given(st.lists(networks(), max_size=40))
def test_the_fewest_cannot_be_joined_any_further(values: list[str]) -> None:
    found = aggregated(values)

    assert aggregated(found) == found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["198.51.100.7"], ["198.51.100.7"]),
        (["198.18.0.0/32"], ["198.18.0.0/32"]),
        (["198.18.0.1", "198.18.0.0/32"], ["198.18.0.0/31"]),
        (["203.0.113.9", "203.0.113.0/24", "203.0.113.9"], ["203.0.113.0/24"]),
        (["0.0.0.1", "0.0.0.0/32"], ["0.0.0.0/31"]),
        (["255.255.255.255", "255.255.255.254"], ["255.255.255.254/31"]),
        (["255.255.255.255", "::"], ["255.255.255.255", "::"]),
        (["2001:db8:1::/48", "198.51.100.7", "2001:db8::/48"], ["2001:db8::/47", "198.51.100.7"]),
    ],
)
def test_examples(values: list[str], expected: list[str]) -> None:
    assert aggregated(values) == expected


def test_no_network_is_wider_than_a_feed_may_list() -> None:
    assert aggregated(["198.19.0.0/16", "198.18.0.0/16"]) == ["198.19.0.0/16", "198.18.0.0/16"]
    assert aggregated(["2001:db9::/32", "2001:db8::/32"]) == ["2001:db9::/32", "2001:db8::/32"]
