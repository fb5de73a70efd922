"""A bundle of STIX 2.1 with an indicator for each entry."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.stix import around_indicators, indicator_texts, revoked_object


def write(snapshot: Snapshot) -> bytes:
    """The indicators of a list."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The indicators of several lists, with the identity and the markings they refer to."""
    names = [f"{snapshot.name} {snapshot.generated_at}" for snapshot in snapshots]
    texts = chain.from_iterable(indicator_texts(item.kind, item.full) for item in snapshots)
    entries = chain.from_iterable(item.full for item in snapshots)
    is_empty = not any(item.values for item in snapshots)
    return joined(texts, ",", around_indicators(names, entries, is_empty=is_empty))


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """The indicators that are new, and those that left, revoked."""
    new = chain.from_iterable(indicator_texts(item.added.kind, item.added.full) for item in changes)
    gone = (
        msgspec.json.encode(revoked_object(item.removed.kind, value, iso(item.removed.generated_at))).decode()
        for item in changes
        for value in item.removed.values
    )
    names = [item.added.name for item in changes] + list(versions)
    entries = chain.from_iterable(item.added.full for item in changes)
    is_empty = not any(item.added.values or item.removed.values for item in changes)
    return joined(chain(new, gone), ",", around_indicators(names, entries, is_empty=is_empty))


FORMAT: Final = Format(
    name="stix",
    extension="stix",
    description="a bundle of STIX 2.1: indicators with patterns, confidence, ATT&CK techniques and TLP markings",
    media="application/stix+json;version=2.1",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.FULL,
)
