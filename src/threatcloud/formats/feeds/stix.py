"""A bundle of STIX 2.1 with an indicator for each entry."""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.stix import bundle, indicator_object, revoked_object


def write(snapshot: Snapshot) -> bytes:
    """The indicators of a list."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The indicators of several lists, with the identity and the markings they refer to."""
    names = [f"{snapshot.name} {snapshot.generated_at}" for snapshot in snapshots]
    return bundle(names, [indicator_object(item.kind, entry) for item in snapshots for entry in item.full])


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """The indicators that are new, and those that left, revoked."""
    new = [indicator_object(item.added.kind, entry) for item in changes for entry in item.added.full]
    gone = [
        revoked_object(item.removed.kind, value, iso(item.removed.generated_at))
        for item in changes
        for value in item.removed.values
    ]
    return bundle([item.added.name for item in changes] + list(versions), [*new, *gone])


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
