"""``threat-cloud store copy`` as its users run it, killed midway for real."""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import PATIENCE_S, Place
from tests.engines import PostgresServer
from tests.storage.test_copying import everything

ROWS = 60_000
Count = Callable[[], int]


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database without any table, as an operator writes it."""
    name = postgres_server.create()
    at = psycopg.conninfo.conninfo_to_dict(postgres_server.address(name))
    yield f"postgresql://{at['user']}@/{name}?host={at['host']}"
    postgres_server.drop(name)


@pytest.fixture
def filled(place: Place) -> Place:
    """A database that a server and the command line have made, and more than a moment's work of labels."""
    server = place.serve()
    for value in ("45.1.1.1", "bad-one.xyz"):
        place.call("ioc", "add", "ip" if value[0] == "4" else "domain", value)
    assert server.stop() == 0
    with closing(sqlite3.connect(place.database)) as db:
        db.executemany("INSERT INTO label VALUES ('tag', ?, 1)", ((f"tag-{number}",) for number in range(ROWS)))
        db.commit()
    return place


def of_postgres(address: str) -> Count:
    def rows() -> int:
        with suppress(psycopg.Error), psycopg.connect(address) as db:
            return int((db.execute("SELECT count(*) FROM label").fetchone() or (0,))[0])
        return 0

    return rows


def of_file(path: Path) -> Count:
    def rows() -> int:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM label").fetchone()[0])
        return 0

    return rows


def copy_killed_once(place: Place, old: str, new: str, rows: Count) -> Any:
    """What the copy says that goes on after one that was killed midway."""
    process = place.start("store", "copy", "--from", old, "--to", new)
    give_up_at_s = time.monotonic() + PATIENCE_S
    while not rows():
        assert time.monotonic() < give_up_at_s
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return place.json("store", "copy", "--from", old, "--to", new)


def test_killed_midway_in_both_directions_it_goes_on_and_brings_everything(filled: Place, empty: str) -> None:
    back = filled.folder / "back.db"
    source = f"sqlite:{filled.database}"

    there = copy_killed_once(filled, source, empty, of_postgres(empty))
    returned = copy_killed_once(filled, empty, "sqlite:back.db", of_file(filled.folder / "back.db.copying"))

    assert 0 < there["resumed after"] < there["rows"]
    assert 0 < returned["resumed after"] < returned["rows"]
    names = [f"{kind} digest" for kind in ("fact", "projection", "own state")]
    assert [there[name] for name in names] == [returned[name] for name in names]
    assert everything(back) == everything(filled.database)
    (filled.folder / "back.db.secret").write_bytes(filled.database.with_name("threat-cloud.db.secret").read_bytes())
    (filled.folder / "back.db.secret").chmod(0o600)
    verified = filled.run("audit", "verify", "--db-path", "back.db")
    assert b"problem  none" in verified.stdout
    again = filled.run("store", "copy", "--from", source, "--to", empty, code=1)
    assert b"is not empty" in again.stderr


def test_it_says_what_is_wrong_with_its_places(place: Place) -> None:
    wrong = (
        (("--from", "x.db", "--to", "sqlite:y.db"), 2, b"--from: wants sqlite:PATH or postgresql"),
        (("--from", "sqlite:x.db", "--to", "mysql://x"), 2, b"--to: wants sqlite:PATH or postgresql"),
        (("--from", "sqlite:x.db", "--to", "sqlite:y.db"), 3, b"there is no file x.db"),
    )
    for arguments, code, said in wrong:
        assert said in place.run("store", "copy", *arguments, code=code).stderr
