"""Ranked ranges against a slow oracle that asks every range."""

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.intervals import Intervals, Range

SPACE = 40
addresses = st.integers(0, SPACE)
ranges = st.lists(
    st.tuples(addresses, addresses, st.integers(0, 5)).map(lambda r: (min(r[:2]), max(r[:2]), r[2])), max_size=12
)


def strongest(listed: list[Range], first: int, last: int) -> int | None:
    return min((rank for start, end, rank in listed if start <= last and first <= end), default=None)


@given(ranges)
def test_every_address_reads_its_strongest_range(listed: list[Range]) -> None:
    intervals = Intervals(listed)
    for address in range(SPACE + 1):
        assert intervals.at(address) == strongest(listed, address, address)


@given(ranges, addresses, addresses)
def test_a_range_reads_the_strongest_it_overlaps(listed: list[Range], one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    assert Intervals(listed).strongest(first, last) == strongest(listed, first, last)


@given(ranges)
def test_stretches_are_as_few_as_can_be(listed: list[Range]) -> None:
    ranks = [strongest(listed, address, address) for address in range(SPACE + 2)]
    changes = [after for before, after in zip([None, *ranks], ranks, strict=False) if after != before]
    assert len(Intervals(listed)) == len([rank for rank in changes if rank is not None])


@given(ranges)
def test_what_is_made_of_its_stretches_is_the_same(listed: list[Range]) -> None:
    intervals = Intervals(listed)
    again = Intervals.of(intervals.stretches)
    assert again.stretches == intervals.stretches
    for address in range(SPACE + 1):
        assert again.at(address) == intervals.at(address)


def test_an_empty_set_holds_nothing() -> None:
    assert Intervals().at(7) is None
    assert Intervals().strongest(0, 1 << 128) is None


def test_the_last_addresses_of_ipv6_are_held() -> None:
    top = (1 << 128) - 1
    assert Intervals([(top - 1, top, 3)]).at(top) == 3
    assert Intervals([(0, top, 3), (top, top, 1)]).at(top) == 1
