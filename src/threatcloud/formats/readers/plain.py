"""One value a line, as most public lists have it, and the hosts files of DNS blockers.

A line that begins with `#` or `;` is a comment, and so is what follows them after white space. A hosts file's
`0.0.0.0 bad.example other.example` gives its names; the names every hosts file begins with are passed over.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from threatcloud.formats.readers.found import NO_COLUMNS, ColumnError, Columns, Line, Reject, Row, excerpt

_COMMENT = "#;"
_SINK = re.compile(r"0\.0\.0\.0|127\.0\.0\.1|::1?")
_LOCAL_NAME = re.compile(r"0\.0\.0\.0|broadcasthost|ip6-[a-z]+|local|localhost(\.localdomain)?")


def read(lines: Iterable[Line], columns: Columns = NO_COLUMNS) -> Iterator[Row | Reject]:
    """A row for each value, in order; raises `ColumnError` when columns are asked for."""
    if columns:
        raise ColumnError("the format plain has no columns: choose delimited or jsonl")
    return _read(lines)


def sniff(_lines: Sequence[str]) -> bool:
    """Always: what is nothing else is a plain list."""
    return True


def _read(lines: Iterable[Line]) -> Iterator[Row | Reject]:
    for number, line in enumerate(lines, 1):
        if isinstance(line, Reject):
            yield line
            continue
        words = line.split()
        if len(words) == 1 and words[0][0] not in _COMMENT:
            yield Row(number, words[0])
        elif words:
            yield from _of_words(number, line, words)


def _of_words(number: int, line: str, words: list[str]) -> Iterator[Row | Reject]:
    comment = next((at for at, word in enumerate(words) if word[0] in _COMMENT), len(words))
    values = words[:comment]
    if len(values) < 2:
        yield from (Row(number, value) for value in values)
    elif _SINK.fullmatch(values[0]):
        yield from (Row(number, name) for name in values[1:] if not _LOCAL_NAME.fullmatch(name))
    elif not all(map(_LOCAL_NAME.fullmatch, values[1:])):
        yield Reject(number, excerpt(line), "value", "has text after the value: a comment begins with # or ;")
