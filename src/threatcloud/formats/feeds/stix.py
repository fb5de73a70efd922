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
from threatcloud.formats.stix import bundle, indicator_texts, revoked_object


def write(snapshot: Snapshot) -> bytes:
    """The indicators of a list."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The indicators of several lists, with the identity and the markings they refer to."""
    names = [f"{snapshot.name} {snapshot.generated_at}" for snapshot in snapshots]
    words: set[str | None] = set()
    texts = chain.from_iterable(indicator_texts(item.kind, item.full, words) for item in snapshots)
    indicators = joined(texts, ",")
    return bundle(names, words, indicators)


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """The indicators that are new, and those that left, revoked."""
    words: set[str | None] = set()
    new = chain.from_iterable(indicator_texts(item.added.kind, item.added.full, words) for item in changes)
    gone = (
        msgspec.json.encode(revoked_object(item.removed.kind, value, iso(item.removed.generated_at))).decode()
        for item in changes
        for value in item.removed.values
    )
    indicators = joined(chain(new, gone), ",")
    return bundle([item.added.name for item in changes] + list(versions), words, indicators)


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
