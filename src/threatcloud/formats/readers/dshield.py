"""The recommended block list of DShield (SANS ISC): tabs between start, end, prefix length, targets that reported a
scan, name, country and a mail address, which is left out."""

import re
from collections.abc import Iterator
from typing import Final

from threatcloud.formats.readers.found import Columns, Found, Reject, Row, excerpt, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import fields_of
from threatcloud.formats.readers.source import Source

_line: Final = re.compile(r"(\d[\d.]+)\t(\d[\d.]+)\t(\d{1,2})\t(\d+)(?:\t([^\t]*))?(?:\t([^\t]*))?(?:\t.*)?").fullmatch


def fits(head: Head) -> bool:
    """Whether its lines are two addresses, a prefix length and a count."""
    lines = [line for line in head.lines if line.strip() and not line.startswith(("#", "Start"))]
    return bool(lines) and all(map(_line, lines))


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """A row or reject for each line that is no comment."""
    no_columns("dshield", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif match := _line(line):
            start, _, length, targets, name, country = match.groups()
            said = {
                "category": "scanner",
                "attempts": targets,
                "country": country,
                "description": name,
                "tags": ["dshield-block"],
            }
            yield Row(number, f"{start}/{length}", "ip", fields_of(said))
        elif line.strip() and not line.startswith(("#", "Start\t")):
            yield Reject(number, excerpt(line), "line", "is not two addresses, a prefix length and a count")
