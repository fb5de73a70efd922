"""Opens a database of either engine."""

from pathlib import Path

from threatcloud.storage.sqlite_store import open_sqlite
from threatcloud.storage.store import Clock, Store


def open_store(place: Path | str, clock: Clock, board: memoryview | None = None) -> Store:
    """Opens (or makes) the database at a path, or at an address ``postgresql://…``, its schema brought up to date.

    ``board``: where other processes of the server see what is done to a file.
    Raises what ``open_sqlite`` and ``open_postgres`` raise.
    """
    if isinstance(place, Path):
        return open_sqlite(place, clock, board)
    from threatcloud.storage.postgres_store import open_postgres  # its packages are an extra

    return open_postgres(place, clock)
