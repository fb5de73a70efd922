"""An event of MISP with an attribute for each entry."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.misp import around_attributes, attribute, attribute_texts


def write(snapshot: Snapshot) -> bytes:
    """The event of a list."""
    event = around_attributes(snapshot.name, (snapshot.kind,), snapshot.generated_at)
    return joined(_attributes(snapshot), ",", event)


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One event of several lists."""
    at = max(snapshot.generated_at for snapshot in snapshots)
    event = around_attributes("all", [snapshot.kind for snapshot in snapshots], at)
    return joined(chain.from_iterable(map(_attributes, snapshots)), ",", event)


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """The event with what is new, and what left, as deleted attributes."""
    found = [text for change in changes for text in (*_attributes(change.added), *_deleted(change.removed))]
    kinds = [change.added.kind for change in changes]
    name = changes[0].added.name if len(changes) == 1 else "all"
    return joined(found, ",", around_attributes(name, kinds, changes[0].added.generated_at))


def _attributes(snapshot: Snapshot) -> Iterator[str]:
    return attribute_texts(snapshot.kind, snapshot.full)


def _deleted(snapshot: Snapshot) -> Iterator[str]:
    for entry in snapshot.full:
        yield msgspec.json.encode(attribute(snapshot.kind, entry, deleted=True)).decode()


FORMAT: Final = Format(
    name="misp",
    extension="misp",
    description="an event of MISP with an attribute for each entry",
    media="application/vnd.misp+json",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.FULL,
)
