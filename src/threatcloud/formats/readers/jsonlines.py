"""JSON Lines: on each line an item of `POST /api/threats`, or its value alone as a string.

`tags` may also stand beside `metadata`, as in what `GET /api/iocs` answers. Unknown keys are ignored.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from threatcloud.formats.readers.found import (
    METADATA_FIELDS,
    NO_COLUMNS,
    REPORT_FIELDS,
    Columns,
    Fields,
    Line,
    Reject,
    Row,
    check_fields,
    excerpt,
)

_decode = msgspec.json.Decoder().decode


def read(lines: Iterable[Line], columns: Columns = NO_COLUMNS) -> Iterator[Row | Reject]:
    """A row or reject for each line that is not blank, in order.

    `columns` names the keys of fields that stand elsewhere; raises `ColumnError` for a field there is not.
    """
    check_fields(columns)
    return _read(lines, columns)


def sniff(lines: Sequence[str]) -> bool:
    """Whether the first line that is not blank begins an object, or is a JSON string."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("{"):
        return True
    try:
        return isinstance(_decode(first), str)
    except (msgspec.DecodeError, RecursionError):
        return False


def _read(lines: Iterable[Line], columns: Columns) -> Iterator[Row | Reject]:
    keys = {field: columns.get(field, field) for field in ("value", "type", *REPORT_FIELDS, "metadata", "tags")}
    keys.update(columns)
    for number, line in enumerate(lines, 1):
        if isinstance(line, Reject):
            yield line
        elif line and not line.isspace():
            yield _row(number, line, keys)


def _row(number: int, line: str, keys: Mapping[str, str]) -> Row | Reject:
    try:
        item = _decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return Reject(number, excerpt(line), "line", f"is not JSON: {error}")
    if isinstance(item, str):
        return Row(number, item)
    if not isinstance(item, dict):
        return Reject(number, excerpt(line), "line", "is neither an object nor a string")
    value, kind = item.get(keys["value"]), item.get(keys["type"])
    if not isinstance(value, str):
        return Reject(number, excerpt(line), "value", f"{keys['value']!r} is missing or no string")
    if not isinstance(kind, str | None):
        return Reject(number, excerpt(line), "type", f"{keys['type']!r} is no string")
    return Row(number, value, kind, _fields(item, keys))


def _fields(item: Mapping[str, object], keys: Mapping[str, str]) -> Fields | None:
    fields = {field: item[keys[field]] for field in REPORT_FIELDS if item.get(keys[field]) is not None}
    beside = {field: item[key] for field in METADATA_FIELDS if (key := keys.get(field, "")) in item}
    metadata = item.get(keys["metadata"])
    if isinstance(metadata, dict):
        metadata = {**beside, **metadata}
    elif metadata is None:
        metadata = beside
    if metadata or not isinstance(metadata, dict):
        fields["metadata"] = metadata
    return fields or None
