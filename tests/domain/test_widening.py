"""Lossy aggregation: what is gained, what it costs, and what is never taken along."""

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.widening import widened

_VALUES = st.lists(st.integers(0, 600).map(lambda n: f"198.51.{100 + n // 256}.{n % 256}"), unique=True, min_size=1)


def _size(values: list[str]) -> int:
    return sum(ip_network(value).num_addresses for value in values)


def test_a_network_is_taken_whole_when_enough_of_it_is_listed() -> None:
    values = ["198.51.100.0", "198.51.100.1", "198.51.100.3", "203.0.113.9", "2001:db8::1", "2001:db8::3"]

    found = widened(values, 75, lambda _: True)

    assert found.values == ["198.51.100.0/30", "203.0.113.9", "2001:db8::1", "2001:db8::3"]
    assert found.collateral == 1
    assert widened(values, 80, lambda _: True).collateral == 0


def test_what_may_not_be_listed_is_not_taken_along() -> None:
    values = ["198.51.100.0", "198.51.100.1", "198.51.100.3"]

    assert widened(values, 50, lambda _: False).values == ["198.51.100.0/31", "198.51.100.3"]


@given(_VALUES, st.integers(1, 100))
def test_every_address_stays_listed_and_the_collateral_is_counted(values: list[str], fill: int) -> None:
    found = widened(values, fill, lambda _: True)

    networks = [IPv4Network(value) for value in found.values]
    assert all(any(IPv4Network(value).subnet_of(network) for network in networks) for value in values)
    assert _size(found.values) == len(values) + found.collateral
    assert len(found.values) <= len(values)
    assert all(network.prefixlen >= 24 for network in networks)


@given(_VALUES)
def test_only_what_is_full_is_joined_without_collateral(values: list[str]) -> None:
    assert widened(values, 100, lambda _: True).collateral == 0
