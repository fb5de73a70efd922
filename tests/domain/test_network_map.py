"""The map of networks never denies one that is there."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.address import packed, packed_around, parse_network
from threatcloud.domain.indicator import IndicatorType, canonical
from threatcloud.domain.network_map import NetworkMap

# A small part of the space, so that networks and addresses meet.
FOURS = st.builds(
    lambda a, b, c, d, prefix: str(ip_network((f"{a}.{b}.{c}.{d}", prefix), strict=False)),
    st.sampled_from([0, 203, 255]),
    st.integers(0, 255),
    st.integers(0, 3),
    st.integers(0, 255),
    st.integers(0, 32),
)
SIXES = st.builds(
    lambda a, b, prefix: str(ip_network((f"2001:db8:{a:x}::{b:x}", prefix), strict=False)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 128),
)


@given(st.lists(FOURS | SIXES, max_size=6), FOURS | SIXES)
def test_it_tells_of_every_network_that_contains_a_value(networks: list[str], value: str) -> None:
    stored = {packed(parse_network(canonical(IndicatorType.IP, text).value)) for text in networks}
    found = NetworkMap()
    for item in stored:
        found.add(item)
    shown = canonical(IndicatorType.IP, value).value
    around = set(packed_around(shown, range(129)))
    assert stored & set(found.around(shown)) == stored & around


def test_an_address_far_from_every_network_needs_no_look_up() -> None:
    found = NetworkMap()
    assert found.around("203.0.113.7") == []
    found.add(packed(parse_network("203.0.0.0/16")))
    assert found.around("198.51.100.7") == []
    assert found.around("2001:db8::1") == []
    assert found.around("203.0.113.7") != []
