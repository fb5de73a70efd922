"""A table with a header (RFC 4180); a cell that a spreadsheet would take for a formula begins with an apostrophe."""

import csv
import io
from typing import Final

from threatcloud.domain.feed import Detail
from threatcloud.formats.cells import neutral
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Snapshot

_COLUMNS: Final = ("value", "type", "reputation", "category", "firstSeen", "lastSeen")


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    kind = snapshot.kind.value
    writer.writerows(
        (neutral(value), kind, reputation, category, first_seen, last_seen)
        for value, reputation, category, first_seen, last_seen in snapshot.entries
    )
    return text.getvalue().encode()


FORMAT: Final = Format(
    name="csv",
    extension="csv",
    description="a table with a header line (RFC 4180), safe to open in a spreadsheet",
    media="text/csv; charset=utf-8",
    kinds=LISTED_KINDS,
    write=write,
    detail=Detail.ENTRY,
)
