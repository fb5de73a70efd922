"""What a reader makes of an input: rows, rejects, and what it passed over."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from threatcloud.domain.errors import DomainError

MAX_LINE_BYTES = 64 * 1024

Fields = Mapping[str, object]
"""The fields of an item of `POST /api/threats` but `type` and `value`, by their names there, unvalidated."""

Columns = Mapping[str, str]
"""The operator's choice: field name → name of the column (or JSON key) it stands in, or its number from 1."""

NO_COLUMNS: Columns = MappingProxyType({})

REPORT_FIELDS = ("source", "category", "severity", "confidence", "timestamp", "expiresAt", "tlp")
METADATA_FIELDS = (
    "tags",
    "ports",
    "protocols",
    "country",
    "asn",
    "malwareFamily",
    "mitreIds",
    "attempts",
    "references",
    "description",
)

_EXCERPT_CHARS = 120


class Row(NamedTuple):
    """One indicator as the input spells it, unvalidated.

    `type` is None when it is not told; of a table it is one of the six types, of JSON Lines what stands there.
    """

    line: int
    value: str
    type: str | None = None
    fields: Fields | None = None


class Reject(NamedTuple):
    """A line that is not taken: its number from 1, its beginning, the field (`line`, `value`, `type` …), and why."""

    line: int
    text: str
    field: str
    reason: str


class Passed(NamedTuple):
    """Something the input holds that is no indicator, or a field that has no place in a report: what it is, in few
    words (`file name`, `field last_online`), so that it can be counted and nothing is lost unseen. `text` is it, where
    a person might see it otherwise."""

    what: str
    times: int = 1
    text: str = ""


Found = Row | Reject | Passed
Line = str | Reject


class SourceError(DomainError):
    """The input cannot be read, or not to its end; the message names it and says what to do."""

    code = "bad_source"


class ColumnError(DomainError):
    """The operator's choice of columns does not fit the input; the message says what there is to choose."""

    code = "bad_column"


def check_fields(columns: Columns) -> None:
    """Raises `ColumnError` when `columns` has a field that no row has."""
    known = ("value", "type", *REPORT_FIELDS, *METADATA_FIELDS)
    for field in columns:
        if field not in known:
            raise ColumnError(f"no field {field!r}: choose from {', '.join(known)}")


def no_columns(name: str, columns: Columns) -> None:
    """Raises `ColumnError` when columns are asked for of a format that has none."""
    if columns:
        raise ColumnError(f"the format {name} has no columns: choose delimited, json or jsonl")


def excerpt(text: str) -> str:
    """The beginning of `text`, enough to find it again."""
    return text if len(text) <= _EXCERPT_CHARS else text[: _EXCERPT_CHARS - 1] + "…"


def reject_bytes(line: int, data: bytes, reason: str, field: str = "line") -> Reject:
    """The reject of what may be no text at all."""
    return Reject(line, excerpt(data[: _EXCERPT_CHARS * 4].decode(errors="backslashreplace")), field, reason)
