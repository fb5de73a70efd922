"""A SQLite database as a side of a copy. One that is copied to has another name until it is whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from threatcloud.domain.errors import NotFound
from threatcloud.storage.copying import PROGRESS, CopyRefused, Table, column_names, start_progress
from threatcloud.storage.driver import Connection, Row
from threatcloud.storage.lock import WriterLock
from threatcloud.storage.migrate import migrate
from threatcloud.storage.sqlite import SQLiteConnection

_UNFINISHED: Final = ".copying"
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"


class SQLiteSide:
    """A database under its lock."""

    def __init__(self, path: Path, open_path: Path, lock: WriterLock, *, writable: bool) -> None:
        self.name = f"sqlite:{path.resolve()}"
        self._lock = lock
        self._path = path
        self._open_path = open_path
        self.db = SQLiteConnection(open_path, writable=writable)

    def tables(self) -> dict[str, Table]:
        """See ``Side.tables``."""
        return {name: self._table(name) for (name,) in self.db.rows(_TABLES) if name != PROGRESS}

    def _table(self, name: str) -> Table:
        columns = self.db.rows("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", (name,))
        keys = sorted((place, column) for column, place in columns if place)
        return Table(name, tuple(column for column, _ in columns), tuple(column for _, column in keys))

    def numbers(self) -> dict[str, int]:
        """See ``Side.numbers``: tables without AUTOINCREMENT number on from their last row, whoever asks."""
        return {name: int(last) for name, last in self.db.rows("SELECT name, seq FROM sqlite_sequence")}

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """See ``Side.set_numbers``."""
        counted = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
        for (name,) in self.db.rows(counted):
            last = max(numbers.get(name, 0), self.numbers().get(name, 0))
            if not last:
                continue
            self.db.run("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            self.db.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))

    def begin(self) -> None:
        """See ``Target.begin``."""
        self.db.run("BEGIN IMMEDIATE")

    def make_room(self, source: Connection) -> None:
        """See ``Target.make_room``. Nothing."""

    def insert(self, table: Table, rows: list[Row]) -> None:
        """See ``Target.insert``."""
        marks = ", ".join("?" * len(table.columns))
        self.db.run_many(f'INSERT INTO "{table.name}" ({column_names(table.columns)}) VALUES ({marks})', rows)

    def commit(self) -> None:
        """See ``Target.commit``."""
        self.db.run("COMMIT")

    def finish(self) -> None:
        """See ``Target.finish``."""
        self.db.run(f"DROP TABLE {PROGRESS}")
        self.db.close()
        self._open_path.replace(self._path)

    def close(self) -> None:
        """See ``Side.close``."""
        self.db.close()
        self._lock.release()


def sqlite_source(path: Path) -> SQLiteSide:
    """A database to copy from, its schema brought up to date. Raises NotFound, DatabaseInUse, SchemaTooNew."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    lock = WriterLock.acquire(path)
    try:
        migrate(path)
        side = SQLiteSide(path, path, lock, writable=False)
        side.db.run("BEGIN")
    except BaseException:
        lock.release()
        raise
    return side


def sqlite_target(path: Path, source: str) -> SQLiteSide:
    """A new database to copy to, or one that a copy was begun to. Raises CopyRefused, DatabaseInUse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.acquire(path)
    try:
        if path.exists():
            raise CopyRefused(f"{path} exists already; name a file that does not")
        unfinished = path.with_name(path.name + _UNFINISHED)
        if not _is_begun(unfinished):
            _begin(unfinished, source)
        return SQLiteSide(path, unfinished, lock, writable=True)
    except BaseException:
        lock.release()
        raise


def _is_begun(path: Path) -> bool:
    """Whether a copy to the file got as far as to know how far it is; else nothing of it is left."""
    if path.exists():
        connection = SQLiteConnection(path, writable=False)
        begun = connection.row("SELECT 1 FROM sqlite_master WHERE name = ?", (PROGRESS,))
        connection.close()
        if begun:
            return True
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return False


def _begin(path: Path, source: str) -> None:
    path.touch(mode=0o600)
    migrate(path)
    connection = SQLiteConnection(path, writable=True)
    connection.run("BEGIN IMMEDIATE")
    for (name,) in connection.rows(_TABLES):
        connection.run(f'DELETE FROM "{name}"')  # what the schema came with comes with the copy
    start_progress(connection, source)
    connection.run("COMMIT")
    connection.close()
