"""The fewest networks that hold exactly the addresses of a list: not one address more, not one less."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from threatcloud.domain.address import WIDTHS, Network, network_value, parse_network
from threatcloud.domain.hosts import ipv4_number
from threatcloud.domain.publication import WIDEST_PREFIXES

#: First and last address of a value, and its place in the list. A million are made: no class for them.
_Span = tuple[int, int, int]
_BEYOND: Final = (1 << 129, 1 << 129, -1)


def aggregated(values: Sequence[str]) -> list[str]:
    """The canonical values of the fewest networks that cover canonical ``ip`` values exactly.

    They are in the order of the list: each stands where the first of what it covers stood. None is wider than what a
    feed may list.
    """
    spans: dict[int, list[_Span]] = {4: [], 6: []}
    for place, value in enumerate(values):
        number = ipv4_number(value)
        if number is None:
            network = parse_network(value)
            spans[network.version].append((network.first, network.last, place))
        else:
            spans[4].append((number, number, place))
    found: list[tuple[int, str]] = []
    for version, own in spans.items():
        own.sort()
        for run in _runs(own):
            if len(run) == 1:
                place = run[0][2]
                found.append((place, values[place]))
            else:
                found += _networks_of(version, run)
    found.sort()
    return [value for _, value in found]


def _runs(spans: Iterable[_Span]) -> Iterator[Sequence[_Span]]:
    """The spans, sorted, in groups without an address between them that is in none."""
    run: list[_Span] = []
    beyond = -1
    for span in (*spans, _BEYOND):
        first, last, _ = span
        if first > beyond and run:
            yield run
            run = []
        run.append(span)
        beyond = max(beyond, last + 1)


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
