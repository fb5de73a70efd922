"""Files of Zeek's Intelligence Framework: tabs, and the names of the columns in a line `#fields`.

A URL stands there without its scheme, and control characters as `\\x2c`; types that are no indicator of ours (file and
user names, certificates, keys) are passed over.
"""

import re
from collections.abc import Iterator
from typing import Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, excerpt, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.source import Source

_TYPES: Final = {
    "Intel::ADDR": "ip",
    "Intel::SUBNET": "ip",
    "Intel::DOMAIN": "domain",
    "Intel::URL": "url",
    "Intel::EMAIL": "email",
    "Intel::FILE_HASH": "hash",
}
_FIELDS: Final = {"meta.source": "producer", "meta.desc": "description", "meta.url": "references"}
_KNOWN: Final = frozenset({"indicator", "indicator_type", "meta.do_notice", "meta.if_in", *_FIELDS})
_escaped: Final = re.compile(r"\\x([0-9a-fA-F]{2})")


def fits(head: Head) -> bool:
    """Whether it names the columns of the framework."""
    return any(line.startswith("#fields\t") and "indicator_type" in line for line in head.lines)


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """A row, a reject or what was passed over for each line."""
    no_columns("zeek", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    names: list[str] = []
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif line.startswith("#fields\t"):
            names = line.split("\t")[1:]
            yield from (Passed(f"column {name[:40]}") for name in names if name not in _KNOWN)
        elif line.strip() and not line.startswith("#"):
            yield _row(number, line, dict(zip(names, line.split("\t"), strict=False)))


def _row(number: int, line: str, cells: dict[str, str]) -> Found:
    value, word = cells.get("indicator", ""), cells.get("indicator_type", "")
    if not value or not word:
        return Reject(number, excerpt(line), "value", "has no value or no type: columns are apart by a tab")
    kind = _TYPES.get(word)
    if kind is None:
        return Passed(f"Zeek {word[:40]}")
    value = _escaped.sub(lambda match: chr(int(match[1], 16)), value)
    said = {ours: cells[name] for name, ours in _FIELDS.items() if cells.get(name) and cells[name] != "-"}
    fields = fields_of({**said, "category": category_of(said.values())})
    return Row(number, f"http://{value}" if kind == "url" and "://" not in value else value, kind, fields)
