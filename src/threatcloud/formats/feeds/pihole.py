"""A list for Pi-hole's gravity: one name a line. It speaks of the names alone, not of those below them."""

from typing import Final

from threatcloud.domain.feed import plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.format import Format, Snapshot, lines


def write(snapshot: Snapshot) -> bytes:
    """The names."""
    return plain_header(snapshot.kind, snapshot.generated_at, len(snapshot.values)) + lines(snapshot.values)


FORMAT: Final = Format(
    name="pihole",
    extension="pihole",
    description="a list for the gravity of Pi-hole: the names, those below them not",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
)
