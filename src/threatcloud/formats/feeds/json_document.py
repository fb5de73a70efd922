"""One JSON object with all entries, in the envelope that every answer in JSON has."""

from collections.abc import Sequence
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail, FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format
from threatcloud.formats.feeds.snapshot import Snapshot


class Item(msgspec.Struct, rename="camel"):
    """An entry as JSON has it."""

    value: str
    type: str
    reputation: int
    category: str | None
    first_seen: str
    last_seen: str


class _Feed(msgspec.Struct, rename="camel"):
    name: str
    generated_at: str
    total: int
    entries: list[Item]


class _Document(msgspec.Struct):
    ok: bool
    data: _Feed


def items(snapshot: Snapshot) -> list[Item]:
    """The entries, worst first."""
    return [_item(snapshot.kind, entry) for entry in snapshot.entries]


def _item(kind: IndicatorType, entry: FeedEntry) -> Item:
    value, reputation, category, first_seen, last_seen = entry
    return Item(value, kind.value, reputation, category, first_seen, last_seen)


def write(snapshot: Snapshot) -> bytes:
    """The name of the list, its time, and its entries."""
    return _document(snapshot.name, snapshot.generated_at, items(snapshot))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The same of several lists."""
    found = [item for snapshot in snapshots for item in items(snapshot)]
    return _document("all", max(snapshot.generated_at for snapshot in snapshots), found)


def _document(name: str, generated_at: int, found: list[Item]) -> bytes:
    feed = _Feed(name, iso(generated_at), len(found), found)
    return msgspec.json.encode(_Document(ok=True, data=feed)) + b"\n"


class Deleted(msgspec.Struct):
    """A value that left."""

    value: str
    type: str


class _DeltaDocument(msgspec.Struct, rename={"since": "from"}):
    since: str
    to: str
    new: list[Item]
    deleted: list[Deleted]


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """Both versions, what is ``new`` and what was ``deleted``."""
    new = [item for change in changes for item in items(change.added)]
    gone = [item for change in changes for item in deleted(change)]
    data = _DeltaDocument(versions.since, versions.to, new, gone)
    return msgspec.json.encode({"ok": True, "data": data}) + b"\n"


def deleted(change: Change) -> list[Deleted]:
    """What left a list."""
    return [Deleted(value, change.removed.kind.value) for value in change.removed.values]


FORMAT: Final = Format(
    name="json",
    extension="json",
    description="one JSON object with all entries",
    media="application/json",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.ENTRY,
)
