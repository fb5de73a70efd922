"""A block list for the reputation preprocessor of Snort 2 and the reputation inspector of Snort 3."""

from typing import Final

from threatcloud.domain.feed import plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.format import Format, Snapshot, lines


def write(snapshot: Snapshot) -> bytes:
    """One address or network a line after comment lines."""
    return plain_header(snapshot.kind, snapshot.generated_at, len(snapshot.values)) + lines(snapshot.values)


FORMAT: Final = Format(
    name="snort",
    extension="blf",
    description="a block list for the reputation inspector of Snort",
    kinds=(IndicatorType.IP,),
    write=write,
)
