"""The sizes that are measured."""

from typing import NamedTuple


class Size(NamedTuple):
    """A store: how many addresses, and how many sightings of them."""

    name: str
    indicators: int
    sightings: int


SIZES = {
    size.name: size
    for size in (
        Size("10k", 10_000, 100_000),
        Size("100k", 100_000, 1_000_000),
        Size("1m", 1_000_000, 5_000_000),
    )
}
#: What flatness is measured against.
SMALLEST = SIZES["10k"]
