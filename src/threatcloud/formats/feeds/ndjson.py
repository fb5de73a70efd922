"""A JSON object on each line: what ``threat-cloud import`` reads as ``jsonl``."""

from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.formats.feeds import json_document
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry."""
    return msgspec.json.Encoder().encode_lines(json_document.items(snapshot))


FORMAT: Final = Format(
    name="ndjson",
    extension="ndjson",
    description="a JSON object on each line",
    media="application/x-ndjson",
    kinds=LISTED_KINDS,
    write=write,
    detail=Detail.ENTRY,
)
