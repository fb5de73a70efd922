"""Tables: tabs, commas, semicolons or bars between columns, quoted as in RFC 4180 or not at all.

The columns are known by the names in the header, which may stand in a comment (`#value<TAB>sources`), or by
the operator's choice; a table without a header has the value in column 1. Columns of other names are
passed over.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from threatcloud.domain.report import CATEGORIES
from threatcloud.formats.readers.found import (
    MAX_LINE_BYTES,
    METADATA_FIELDS,
    NO_COLUMNS,
    ColumnError,
    Columns,
    Fields,
    Found,
    Line,
    Passed,
    Reject,
    Row,
    check_fields,
    excerpt,
)
from threatcloud.formats.readers.meanings import (
    asn,
    category,
    clipped,
    count,
    percentage,
    plain,
    ports,
    says_something,
    share,
    techniques,
    time_text,
    words,
)

_DELIMITERS = "\t,;|"
_MAX_RECORD_LINES = 100
_HEADER_CELL = re.compile(r"(?:meta\.)?[A-Za-z][\w /()#&-]{0,30}|")


def _each(meaning: str | None, names: str) -> dict[str, str | None]:
    return dict.fromkeys(names.split(), meaning)


# Names are compared without case, spaces and punctuation. Of the value's names the first tier that a header
# has counts; within a tier the leftmost column, and where that is empty the next. An e-mail column is left to
# the operator's choice: in most tables it is whom to write to.
_VALUE_COLUMNS: tuple[Mapping[str, str | None], ...] = (
    _each(None, "value iocvalue indicatorvalue"),
    _each(None, "data"),
    _each(None, "indicator observable"),
    {
        **_each("ip", "ip ips ipaddress ipaddr ipv4 ipv6 srcip saddr sourceip dstip cidr network"),
        **_each("domain", "domain domainname hostname fqdn"),
        **_each("url", "url uri"),
        **_each("hash", "hash filehash md5 sha1 sha256 sha512 md5hash sha1hash sha256hash sha512hash"),
        **_each("cve", "cve cveid"),
    },
    _each(None, "ioc host"),
)
_VALUE_TYPES = {name: kind for tier in _VALUE_COLUMNS for name, kind in tier.items()}
# A table with `Indicator` and `Data` has the type in the first and the value in the second.
_TYPE_COLUMNS = ("scope", "ioctype", "indicatortype", "entitytype", "datatype", "type", "indicator")
_TYPES = {
    **_VALUE_TYPES,
    **_each("ip", "ipport ipsrc ipdst ipv4addr ipv6addr addr address range subnet netblock ipv4cidr"),
    **_each("ip", "inteladdr intelsubnet"),
    **_each("domain", "host inteldomain"),
    **_each("url", "link intelurl"),
    **_each("hash", "filehashmd5 filehashsha1 filehashsha256 filehashsha512 intelfilehash"),
    **_each("email", "email emailaddress emailaddr emailsrc emaildst mail intelemail"),
    **_each("cve", "vulnerability"),
}


class _Field(NamedTuple):
    name: str
    columns: tuple[str, ...]
    convert: Callable[[str], object]


class _Header(NamedTuple):
    delimiter: str
    cells: Sequence[str]
    is_comment: bool


class Layout(NamedTuple):
    """Which columns hold what, each by its indexes in order of preference; `unknown` are the names of the others."""

    values: Sequence[tuple[int, str | None]]
    types: Sequence[int]
    fields: Sequence[tuple[_Field, Sequence[int]]]
    unknown: Sequence[str] = ()


def read(lines: Iterable[Line], columns: Columns = NO_COLUMNS) -> Iterator[Found]:
    """A row or reject for each record that is no comment, in order; its line is the one it begins on. At the end the
    columns that are not known are passed over.

    A record may run over lines inside quotes; where the quotes do not match, only its first line is rejected.
    Raises `ColumnError`, at the first record, when `columns` names what the table does not have.
    """
    check_fields(columns)
    return _read(_Stream(lines), columns)


def sniff(lines: Sequence[str]) -> bool:
    """Whether there is a header with a name known for the value, or every line has as many delimiters."""
    comments = [line for line in lines if line.startswith("#") and _named_cells(line, NO_COLUMNS)]
    data = [cut for line in lines if (cut := re.sub(r"(?:^|\s+)[#;].*", "", line)).strip()]
    if not data:
        return False
    if _header(comments[-1] if comments else "", data[0], NO_COLUMNS):
        return True
    delimiter = _busiest_delimiter(data[0])
    widths = {len(_cells(line, delimiter)) for line in data}
    # One URL may well have a comma in it; a tab it cannot have, nor will many have equally many commas.
    sure = delimiter == "\t" or len(data) > 1 or "://" not in _cells(data[0], delimiter)[0]
    return sure and len(widths) == 1 and widths != {1}


class _Stream:
    """Numbered lines, some of which may be put back."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = enumerate(lines, 1)
        self._returned: list[tuple[int, Line]] = []

    def __iter__(self) -> Iterator[tuple[int, Line]]:
        while True:
            while self._returned:
                yield self._returned.pop()
            for item in self._lines:
                yield item
                if self._returned:
                    break
            if not self._returned:
                return

    def put_back(self, items: Sequence[tuple[int, Line]]) -> None:
        self._returned.extend(reversed(items))


def _read(stream: _Stream, columns: Columns) -> Iterator[Found]:
    comment = ""
    for item in stream:
        line = item[1]
        if isinstance(line, Reject):
            yield line
        elif line.startswith("#"):
            comment = line if _named_cells(line, columns) else comment
        elif line.strip():
            header = _header(comment, line, columns)
            layout = layout_of(header.cells if header else (), columns)
            if not header or header.is_comment:
                stream.put_back([item])
            records = 0
            for found in _rows(stream, header.delimiter if header else _busiest_delimiter(line), layout):
                records += 1
                yield found
            yield from (Passed(f"column {name[:40]}", records) for name in layout.unknown if records)


def _rows(stream: _Stream, delimiter: str, layout: Layout) -> Iterator[Row | Reject]:
    for number, line in stream:
        if isinstance(line, Reject):
            yield line
        elif line.startswith("#") or not line.strip():
            continue
        elif '"' not in line:
            yield row_of(number, line.split(delimiter), layout, line)
        else:
            cells = _quoted(line, stream, delimiter)
            if cells is None:
                yield Reject(number, excerpt(line), "line", "has quotes that do not match")
            else:
                yield row_of(number, cells, layout, line)


def _quoted(line: str, stream: _Stream, delimiter: str) -> list[str] | None:
    """The cells of the record that `line` begins, or None: then what was read after it is put back."""
    taken: list[tuple[int, Line]] = []

    def record() -> Iterator[str]:
        yield line + "\n"
        size = len(line)
        for item in stream:
            taken.append(item)
            following = item[1]
            if isinstance(following, Reject):
                return
            size += len(following)
            if len(taken) >= _MAX_RECORD_LINES or size > MAX_LINE_BYTES:
                return
            yield following + "\n"

    try:
        return next(csv.reader(record(), delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error:
        stream.put_back(taken)
        return None


def row_of(number: int, cells: Sequence[str], layout: Layout, line: str) -> Row | Reject:
    """The row that cells make, or the reject of the line they are."""
    for index, typed in layout.values:
        value, kind = cells[index].strip() if index < len(cells) else "", typed
        if value:
            break
    else:
        return Reject(number, excerpt(line), "value", "has no value")
    if word := _first(cells, layout.types):
        kind = _TYPES.get(plain(word))
        if not kind:
            return Reject(number, excerpt(line), "type", f"{excerpt(word)!r} is no type of indicator")
    return Row(number, value, kind, _fields(cells, layout) if layout.fields else None)


def _fields(cells: Sequence[str], layout: Layout) -> Fields | None:
    fields: dict[str, object] = {}
    metadata: dict[str, object] = {}
    for field, indexes in layout.fields:
        target = metadata if field.name in METADATA_FIELDS else fields
        text = _first(cells, indexes)
        if text and field.name not in target and (value := field.convert(text)) is not None:
            target[field.name] = value
    if "category" in fields and fields["category"] not in CATEGORIES:
        tags = metadata.get("tags")
        metadata["tags"] = [*(tags if isinstance(tags, list) else ()), fields.pop("category")]
    if metadata:
        fields["metadata"] = metadata
    return fields or None


def _first(cells: Sequence[str], indexes: Sequence[int]) -> str:
    """The first of these cells that says something, or nothing."""
    for index in indexes:
        text = cells[index].strip() if index < len(cells) else ""
        if says_something(text):
            return text
    return ""


def layout_of(cells: Sequence[str], columns: Columns) -> Layout:
    """Where what is known stands in a table with this header. Raises `ColumnError` where no column holds a value."""
    names = [plain(cell) for cell in cells]
    chosen = {field: _index(column, cells, names) for field, column in columns.items()}
    free = {name: at for at, name in reversed(list(enumerate(names))) if at not in chosen.values()}
    if "value" in chosen:
        at = chosen["value"]
        values = [(at, _VALUE_TYPES.get(names[at]) if names else None)]
    elif names:
        values = _value_columns(free, cells)
    else:
        values = [(0, None)]
    for at, _ in values:
        free.pop(names[at] if names else "", None)
    types = [free[name] for name in _TYPE_COLUMNS if name in free] if values[0][1] is None else []
    if "type" in chosen:
        types = [chosen["type"]]
    fields = [(field, _places(field, chosen, free)) for field in _FIELDS]
    fields = [(field, places) for field, places in fields if places]
    taken = {at for at, _ in values} | {*types} | {at for _, places in fields for at in places}
    unknown = [cells[at] for at in range(len(cells)) if at not in taken and cells[at]]
    return Layout(values, types, fields, unknown)


def _value_columns(free: Mapping[str, int], cells: Sequence[str]) -> list[tuple[int, str | None]]:
    for tier in _VALUE_COLUMNS:
        if found := sorted((free[name], kind) for name, kind in tier.items() if name in free):
            return found
    raise ColumnError(f"which column holds the value? The table has: {_listed(cells)}")


def _places(field: _Field, chosen: Mapping[str, int], free: Mapping[str, int]) -> Sequence[int]:
    if field.name in chosen:
        return (chosen[field.name],)
    return tuple(free[name] for name in field.columns if name in free)


def _index(column: str, cells: Sequence[str], names: Sequence[str]) -> int:
    if column.isascii() and column.isdigit():
        if 1 <= int(column) <= (len(cells) or 1000):
            return int(column) - 1
    elif plain(column) in names:
        return names.index(plain(column))
    raise ColumnError(
        f"no column {column!r}; the table has: {_listed(cells)}"
        if cells
        else f"no column {column!r}: the table has no header with it, so give its number, from 1"
    )


def _header(comment: str, first: str, columns: Columns) -> _Header | None:
    """The header: the first line that is no comment, or a comment before it, of the same shape."""
    if found := _named_cells(first, columns):
        return _Header(*found, is_comment=False)
    if (found := _named_cells(comment, columns)) and found[0] in first:
        return _Header(*found, is_comment=True)
    return None


def _named_cells(line: str, columns: Columns) -> tuple[str, Sequence[str]] | None:
    """The delimiter and the cells of a header, else None: the most cells, all of them like names."""
    wanted = {plain(column) for column in columns.values() if not column.isdigit()}
    best: tuple[str, Sequence[str]] | None = None
    for delimiter in _DELIMITERS:
        cells = _cells(line.lstrip("#").lstrip(" "), delimiter)
        if line.startswith("#fields" + delimiter):  # Zeek
            cells = cells[1:]
        names = {plain(cell) for cell in cells}
        known = wanted <= names if wanted else not names.isdisjoint(_VALUE_TYPES)
        if known and len(cells) > len(best[1] if best else ()) and all(map(_HEADER_CELL.fullmatch, cells)):
            best = delimiter, cells
    return best


def _cells(line: str, delimiter: str) -> Sequence[str]:
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _busiest_delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _listed(cells: Sequence[str]) -> str:
    return ", ".join(f"{at} {excerpt(cell)}" for at, cell in enumerate(cells, 1))


_SEEN = ("timestamp", "observedat", "lastseen", "lastseenutc", "lastonline", "firstseen", "firstseenutc")
_FIELDS = (
    _Field("source", ("source",), str),
    _Field("category", ("category", "threattype", "threat", "classification"), category),
    _Field("severity", ("severity",), str.lower),
    _Field("confidence", ("confidence",), share),
    _Field("confidence", ("confidencelevel", "confidencescore", "confidencepercent"), percentage),
    _Field("timestamp", (*_SEEN, "date", "dateadded", "detecteddate", "timegenerated", "time", "utc"), time_text),
    _Field("expiresAt", ("expiresat", "expires", "expirationdatetime", "validuntil"), time_text),
    _Field("tlp", ("tlp", "trafficlightprotocollevel"), str.lower),
    _Field("tags", ("tags", "tag", "labels"), words),
    _Field("ports", ("ports", "port", "dstport", "destinationport"), ports),
    _Field("protocols", ("protocols", "protocol"), words),
    _Field("country", ("country", "countrycode"), str.upper),
    _Field("asn", ("asn", "asnumber"), asn),
    _Field("malwareFamily", ("malwarefamily", "family", "malwareprintable", "malware"), str),
    _Field("mitreIds", ("mitreids", "mitreid", "techniques", "technique", "attackid"), techniques),
    _Field("attempts", ("attempts",), count),
    _Field("references", ("references", "reference", "urlhauslink", "metaurl"), str.split),
    _Field("description", ("description", "desc", "notes", "note", "comment", "metadesc"), clipped),
)
