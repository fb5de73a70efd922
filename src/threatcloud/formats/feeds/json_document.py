"""One JSON object with all entries, in the envelope that every answer in JSON has."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.templates import MARKS, Templates, around, escaped, template


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
    entries: list[int]


class _Document(msgspec.Struct):
    ok: bool
    data: _Feed


def items(snapshot: Snapshot) -> list[Item]:
    """The entries, worst first."""
    kind = snapshot.kind.value
    return [
        Item(value, kind, reputation, category, first_seen, last_seen)
        for value, reputation, category, first_seen, last_seen in snapshot.entries
    ]


def texts(snapshot: Snapshot) -> Iterator[str]:
    """The same, each encoded."""
    shown = escaped if snapshot.kind is IndicatorType.URL else str
    templates = Templates(partial(_template, snapshot.kind))
    for value, reputation, category, first_seen, last_seen in snapshot.entries:
        yield templates[category] % (shown(value), reputation, first_seen, last_seen)


def _template(kind: IndicatorType, category: str | None) -> str:
    value, reputation, first_seen, last_seen, *_ = MARKS
    example = Item(str(value), kind.value, reputation, category, str(first_seen), str(last_seen))
    return template(example, MARKS[:4])


def write(snapshot: Snapshot) -> bytes:
    """The name of the list, its time, and its entries."""
    return _document(snapshot.name, (snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The same of several lists."""
    return _document("all", snapshots)


def _document(name: str, snapshots: Sequence[Snapshot]) -> bytes:
    at, total = max(one.generated_at for one in snapshots), sum(len(one.entries) for one in snapshots)
    document = _Document(ok=True, data=_Feed(name, iso(at), total, [MARKS[0]]))
    return joined(chain.from_iterable(map(texts, snapshots)), ",", around(document))


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
