"""A published list, as formats are given it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, TypeVar, cast, overload

from threatcloud.domain.feed import EntryFields, FullFields, plain_header
from threatcloud.domain.indicator import IndicatorType

Row = TypeVar("Row", bound=tuple[Any, ...])


class Columns(Sequence[Row]):
    """Rows that are kept as columns, each as long as the others: a million are there and gone through in half the time,
    and take half the room."""

    def __init__(self, columns: Sequence[Sequence[object]]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[Row]:
        return cast(Iterator[Row], zip(*self._columns, strict=True))

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Columns[Row]": ...

    def __getitem__(self, index: int | slice) -> "Row | Columns[Row]":
        found = [column[index] for column in self._columns]
        return Columns(found) if isinstance(index, slice) else cast(Row, tuple(found))  # type: ignore[arg-type]

    def where(self, kept: Sequence[object]) -> "Columns[Row]":
        """Those with something true in their place."""
        return Columns([list(compress(column, kept)) for column in self._columns])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published list: its values, worst first. ``entries`` or ``full`` say more of each, as a format asks for.

    ``collateral``: how many addresses are in the values that nobody listed.
    """

    kind: IndicatorType
    generated_at: int
    values: Sequence[str]
    entries: Sequence[EntryFields] = ()
    full: Sequence[FullFields] = ()
    collateral: int = 0

    @property
    def name(self) -> str:
        """What the list is called: ``ip-blocklist``."""
        return f"{self.kind}-blocklist"

    def header(self, mark: str = "#") -> bytes:
        """Comment lines with the title, the time and the count; ``mark`` is what a comment begins with."""
        text = plain_header(self.kind, self.generated_at, len(self.values))
        if self.collateral:
            text += f"# Collateral: {self.collateral} addresses that nobody listed\n".encode()
        return text.replace(b"#", mark.encode())

    def where(self, kept: Sequence[object]) -> "Snapshot":
        """The list of the values with something true in their place."""
        if all(kept):
            return self
        values = list(compress(self.values, kept))
        return replace(self, values=values, entries=_where(self.entries, kept), full=_where(self.full, kept))

    def first(self, count: int) -> "Snapshot":
        """The list of the worst."""
        if count >= len(self.values):
            return self
        return replace(self, values=self.values[:count], entries=self.entries[:count], full=self.full[:count])


def _where(rows: Sequence[Row], kept: Sequence[object]) -> Sequence[Row]:
    return rows.where(kept) if isinstance(rows, Columns) else list(compress(rows, kept))
