"""Bulk formats that can be imported, one module each; a new one is a module and a line in `READERS`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from threatcloud.formats.readers import delimited, jsonlines, plain
from threatcloud.formats.readers.source import (
    MAX_LINE_BYTES,
    NO_COLUMNS,
    ColumnError,
    Columns,
    Fields,
    Line,
    Reject,
    Row,
    Source,
    SourceError,
    open_source,
)

__all__ = [
    "MAX_LINE_BYTES",
    "NO_COLUMNS",
    "READERS",
    "SNIFFED_LINES",
    "ColumnError",
    "Columns",
    "Fields",
    "Line",
    "Reader",
    "Reject",
    "Row",
    "Source",
    "SourceError",
    "open_source",
    "reader",
    "sniff",
]

SNIFFED_LINES = 100


@dataclass(frozen=True, slots=True)
class Reader:
    """A format: `sniff(first_lines)` tells if it looks like it, `read(lines, columns)` gives its rows."""

    name: str
    description: str
    sniff: Callable[[Sequence[str]], bool]
    read: Callable[[Iterable[Line], Columns], Iterator[Row | Reject]]


READERS = (
    Reader("jsonl", "JSON Lines: an item of POST /api/threats on each line", jsonlines.sniff, jsonlines.read),
    Reader("delimited", "a table: CSV, TSV, semicolons or bars", delimited.sniff, delimited.read),
    Reader("plain", "one value a line, or a hosts file; # and ; begin a comment", plain.sniff, plain.read),
)
"""In the order they are tried in: the last takes whatever no other does."""


def reader(name: str) -> Reader:
    """The format of that name; raises `ValueError`, with the names there are, for another."""
    for candidate in READERS:
        if candidate.name == name:
            return candidate
    raise ValueError(f"no format {name!r}: choose from {', '.join(known.name for known in READERS)}")


def sniff(first_lines: Sequence[str]) -> str:
    """The name of the format that these lines (`Source.peek(SNIFFED_LINES)`) look like."""
    return next(candidate.name for candidate in READERS if candidate.sniff(first_lines))
