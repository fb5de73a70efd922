"""The fewest networks that hold exactly the addresses of a list: not one address more, not one less."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from threatcloud.domain.address import WIDTHS, Network, network_value
from threatcloud.domain.hosts import numbered
from threatcloud.domain.publication import WIDEST_PREFIXES

#: A first address and, in the low bits, the place of its value in the list: a million numbers are quicker to sort than
#: as many pairs.
_Key = int
_PLACE_BITS: Final = 32
_PLACE: Final = (1 << _PLACE_BITS) - 1
_BEYOND: Final[_Key] = 1 << 129 + _PLACE_BITS
#: First and last address of a value, and its place in the list.
_Span = tuple[int, int, int]


def aggregated(values: Sequence[str]) -> list[str]:
    """The canonical values of the fewest networks that cover canonical ``ip`` values exactly.

    They are in the order of the list: each stands where the first of what it covers stood. None is wider than what a
    feed may list.
    """
    numbers, wide = numbered(values)
    keys: dict[int, list[_Key]] = {
        4: [number << _PLACE_BITS | place for place, number in enumerate(numbers) if place not in wide],
        6: [],
    }
    for place, network in wide.items():
        keys[network.version].append(network.first << _PLACE_BITS | place)
    lasts = {place: network.last for place, network in wide.items()}
    joined: dict[int, list[str]] = {}  # what stands in the place of each value that is not left as it is
    for version, own in keys.items():
        own.sort()
        for run in _runs(own, lasts):
            joined |= {place: [] for _, _, place in run}
            for place, value in _networks_of(version, run):
                joined[place].append(value)
    return _replaced(values, joined)


def _replaced(values: Sequence[str], others: Mapping[int, Sequence[str]]) -> list[str]:
    """The values with others in some places; what lies between two such places is taken at once."""
    found: list[str] = []
    begins = 0
    for place in sorted(others):
        found += values[begins:place]
        found += others[place]
        begins = place + 1
    return [*found, *values[begins:]]


def _runs(keys: Sequence[_Key], lasts: Mapping[int, int]) -> Iterator[list[_Span]]:
    """The spans of sorted keys in groups without an address between them that is in none; of one span alone no group.

    ``lasts``: the last address of what is more than one, by place.
    """
    begins, beyond = 0, -1
    for index, key in enumerate(chain(keys, (_BEYOND,))):
        first = key >> _PLACE_BITS
        last = lasts.get(key & _PLACE, first)
        if first > beyond:
            if index - begins > 1:
                yield [_span(one, lasts) for one in keys[begins:index]]
            begins, beyond = index, last + 1
        elif last >= beyond:
            beyond = last + 1


def _span(key: _Key, lasts: Mapping[int, int]) -> _Span:
    first, place = key >> _PLACE_BITS, key & _PLACE
    return first, lasts.get(place, first), place


def _networks_of(version: int, run: Sequence[_Span]) -> Iterator[tuple[int, str]]:
    """The largest networks within a run, each with the first place of what it covers."""
    first, _, place = run[0]
    end = max(last for _, last, _ in run)
    most_bits = WIDTHS[version] - WIDEST_PREFIXES[version]
    index = 0
    while first <= end:
        aligned = (first & -first).bit_length() - 1 if first else most_bits
        bits = min(aligned, (end - first + 1).bit_length() - 1, most_bits)
        beyond = first + (1 << bits)
        begins = index
        while index < len(run) and run[index][0] < beyond:
            index += 1
        place = min((span[2] for span in run[begins:index]), default=place)
        yield place, network_value(Network(version, first, WIDTHS[version] - bits))
        first = beyond
