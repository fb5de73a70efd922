"""A statement that is to run for many rows, as one statement over arrays: PostgreSQL then starts, looks up and ends it
once, which costs it more than what most rows cost."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from threatcloud.storage.driver import Params
from threatcloud.storage.postgres_wire import Dumped, dump_array, storable

#: From how many rows on: one row, or few, are found quicker one by one.
LEAST_ROWS: Final = 4
_EQUALS: Final = r"\w+ ?= ?\?"
_INSERT: Final = re.compile(
    r"(INSERT INTO (\w+) \(([\w, ]+)\)) VALUES \(\?(?:, \?)*\)( ON CONFLICT(?: \(([\w, ]+)\))? DO [^?]+)?"
)
_UPDATE: Final = re.compile(rf"UPDATE (\w+) SET ({_EQUALS}(?:, {_EQUALS})*) WHERE ({_EQUALS}(?: AND {_EQUALS})*)")
_DELETE: Final = re.compile(rf"DELETE FROM (\w+) WHERE ({_EQUALS}(?: AND {_EQUALS})*)")
_COLUMN: Final = re.compile(r"\w+(?= ?=)")


class Together(NamedTuple):
    """A statement over arrays, one of each parameter of the statement it stands for.

    ``keys``: the parameters that must not be the same for two rows, since one statement changes no row twice.
    """

    table: str
    columns: tuple[str, ...]
    keys: tuple[int, ...]
    text: bytes

    def fits(self, rows: Sequence[Params]) -> bool:
        """Whether it does what the rows would do one after the other."""
        keys = self.keys
        return not keys or len({tuple([_stored(row[place]) for place in keys]) for row in rows}) == len(rows)

    def arrays(self, rows: Sequence[Params], types: Mapping[str, int]) -> list[Dumped]:
        """Its parameters; ``types`` has the number of each column's type."""
        columns: zip[tuple[Any, ...]] = zip(*rows, strict=True)
        return [dump_array(types[name], values) for name, values in zip(self.columns, columns, strict=True)]


@lru_cache(200)
def together(sql: str) -> Together | None:
    """The statement over arrays that stands for one with a row of values or with columns that equal them; None for any
    other."""
    if found := _INSERT.fullmatch(sql):
        head, table, names, conflict, unique = found.groups()
        columns = tuple(names.split(", "))
        keys = unique.split(", ") if unique and "DO UPDATE" in conflict else ()
        text = f"{head} SELECT * FROM {_unnested(len(columns))}{conflict or ''}"
        return Together(table, columns, tuple(map(columns.index, keys)), text.encode())
    if found := _UPDATE.fullmatch(sql):
        table, changes, same = found.groups()
        changed, sought = _COLUMN.findall(changes), _COLUMN.findall(same)
        columns = (*changed, *sought)
        sets = ", ".join(f"{name} = new.p{place}" for place, name in enumerate(changed))
        text = f"UPDATE {table} AS old SET {sets} FROM {_new(len(columns))} WHERE {_same(sought, len(changed))}"
        return Together(table, columns, tuple(range(len(changed), len(columns))), text.encode())
    if found := _DELETE.fullmatch(sql):
        table, same = found.groups()
        columns = tuple(_COLUMN.findall(same))
        text = f"DELETE FROM {table} AS old USING {_new(len(columns))} WHERE {_same(columns, 0)}"
        return Together(table, columns, (), text.encode())
    return None


def _stored(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def _unnested(count: int) -> str:
    return f"unnest({', '.join(f'${place + 1}' for place in range(count))})"


def _new(count: int) -> str:
    return f"{_unnested(count)} AS new ({', '.join(f'p{place}' for place in range(count))})"


def _same(columns: Sequence[str], first: int) -> str:
    return " AND ".join(f"old.{name} = new.p{place}" for place, name in enumerate(columns, first))
