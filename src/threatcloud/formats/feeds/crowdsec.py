"""Decisions of CrowdSec, in one JSON array: what ``/v1/decisions`` answers."""

from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.compat.crowdsec import decision_texts, encoded
from threatcloud.formats.feeds.format import Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """The decisions, worst first; ``null`` when there is none."""
    if not snapshot.entries:
        return encoded(())
    texts = decision_texts((value, category) for value, _, category, _, _ in snapshot.entries)
    return b"[%b]" % joined(texts, ",")


FORMAT: Final = Format(
    name="crowdsec",
    extension="crowdsec",
    description="decisions as CrowdSec's local API tells them",
    media="application/json",
    kinds=(IndicatorType.IP,),
    write=write,
    detail=Detail.ENTRY,
)
