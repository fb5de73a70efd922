"""The DROP lists of Spamhaus: text (`1.2.3.0/24 ; SBL1`) and JSON lines. Numbers of networks (ASN-DROP) are no
indicator here, and passed over."""

import re
from collections.abc import Iterator
from typing import Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, excerpt, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import fields_of
from threatcloud.formats.readers.records import line_records
from threatcloud.formats.readers.source import Source

_line: Final = re.compile(r"([0-9a-fA-F.:]+/\d{1,3})\s*;\s*(SBL\d+)\s*(?:;.*)?").fullmatch
_as_line: Final = re.compile(r"AS\d+\s*;.*").fullmatch


def fits(head: Head) -> bool:
    """Whether it says so, or has networks with the number of a record of the block list."""
    if head.says("cidr", "sblid") or head.says("asn", "asname"):
        return True
    lines = [line for line in head.lines if line.strip() and not line.startswith(";")]
    return bool(lines) and all(_line(line) or _as_line(line) for line in lines)


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """A row, a reject or what was passed over for each line."""
    no_columns("spamhaus", columns)
    return _documents(source) if source.head().start.startswith(b"{") else _text(source)


def _text(source: Source) -> Iterator[Found]:
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif match := _line(line.strip()):
            yield _row(number, match[1], match[2])
        elif _as_line(line.strip()):
            yield Passed("number of a network (AS)")
        elif line.strip() and not line.startswith(";"):
            yield Reject(number, excerpt(line), "value", "is not a network, a semicolon and an SBL number")


def _documents(source: Source) -> Iterator[Found]:
    for found in line_records(source):
        if isinstance(found, Reject):
            yield found
            continue
        line, item = found
        if isinstance(item.get("cidr"), str):
            yield _row(line, item["cidr"], str(item.get("sblid") or ""))
        elif "asn" in item:
            yield Passed("number of a network (AS)")
        elif item.get("type") != "metadata":
            yield Reject(line, excerpt(str(item)), "value", "has no network")


def _row(line: int, network: str, record: str) -> Row:
    return Row(line, network, "ip", fields_of({"tags": ["spamhaus-drop"], "sblId": record}))
