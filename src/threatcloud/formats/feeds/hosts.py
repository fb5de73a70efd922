"""A hosts file: each name has an address that leads nowhere. It speaks of the names alone, not of those below them."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """``0.0.0.0 name`` for each."""
    return snapshot.header() + lines(snapshot.values, "0.0.0.0 ")


FORMAT: Final = Format(
    name="hosts",
    extension="hosts",
    description="a hosts file: names at `0.0.0.0`, those below them not",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
)
