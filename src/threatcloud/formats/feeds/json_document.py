"""One JSON object with all entries, in the envelope that every answer in JSON has."""

from typing import Final

import msgspec

from threatcloud.domain.feed import Detail, FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot


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
    found = items(snapshot)
    feed = _Feed(snapshot.name, iso(snapshot.generated_at), len(found), found)
    return msgspec.json.encode(_Document(ok=True, data=feed)) + b"\n"


FORMAT: Final = Format(
    name="json",
    extension="json",
    description="one JSON object with all entries",
    media="application/json",
    kinds=LISTED_KINDS,
    write=write,
    detail=Detail.ENTRY,
)
