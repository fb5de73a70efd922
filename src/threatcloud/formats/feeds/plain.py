"""One value a line after three comment lines: what every list is unless another format is asked for."""

from typing import Final

from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot, lines


def write(snapshot: Snapshot) -> bytes:
    """The title, the time and the count, then the values."""
    return snapshot.header() + lines(snapshot.values)


FORMAT: Final = Format(
    name="plain",
    extension="txt",
    description="one value a line after three comment lines",
    kinds=LISTED_KINDS,
    write=write,
)
