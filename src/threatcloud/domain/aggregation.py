"""The fewest networks that hold exactly the addresses of a list: not one address more, not one less."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from threatcloud.domain.address import WIDTHS, Network, network_value, parse_network
from threatcloud.domain.publication import WIDEST_PREFIXES


class _Span(NamedTuple):
    """The addresses of one value, and the place of the value in its list."""

    version: int
    first: int
    last: int
    place: int


def aggregated(values: Sequence[str]) -> list[str]:
    """The canonical values of the fewest networks that cover canonical ``ip`` values exactly.

    They are in the order of the list: each stands where the first of what it covers stood. None is wider than what a
    feed may list.
    """
    networks = map(parse_network, values)
    spans = sorted(_Span(net.version, net.first, net.last, place) for place, net in enumerate(networks))
    found: list[tuple[int, str]] = []
    for run in _runs(spans):
        if len(run) == 1:
            found.append((run[0].place, values[run[0].place]))
        else:
            found += _networks_of(run)
    found.sort()
    return [value for _, value in found]


def _runs(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    """The spans, sorted, in groups without an address between them that is in none."""
    run: list[_Span] = []
    end = -1
    for span in spans:
        if run and (span.first > end + 1 or span.version != run[0].version):
            yield run
            run, end = [], -1
        run.append(span)
        end = max(end, span.last)
    if run:
        yield run


def _networks_of(run: list[_Span]) -> Iterator[tuple[int, str]]:
    """The largest networks within a run, each with the first place of what it covers."""
    version, first, _, place = run[0]
    end = max(map(attrgetter("last"), run))
    most_bits = WIDTHS[version] - WIDEST_PREFIXES[version]
    index = 0
    while first <= end:
        aligned = (first & -first).bit_length() - 1 if first else most_bits
        bits = min(aligned, (end - first + 1).bit_length() - 1, most_bits)
        beyond = first + (1 << bits)
        begins = index
        while index < len(run) and run[index].first < beyond:
            index += 1
        place = min((span.place for span in run[begins:index]), default=place)
        yield place, network_value(Network(version, first, WIDTHS[version] - bits))
        first = beyond
