"""A lookup table for Splunk, with the columns that its threat intelligence framework takes."""

import csv
import io
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import UNCATEGORIZED
from threatcloud.formats.cells import neutral
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot

_COLUMN: Final = {IndicatorType.HASH: "file_hash"}


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry; the weight is 100 for the worst reputation."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((_COLUMN.get(snapshot.kind, snapshot.kind.value), "description", "weight", "last_seen"))
    writer.writerows(
        (neutral(entry.value), entry.category or UNCATEGORIZED, 100 - entry.reputation, entry.last_seen)
        for entry in snapshot.entries
    )
    return text.getvalue().encode()


FORMAT: Final = Format(
    name="splunk",
    extension="lookup",
    description="a lookup table for Splunk with the columns of its threat intelligence",
    media="text/csv; charset=utf-8",
    kinds=LISTED_KINDS,
    write=write,
    detail=Detail.ENTRY,
)
