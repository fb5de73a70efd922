"""A JSON object on each line: what ``threat-cloud import`` reads as ``jsonl``."""

from collections.abc import Sequence
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.formats.feeds import json_document
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, joined
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry."""
    return joined(f"{text}\n" for text in json_document.texts(snapshot))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One list after the other."""
    return b"".join(map(write, snapshots))


class _New(json_document.Item, tag="new", tag_field="change"):
    pass


class _Deleted(json_document.Deleted, tag="deleted", tag_field="change"):
    pass


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """A line for each entry that is ``new``, and for each that was ``deleted``."""
    encode = msgspec.json.Encoder().encode_lines
    new = [_New(*msgspec.structs.astuple(item)) for change in changes for item in json_document.items(change.added)]
    gone = [_Deleted(item.value, item.type) for change in changes for item in json_document.deleted(change)]
    return encode(new) + encode(gone)


FORMAT: Final = Format(
    name="ndjson",
    extension="ndjson",
    description="a JSON object on each line",
    media="application/x-ndjson",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.ENTRY,
)
