"""Walks through a table, slice by slice, by a number that its rows are in order of."""

from threatcloud.storage.driver import Connection


def slice_end(db: Connection, table: str, after: int, rows: int, number: str = "pk") -> int | None:
    """The number that the slice of so many rows after another number ends with; None where there are no more."""
    part = f"SELECT {number} FROM {table} WHERE {number} > ? ORDER BY {number} LIMIT ?"
    last = db.row(f"SELECT max({number}) FROM ({part}) AS slice", (after, rows))
    return last[0] if last else None
