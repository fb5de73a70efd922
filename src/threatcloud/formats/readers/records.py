"""Tables and JSON documents of one vendor: records, whose names it knows, each a row or several.

What a vendor calls its columns is the same in its CSV and its JSON, so one declaration (`Vendor`) reads both.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from threatcloud.formats.readers.found import Columns, Found, Line, Passed, Reject, Row, excerpt, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.json_items import Path, items
from threatcloud.formats.readers.meanings import fields_of, says_something
from threatcloud.formats.readers.source import Source

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Vendor:
    """How a vendor writes.

    `values`: the columns that hold an indicator, with its type where they tell it; each that is there makes a row.
    `types`: the column that tells the type, and what its words mean (None: no indicator, to be passed over).
    `fields`: the columns of fields of a report. `usual`: what holds for every record. `also`: what follows from a
    whole record. `known`: columns that say nothing about the indicator. Others are counted as passed over.
    """

    name: str
    values: Sequence[tuple[str, str | None]]
    fields: Mapping[str, str] = field(default_factory=dict)
    types: tuple[str, Mapping[str, str | None]] = ("", {})
    usual: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[Record], Mapping[str, Any]] | None = None
    known: frozenset[str] = frozenset()
    header: Sequence[str] = ()

    def read(self, source: Source, columns: Columns) -> Iterator[Found]:
        """The rows of the records, and rejects, in order; at the end what was passed over."""
        no_columns(self.name, columns)
        return self._read(source)

    def _read(self, source: Source) -> Iterator[Found]:
        is_json = source.head().start.startswith((b"{", b"["))
        unknown: Counter[str] = Counter()
        for found in json_records(source) if is_json else csv_records(source, self.names, self.header):
            if isinstance(found, Reject | Passed):
                yield found
                continue
            line, record = found
            yield from self._rows(line, record)
            unknown.update(
                key for key, value in record.items() if key not in self.names and value not in (None, "", [], {})
            )
        yield from (Passed(f"field {name[:40]}", times) for name, times in unknown.items())

    @property
    def names(self) -> frozenset[str]:
        """Every column that is known."""
        return frozenset({*dict(self.values), *self.fields, self.types[0], *self.known})

    def _rows(self, line: int, record: Record) -> Iterator[Found]:
        given = [(str(record[name]), kind) for name, kind in self.values if _is_given(record.get(name))]
        if not given:
            yield Reject(line, excerpt(str(record)), "value", "has no value")
            return
        column, meanings = self.types
        if column and _is_given(record.get(column)):
            word = str(record[column])
            if word.lower() not in meanings:
                yield Reject(line, excerpt(given[0][0]), "type", f"{excerpt(word)!r} is no type of indicator")
                return
            kind = meanings[word.lower()]
            if kind is None:
                yield Passed(f"{self.name} {word[:40]}")
                return
            given = [(value, kind) for value, _ in given]
        said = [(ours, record[name]) for name, ours in self.fields.items() if record.get(name) is not None]
        if self.also is not None:
            said += self.also(record).items()
        fields = fields_of([*said, *self.usual.items()])
        yield from (Row(line, value, kind, fields) for value, kind in given)


def _is_given(value: Any) -> bool:
    return isinstance(value, str | int) and says_something(str(value))


def fits_records(*names: str) -> Callable[[Head], bool]:
    """Whether records have all of these names: as members of JSON, or in the header of a table."""

    def fits(head: Head) -> bool:
        if head.members:
            return head.says(*names)
        return any(set(names) <= set(_header_cells(line)) for line in head.lines)

    return fits


def json_records(source: Source) -> Iterator[tuple[int, Record] | Reject | Passed]:
    """The objects in the lists of a document: `[…]`, `{"data": […]}`, `{"1": [{…}]}`, or one on each line.

    Objects that are members are read for what is in them, and are no records. A text in a list that is the whole
    document is a record with that `value`.
    """
    for item in items(source.blocks(), _enters_lists):
        if isinstance(item, Reject):
            yield item
        elif item.path[-1:] == ("*",):
            try:
                value = item.load()
            except ValueError as error:
                yield item.reject(str(error))
                continue
            if isinstance(value, str) and item.path == ("*",):
                value = {"value": value}
            yield (item.line, value) if isinstance(value, dict) else Passed("item of a list that is no object")


def _enters_lists(path: Path) -> bool:
    return not path or (path[-1] != "*" and len(path) < 3)


def line_records(source: Source) -> Iterator[tuple[int, Record] | Reject]:
    """The objects of JSON lines."""
    for item in items(source.blocks(), lambda _: False):
        if isinstance(item, Reject):
            yield item
            continue
        try:
            value = item.load()
        except ValueError as error:
            yield item.reject(str(error))
            continue
        yield (item.line, value) if isinstance(value, dict) else item.reject("is no object")


def csv_records(
    source: Iterable[Line], names: frozenset[str], header: Sequence[str] = ()
) -> Iterator[tuple[int, Record] | Reject]:
    """The lines of a table by the names in its header, which may stand in a comment."""
    cells: Sequence[str] = header
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif line.startswith("#") or not line.strip():
            found = _header_cells(line)
            cells = found if len(names & set(found)) > 1 else cells
        elif not cells or len(names & set(_header_cells(line))) > 1:
            cells = _header_cells(line)
        else:
            try:
                values = next(csv.reader([line], skipinitialspace=True, strict=True))
            except csv.Error:
                yield Reject(number, excerpt(line), "line", "has quotes that do not match")
                continue
            yield number, dict(zip(cells, (value.strip() for value in values), strict=False))


def _header_cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.lstrip("#").strip()], skipinitialspace=True), [])]
    except csv.Error:
        return []
