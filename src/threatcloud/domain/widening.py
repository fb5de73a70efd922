"""Fewer networks than hold exactly the addresses of a list, at the price of addresses that nobody listed."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.address import Network, network_value, parse_network
from threatcloud.domain.aggregation import aggregated

#: No network of more addresses is taken whole: those beside an attacker in it may be anybody.
WIDEST: Final = 24
_WIDTH: Final = 32


class Widened(NamedTuple):
    """The values, in the order of the list, and how many addresses they hold that are in none of the list."""

    values: list[str]
    collateral: int


def widened(values: Sequence[str], min_fill_percent: int, may: Callable[[str], bool]) -> Widened:
    """Networks of IPv4 up to a /24 of whose addresses at least this part is listed are taken whole, where they ``may``.

    The rest is joined exactly; of IPv6 nothing is taken whole, since no network of it is ever filled.
    """
    groups: dict[int, list[Network]] = {}
    order: list[str | int] = []
    for value in aggregated(values):
        network = None if ":" in value else parse_network(value)
        if network is None or network.prefix <= WIDEST:
            order.append(value)
            continue
        first = network.first >> (_WIDTH - WIDEST)
        if first not in groups:
            order.append(first)
        groups.setdefault(first, []).append(network)
    found: list[str] = []
    collateral = 0
    for item in order:
        if isinstance(item, str):
            found.append(item)
            continue
        whole = Network(4, item << (_WIDTH - WIDEST), WIDEST)
        taken, extra = _taken(whole, groups[item], min_fill_percent, may)
        found += taken
        collateral += extra
    return Widened(found, collateral)


def _taken(
    whole: Network, parts: list[Network], min_fill_percent: int, may: Callable[[str], bool]
) -> tuple[list[str], int]:
    """What is taken of a network with these parts listed, and how many addresses of that are not."""
    if len(parts) < 2:
        return [network_value(part) for part in parts], 0
    size = 1 << (_WIDTH - whole.prefix)
    listed = sum(1 << (_WIDTH - part.prefix) for part in parts)
    value = network_value(whole)
    if listed * 100 >= size * min_fill_percent and may(value):
        return [value], size - listed
    middle = whole.first + size // 2
    lower = [part for part in parts if part.first < middle]
    upper = [part for part in parts if part.first >= middle]
    half = whole.prefix + 1
    one, one_extra = _taken(Network(4, whole.first, half), lower, min_fill_percent, may)
    other, other_extra = _taken(Network(4, middle, half), upper, min_fill_percent, may)
    return one + other, one_extra + other_extra
