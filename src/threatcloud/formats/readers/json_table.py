"""Any other JSON document: the objects in its lists, read as the rows of a table whose header their names are."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from threatcloud.formats.readers.delimited import Layout, layout_of, row_of
from threatcloud.formats.readers.found import ColumnError, Columns, Found, Passed, Reject, check_fields, excerpt
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.records import Record, json_records
from threatcloud.formats.readers.source import Source

_MAX_LAYOUTS = 200


def fits(head: Head) -> bool:
    """Whether it is one document, or a list: its first line is not a whole object that others follow."""
    if head.start.startswith(b"["):
        return True
    first = head.start.split(b"\n", 1)[0].rstrip()
    is_lines = first.endswith(b"}") and (len(head.lines) > 1 or b"[" not in first)
    return head.start.startswith(b"{") and not is_lines


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """A row or reject for each object; lists of texts are lists of values. Names are known as in `delimited`."""
    check_fields(columns)
    return _read(source, columns)


def _read(source: Source, columns: Columns) -> Iterator[Found]:
    layouts: dict[tuple[str, ...], Layout | None] = {}
    unknown: Counter[str] = Counter()
    for found in json_records(source):
        if isinstance(found, Reject | Passed):
            yield found
            continue
        line, record = found
        names = tuple(record)
        if names not in layouts and len(layouts) < _MAX_LAYOUTS:
            layouts[names] = _layout(names, columns)
        layout = layouts.get(names)
        if layout is None:
            yield Reject(line, excerpt(str(record)), "value", "has no member that is known to hold a value")
            continue
        cells = [_cell(value) for value in record.values()]
        yield row_of(line, cells, layout, _told(record))
        unknown.update(layout.unknown)
    yield from (Passed(f"field {name[:40]}", times) for name, times in unknown.items())


def _layout(names: tuple[str, ...], columns: Columns) -> Layout | None:
    try:
        return layout_of(names, columns)
    except ColumnError:
        return None


def _told(record: Record) -> str:
    return str(record)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value if isinstance(item, str | int))
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
