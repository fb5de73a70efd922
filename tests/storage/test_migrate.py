"""The schema: made, kept, brought up to date with the old database put aside, and never taken back."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import zstandard

from tests.clock import Clock
from threatcloud.domain.errors import Busy
from threatcloud.storage.migrate import Migration, SchemaTooNew, migrate, migrations
from threatcloud.storage.opening import open_store
from threatcloud.storage.sqlite import check_database

FIRST = Migration(1, "0001_first", "CREATE TABLE thing (name TEXT PRIMARY KEY) STRICT; INSERT INTO thing VALUES ('a')")
SECOND = Migration(2, "0002_second", "ALTER TABLE thing ADD COLUMN size INTEGER; CREATE TABLE more (x INTEGER) STRICT")
THIRD = Migration(3, "0003_third", "INSERT INTO more VALUES (1)")
BROKEN = Migration(2, "0002_broken", "CREATE TABLE more (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)")
RELEASED = sorted((Path(__file__).parent / "released").glob("*.db.zst"))


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    found = list(connection.execute(sql))
    connection.close()
    return found


def schema(path: Path) -> list[tuple[object, ...]]:
    return ask(path, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def test_steps_are_numbered_without_gaps() -> None:
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_new_database_gets_every_step_and_no_copy(path: Path) -> None:
    assert migrate(path) == [step.name for step in migrations()]
    assert ask(path, "PRAGMA user_version") == [(migrations()[-1].number,)]
    assert files(path.parent) == ["x.db"]


def test_doing_it_again_changes_nothing(path: Path) -> None:
    migrate(path)
    before = schema(path)
    assert migrate(path) == []
    assert schema(path) == before
    assert files(path.parent) == ["x.db"]


def test_an_older_schema_is_put_aside_before_it_is_changed(path: Path) -> None:
    assert migrate(path, [FIRST]) == ["0001_first"]
    assert migrate(path, [FIRST, SECOND, THIRD]) == ["0002_second", "0003_third"]
    assert ask(path, "SELECT name, size FROM thing") == [("a", None)]
    assert ask(path, "SELECT x FROM more") == [(1,)]
    copy = path.with_name("x.db.before-0002_second.bak")
    assert files(path.parent) == ["x.db", copy.name]
    assert ask(copy, "PRAGMA user_version") == [(1,)]
    assert ask(copy, "SELECT * FROM thing") == [("a",)]
    assert check_database(copy) is None


def test_a_step_that_fails_leaves_the_database_as_it_was_and_can_be_tried_again(path: Path) -> None:
    migrate(path, [FIRST])
    before = schema(path)
    for _ in range(2):
        with pytest.raises(apsw.SQLError, match="nowhere"):
            migrate(path, [FIRST, BROKEN])
        assert schema(path) == before
        assert ask(path, "PRAGMA user_version") == [(1,)]
    assert migrate(path, [FIRST, SECOND]) == ["0002_second"]


def test_the_copy_is_that_of_the_last_try(path: Path) -> None:
    migrate(path, [FIRST])
    with pytest.raises(apsw.SQLError):
        migrate(path, [FIRST, BROKEN])
    ask(path, "INSERT INTO thing VALUES ('b')")
    path.with_name("x.db.before-0002_broken.bak.part").write_bytes(b"left by a kill")
    with pytest.raises(apsw.SQLError):
        migrate(path, [FIRST, BROKEN])
    assert ask(path.with_name("x.db.before-0002_broken.bak"), "SELECT name FROM thing") == [("a",), ("b",)]


def test_a_newer_schema_is_refused_with_nothing_changed(path: Path, clock: Clock) -> None:
    migrate(path)
    newer = migrations()[-1].number + 1
    ask(path, f"PRAGMA user_version={newer}")
    before = path.read_bytes()
    refused: list[Callable[[], object]] = [lambda: migrate(path), lambda: open_store(path, clock)]
    for attempt in refused:
        with pytest.raises(SchemaTooNew, match=f"has schema {newer}, made by a newer version"):
            attempt()
    assert path.read_bytes() == before
    assert files(path.parent) == ["x.db", "x.db.lock"]


def test_a_refused_database_is_not_left_locked(path: Path, clock: Clock) -> None:
    migrate(path)
    number = migrations()[-1].number
    ask(path, f"PRAGMA user_version={number + 1}")
    with pytest.raises(SchemaTooNew):
        open_store(path, clock)
    ask(path, f"PRAGMA user_version={number}")
    open_store(path, clock).close()


@pytest.mark.parametrize("content", [b"no database " * 500, b"SQLite format 3\0" + b"\xff" * 9000])
def test_what_is_no_database_is_refused_and_left_alone(path: Path, clock: Clock, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Busy, match="cannot open the database"):
        open_store(path, clock)
    assert path.read_bytes() == content


def test_a_folder_is_no_database(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(Busy, match="cannot open the database"):
        open_store(tmp_path, clock)


def test_the_folder_of_a_database_is_made(tmp_path: Path, clock: Clock) -> None:
    open_store(tmp_path / "a" / "b" / "x.db", clock).close()
    assert check_database(tmp_path / "a" / "b" / "x.db") is None


def test_every_released_schema_is_kept() -> None:
    """Steps after the last are not released yet; with the release of a schema run make_released, once."""
    steps = [step.number for step in migrations()]
    assert RELEASED
    assert [int(item.name[:4]) for item in RELEASED] == steps[: len(RELEASED)]


@pytest.mark.parametrize("released", RELEASED, ids=lambda item: item.name)
def test_a_released_schema_is_never_edited(released: Path, path: Path, tmp_path: Path) -> None:
    """What a database of that version becomes is what a new one gets."""
    path.write_bytes(zstandard.ZstdDecompressor().decompress(released.read_bytes()))
    migrate(path)
    migrate(tmp_path / "new.db")
    assert schema(path) == schema(tmp_path / "new.db")
    assert check_database(path) is None
