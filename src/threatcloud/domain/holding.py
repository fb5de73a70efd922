"""Hold-back: a large list that time alone would shrink by more than half is held until an operator looks at it.

What leaves by itself (expiry, decay, a source nobody hears of any more) is judged at the end of each round of upkeep,
against the most entries the list has had in the course of a day, so that it does not matter in how many steps it goes.
"""

from typing import Final, NamedTuple

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import DAY_MS

#: A list that never had more is not held.
SMALL_ENTRIES: Final = 1_000
#: The types that lists are made of: the two blocklists, and what is in the agents' package only.
HELD_TYPES: Final = (IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH)


class Hold(NamedTuple):
    """How a list stands in the day that began at ``since`` (UTC ms): the ``most`` entries it had, how many time has
    taken off, and since when it is held (None: it is not). While it is held the day does not end."""

    since: int
    most: int
    faded: int = 0
    held_at: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether what time would take off stays."""
        return self.held_at is not None


def list_name(kind: IndicatorType) -> str:
    """What the default list of a type is called."""
    return f"{kind.value}-blocklist"


def judged(known: Hold | None, now: int, standing: int, fading: int) -> Hold:
    """The hold on a list of ``standing`` entries, of which time would take ``fading`` off now.

    It is held where less than half of the most it had would be left, and less than time alone has taken: what an
    operator or the guard takes off holds no list, and none is held that is filled up again as it fades.
    """
    day = known if known is not None and _lasts(known, now) else Hold(now, standing)
    most, faded, left = max(day.most, standing), day.faded + fading, standing - fading
    if most > SMALL_ENTRIES and 2 * left < most and left < faded:
        return Hold(day.since, most, day.faded, day.held_at or now)
    return Hold(day.since, most, faded)


def _lasts(hold: Hold, now: int) -> bool:
    return hold.is_held or hold.since <= now < hold.since + DAY_MS
