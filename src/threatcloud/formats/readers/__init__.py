"""Formats that can be imported, one module each; a new one is a module and a line in `READERS`.

```python
with open_source(path) as source:          # or Source(name, file) of any binary file
    format_ = reader(name) if name else detected(source.head())
    for found in format_.read(source, NO_COLUMNS):   # Row | Reject | Passed, in the order of the input
        ...
```
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from threatcloud.formats.readers import delimited, jsonlines, plain
from threatcloud.formats.readers.found import (
    MAX_LINE_BYTES,
    NO_COLUMNS,
    ColumnError,
    Columns,
    Fields,
    Found,
    Line,
    Passed,
    Reject,
    Row,
    SourceError,
)
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.source import Source, open_source

__all__ = [
    "MAX_LINE_BYTES",
    "NO_COLUMNS",
    "READERS",
    "ColumnError",
    "Columns",
    "Fields",
    "Found",
    "Head",
    "Line",
    "Passed",
    "Reader",
    "Reject",
    "Row",
    "Source",
    "SourceError",
    "detected",
    "open_source",
    "reader",
]


@dataclass(frozen=True, slots=True)
class Reader:
    """A format. `fits(head)` tells whether an input that begins so looks like it; `read(source, columns)` gives what
    is in one, and raises `ColumnError` for a choice of columns it does not have, and `SourceError`, after all before
    it, where the input cannot be read on."""

    name: str
    description: str
    fits: Callable[[Head], bool]
    read: Callable[[Source, Columns], Iterator[Found]]


READERS = (
    Reader(
        "jsonl",
        "JSON Lines: an item of POST /api/threats on each line",
        lambda head: jsonlines.sniff(head.lines),
        jsonlines.read,
    ),
    Reader(
        "delimited",
        "a table: CSV, TSV, semicolons or bars",
        lambda head: delimited.sniff(head.lines),
        delimited.read,
    ),
    Reader(
        "plain",
        "one value a line, or a hosts file; # and ; begin a comment",
        lambda head: plain.sniff(head.lines),
        plain.read,
    ),
)
"""In the order they are tried in: the last takes whatever no other does."""


def reader(name: str) -> Reader:
    """The format of that name; raises `ValueError`, with the names there are, for another."""
    for candidate in READERS:
        if candidate.name == name:
            return candidate
    raise ValueError(f"no format {name!r}: choose from {', '.join(known.name for known in READERS)}")


def detected(head: Head) -> Reader:
    """The format that an input looks like by its beginning."""
    return next(candidate for candidate in READERS if candidate.fits(head))
