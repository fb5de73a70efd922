"""An event of MISP with an attribute for each entry."""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot
from threatcloud.formats.misp import Attribute, attribute, event


def write(snapshot: Snapshot) -> bytes:
    """The event of a list."""
    return event(snapshot.name, (snapshot.kind,), snapshot.generated_at, _attributes(snapshot))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One event of several lists."""
    at = max(snapshot.generated_at for snapshot in snapshots)
    attributes = [item for snapshot in snapshots for item in _attributes(snapshot)]
    return event("all", [snapshot.kind for snapshot in snapshots], at, attributes)


def _attributes(snapshot: Snapshot) -> list[Attribute]:
    return [attribute(snapshot.kind, entry) for entry in snapshot.full]


FORMAT: Final = Format(
    name="misp",
    extension="misp",
    description="an event of MISP with an attribute for each entry",
    media="application/vnd.misp+json",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    detail=Detail.FULL,
)
