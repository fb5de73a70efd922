"""A reputation file of Suricata (iprep): address, number of the category, score from 1 to 127."""

from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import CATEGORIES
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot

#: The numbers of the categories file: 1 is what has none. A number never goes to another category.
NUMBERS: Final[dict[str | None, int]] = {None: 1, **{category: number for number, category in enumerate(CATEGORIES, 2)}}
_WORST: Final = 127
#: By reputation: 127 for the worst, 1 for the best, since 0 would be no data.
_SCORES: Final = [_WORST - reputation * (_WORST - 1) // 100 for reputation in range(101)]


def write(snapshot: Snapshot) -> bytes:
    """``address,category,score`` for each; no comment, since not every version skips one."""
    number = NUMBERS.get
    return joined(
        f"{value},{number(category, 1)},{_SCORES[reputation]}\n"
        for value, reputation, category, _, _ in snapshot.entries
    )


FORMAT: Final = Format(
    name="suricata-iprep",
    extension="iprep",
    description="a reputation file of Suricata; its categories: "
    + ", ".join(f"{number} {category or 'none'}" for category, number in NUMBERS.items()),
    media="text/csv; charset=utf-8",
    kinds=(IndicatorType.IP,),
    write=write,
    delta=by_line(write),
    detail=Detail.ENTRY,
)
