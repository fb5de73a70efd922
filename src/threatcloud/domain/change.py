"""Changes that followers are told of, and the places in their order from which a follower goes on.

They come from several logs, each in the order of commits: the comings and goings of the published sets, the updates of
shared indicators, those of campaigns, the versions of the lists. A place names how far each of them was told. What was
told of one log says nothing of the others, so changes of different logs may come in any order.
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.errors import invalid
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.state import IndicatorState

_NUMBER: Final = r"(\d{1,19})"
_PLACE: Final = re.compile("-".join([_NUMBER] * 5) + r"-(v\d{8}\.\d{6})?\Z", re.ASCII)
_MAX: Final = (1 << 63) - 1


class ChangeKind(StrEnum):
    """What happened. ``listed`` and ``unlisted`` are of the default lists; ``changed`` is an indicator in the feed that
    is new or says something else, ``removed`` one that left it."""

    LISTED = "listed"
    UNLISTED = "unlisted"
    CHANGED = "changed"
    REMOVED = "removed"
    CAMPAIGN = "campaign"
    VERSION = "version"


#: What is known of something that left may be nothing but its name: filters by what is said of it do not apply.
_GONE: Final = frozenset({ChangeKind.UNLISTED, ChangeKind.REMOVED})
_OF_SETS: Final = frozenset({ChangeKind.LISTED, *_GONE})


class Place(NamedTuple):
    """How far each log was told: the last change of a set; the last update of an indicator (time, row number) and of a
    campaign (time, row number); the newest version, empty for none."""

    seq: int = 0
    updated_at: int = 0
    pk: int = 0
    campaign_at: int = 0
    campaign_pk: int = 0
    version: str = ""

    def __str__(self) -> str:
        return "-".join(map(str, self))

    def reaches(self, other: "Place") -> bool:
        """Whether nothing up to the other place is missing here, in any of the logs."""
        return (
            self.seq >= other.seq
            and (self.updated_at, self.pk) >= (other.updated_at, other.pk)
            and (self.campaign_at, self.campaign_pk) >= (other.campaign_at, other.campaign_pk)
            and self.version >= other.version
        )


def read_place(text: str, field: str) -> Place:
    """The place of an event's id; InvalidInput naming the field when it is none of ours."""
    found = _PLACE.match(text)
    numbers = [int(part) for part in found.groups()[:5]] if found else []
    if found is None or max(numbers) > _MAX:
        raise invalid(field, "is no id that an event of this server had; leave it out to begin with what comes next")
    return Place._make((*numbers, found[6] or ""))


class Change(NamedTuple):
    """One change, with the place after it. Of an indicator ``state`` is as it stands when it is read, None when nothing
    is known of it any more; ``campaign`` is None where an operator deleted it or it went into another."""

    kind: ChangeKind
    at: int
    place: Place
    indicator: Indicator | None = None
    state: IndicatorState | None = None
    campaign_id: str = ""
    campaign: Campaign | None = None

    def is_after(self, place: Place) -> bool:
        """Whether a follower that was told up to a place has yet to be told of this."""
        own = self.place
        if self.kind in _OF_SETS:
            return own.seq > place.seq
        if self.kind is ChangeKind.CHANGED:
            return (own.updated_at, own.pk) > (place.updated_at, place.pk)
        if self.kind is ChangeKind.CAMPAIGN:
            return (own.campaign_at, own.campaign_pk) > (place.campaign_at, place.campaign_pk)
        return own.version > place.version


class Interest(NamedTuple):
    """Which changes a follower wants. Type, category and confidence are of indicators: campaigns and versions pass, and
    what leaves passes whatever its category and confidence were, since both may have changed since it came."""

    kinds: frozenset[ChangeKind] = frozenset(ChangeKind)
    type: IndicatorType | None = None
    category: str | None = None
    min_confidence: float = 0.0

    def wants(self, change: Change) -> bool:
        """Whether a change is of interest."""
        if change.kind not in self.kinds:
            return False
        if change.indicator is None:
            return True
        if self.type is not None and change.indicator.type is not self.type:
            return False
        state = change.state
        if change.kind in _GONE or state is None:
            return True
        return self.category in (None, state.category) and state.confidence >= self.min_confidence


def read_kinds(text: str | None, field: str) -> frozenset[ChangeKind]:
    """The kinds in a text such as ``listed,unlisted``, all where there is none; InvalidInput names one that is none."""
    if text is None:
        return frozenset(ChangeKind)
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in set(ChangeKind):
            raise invalid(field, f"{word!r} is none of {', '.join(ChangeKind)}; several with commas between them")
    return frozenset(map(ChangeKind, words))
