"""A whole database to another place and engine: copied in pages, resumed where it was killed, compared in the end."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from threatcloud.storage import copying
from threatcloud.storage.copying import KINDS, CopyRefused, Digest, Side, Table, Target
from threatcloud.storage.copying_sqlite import sqlite_source, sqlite_target

#: Is told what is done ("copying", "comparing"), of which table, how many rows are done and how many there are.
Progress = Callable[[str, str, int, int], None]
Place = Path | str


class Copied(NamedTuple):
    """A copy that came out right: its rows, those that an earlier try had copied, and by kind of table the digest."""

    rows: int
    resumed_rows: int
    digests: dict[str, str]


def copy_store(source: Place, target: Place, progress: Progress) -> Copied:
    """Copies all tables of a database to a new one: a file, or an address ``postgresql://…``.

    Neither may be in use. Killed at any time it goes on when called again. Raises CopyRefused, NotFound, DatabaseInUse,
    StorageUnavailable, SchemaTooNew.
    """
    with closing(_source(source)) as old, closing(_target(target, old.name)) as new:
        tables = _tables(old, new)
        sizes = {table.name: copying.count(old.db, table) for table in tables}
        new.begin()
        new.make_room(old.db)
        new.commit()
        resumed = _copy(old, new, tables, sum(sizes.values()), progress)
        new.begin()
        new.set_numbers(old.numbers())
        new.commit()
        digests = _compare(old, new, tables, sum(sizes.values()), progress)
        new.finish()
    return Copied(sum(sizes.values()), resumed, digests)


def _source(place: Place) -> Side:
    if isinstance(place, Path):
        return sqlite_source(place)
    from threatcloud.storage.copying_postgres import postgres_source  # its packages are an extra

    return postgres_source(place)


def _target(place: Place, source: str) -> Target:
    if isinstance(place, Path):
        return sqlite_target(place, source)
    from threatcloud.storage.copying_postgres import postgres_target

    return postgres_target(place, source)


def _tables(old: Side, new: Target) -> list[Table]:
    """The tables of both, as the source has them."""
    begun_from = copying.copied_from(new.db)
    if begun_from != old.name:
        raise CopyRefused(f"{new.name} holds part of a copy of {begun_from}; go on with that one, or name another")
    ours, theirs = old.tables(), new.tables()
    differing = [name for name in ours.keys() | theirs.keys() if _columns(ours.get(name)) != _columns(theirs.get(name))]
    if differing:
        raise CopyRefused(f"the schemas differ in {', '.join(sorted(differing))}; begin again with an empty target")
    return list(ours.values())


def _columns(table: Table | None) -> list[str] | None:
    return sorted(table.columns) if table else None


def _copy(old: Side, new: Target, tables: list[Table], total: int, progress: Progress) -> int:
    """Copies what is not there yet; gives how many rows were."""
    done = resumed = sum(copying.count(new.db, table) for table in tables)
    for table in tables:
        progress("copying", table.name, done, total)
        for rows in copying.pages(old.db, table, copying.place_in(new.db, table)):
            copying.put(new, table, rows)
            done += len(rows)
            progress("copying", table.name, done, total)
    return resumed


def _compare(old: Side, new: Side, tables: list[Table], total: int, progress: Progress) -> dict[str, str]:
    """The digest of each kind of table, the same on both sides; CopyRefused where one is not."""
    digests = {kind: (Digest(), Digest()) for kind in KINDS}
    for table in tables:
        for digest, side in zip(digests[table.kind], (old, new), strict=True):
            for rows in copying.pages(side.db, table):
                digest.add(table.name, rows)
                done = sum(before.rows + after.rows for before, after in digests.values())
                progress("comparing", table.name, done, 2 * total)
    wrong = [kind for kind, (before, after) in digests.items() if str(before) != str(after)]
    if wrong:
        raise CopyRefused(
            f"the copy differs in what it holds of {', '.join(wrong)}: something changed either side meanwhile; "
            "begin again with an empty target"
        )
    return {kind: str(before) for kind, (before, _) in digests.items()}
