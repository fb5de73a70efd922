"""A list for Pi-hole's gravity: one name a line. It speaks of the names alone, not of those below them."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.plain import write

FORMAT: Final = Format(
    name="pihole",
    extension="pihole",
    description="a list for the gravity of Pi-hole: the names, those below them not",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
)
