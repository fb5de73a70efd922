"""One value a line after three comment lines: what every list is unless another format is asked for."""

from collections.abc import Sequence
from typing import Final

from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """The title, the time and the count, then the values."""
    return snapshot.header() + lines(snapshot.values)


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One list after the other, each with its comment lines."""
    return b"".join(map(write, snapshots))


FORMAT: Final = Format(
    name="plain",
    extension="txt",
    description="one value a line after three comment lines",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=by_line(write),
)
