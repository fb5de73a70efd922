"""Opens a database of either engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threatcloud.config import SettingError
from threatcloud.storage.driver import Connection
from threatcloud.storage.names import Names
from threatcloud.storage.sqlite import SQLiteConnection
from threatcloud.storage.sqlite_store import open_sqlite
from threatcloud.storage.store import Clock, Store


def open_store(
    place: Path | str,
    clock: Clock,
    board: memoryview | None = None,
    names: Names | None = None,
    pool: int = 8,
    replica: str | None = None,
) -> Store:
    """Opens (or makes) the database at a path, or at an address ``postgresql://…``, its schema brought up to date.

    ``board``: where other processes of the server see what is done to a file. ``names``: what the store keeps in line
    with what other nodes add to a shared database, ``pool`` how many connections that has for point reads, ``replica``
    the address of a server that follows it.
    Raises what ``open_sqlite`` and ``open_postgres`` raise, and SettingError where the packages of the engine are
    missing.
    """
    if isinstance(place, Path):
        return open_sqlite(place, clock, board)
    with _extra():
        from threatcloud.storage.postgres_store import open_postgres
    return open_postgres(place, clock, names, pool, replica)


@contextmanager
def reading(place: Path | str) -> Iterator[Connection]:
    """A connection that sees a database as of one commit, beside whoever else has it open. Raises as ``open_store``."""
    if isinstance(place, Path):
        file = SQLiteConnection(place, writable=False)
        try:
            file.run("BEGIN")
            yield file
        finally:
            file.close()
        return
    with _extra():
        from threatcloud.storage.postgres import BEGIN_READING, PostgresConnection
    connection = PostgresConnection(place)
    try:
        connection.control(BEGIN_READING)
        yield connection
    finally:
        connection.close()


@contextmanager
def _extra() -> Iterator[None]:
    """Around imports of what needs the packages of an extra."""
    try:
        yield
    except ImportError as error:
        raise SettingError(
            "TC_DATABASE_URL: the packages for PostgreSQL are missing; install them: pip install "
            f"'threat-cloud[postgres]' ({error})"
        ) from error
