"""A block list for the reputation preprocessor of Snort 2 and the reputation inspector of Snort 3."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.plain import write

FORMAT: Final = Format(
    name="snort",
    extension="blf",
    description="a block list for the reputation inspector of Snort",
    kinds=(IndicatorType.IP,),
    write=write,
    delta=by_line(write),
)
