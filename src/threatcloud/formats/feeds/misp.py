"""An event of MISP with an attribute for each entry."""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.misp import Attribute, attribute, event


def write(snapshot: Snapshot) -> bytes:
    """The event of a list."""
    return event(snapshot.name, (snapshot.kind,), snapshot.generated_at, _attributes(snapshot))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One event of several lists."""
    at = max(snapshot.generated_at for snapshot in snapshots)
    attributes = [item for snapshot in snapshots for item in _attributes(snapshot)]
    return event("all", [snapshot.kind for snapshot in snapshots], at, attributes)


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """The event with what is new, and what left, as deleted attributes."""
    found = []
    for change in changes:
        found += _attributes(change.added) + _attributes(change.removed, deleted=True)
    kinds = [change.added.kind for change in changes]
    return event(changes[0].added.name if len(changes) == 1 else "all", kinds, changes[0].added.generated_at, found)


def _attributes(snapshot: Snapshot, *, deleted: bool = False) -> list[Attribute]:
    return [attribute(snapshot.kind, entry, deleted=deleted) for entry in snapshot.full]


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
