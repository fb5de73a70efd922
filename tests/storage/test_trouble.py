"""A disk that is full or read-only: a clear refusal, nothing half stored, and work goes on when there is room again."""

import asyncio
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.storage.conftest import Database, make_state
from threatcloud.storage.driver import StorageUnavailable, Transaction, Work
from threatcloud.storage.sqlite import CHECKPOINT_AFTER_BYTES, SQLiteConnection, check_database, copy_database


def limit_pages(database: Database, more: int | None) -> None:
    """Lets the database grow by so many pages, or as it likes."""

    def work(tx: Transaction) -> None:
        row = tx.db.row("PRAGMA page_count")
        assert row is not None
        tx.db.run(f"PRAGMA max_page_count={row[0] + more if more is not None else (1 << 32) - 2}")

    database.write(work)


def put_much(name: str, size: int = 200_000) -> Work[None]:
    def work(tx: Transaction) -> None:
        tx.db.run("INSERT INTO meta (name, value) VALUES (?, ?)", (name, "x"))
        tx.db.run_many("INSERT INTO meta (name, value) VALUES (?, ?)", [(f"{name}-more", "x" * size)])

    return work


def put(tx: Transaction) -> None:
    tx.db.run("INSERT INTO meta (name, value) VALUES ('small', 'x')")


def test_a_full_disk_refuses_and_stores_nothing_and_works_again_with_room(database: Database) -> None:
    limit_pages(database, 3)
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="database or disk is full") as caught:
            database.write(put_much("big"))
        assert caught.value.code == "storage_unavailable"
        assert caught.value.retry_after_s >= 1
    assert database.rows("SELECT name FROM meta") == []
    database.write(put)
    assert database.rows("SELECT name FROM meta") == [("small",)]
    limit_pages(database, None)
    database.write(put_much("big"))
    assert database.value("SELECT count(*) FROM meta") == 3
    database.reopen()
    assert database.value("SELECT count(*) FROM meta") == 3
    assert check_database(database.path) is None


def test_names_survive_a_full_disk(database: Database) -> None:
    """The unit that used a source for the first time is lost; the source is not mistaken for another afterwards."""
    limit_pages(database, 2)

    def work(tx: Transaction) -> None:
        database.names.ensure_sources(tx, ["first"])
        tx.db.run("INSERT INTO meta (name, value) VALUES ('big', ?)", ("x" * 300_000,))

    with pytest.raises(StorageUnavailable):
        database.write(work)
    limit_pages(database, None)
    database.sources("second")
    database.insert(make_state(1, source="first", sources=("first",)))
    database.reopen()
    state = database.find(make_state(1).indicator.type, make_state(1).indicator.value)
    assert state is not None
    assert state.source == "first"


def test_a_database_that_cannot_be_written_is_unavailable_and_not_a_fault(database: Database) -> None:
    """As when the file system turns read-only below a running server."""
    database.write(put)

    def turn_read_only(tx: Transaction) -> None:
        tx.db.run("PRAGMA query_only=on")
        put(tx)

    with pytest.raises(StorageUnavailable):
        database.write(turn_read_only)
    with pytest.raises(StorageUnavailable):
        database.write(lambda tx: tx.db.run_many("DELETE FROM meta WHERE name = ?", [("small",)]))
    assert database.rows("SELECT name FROM meta") == [("small",)]
    database.reopen()
    database.write(lambda tx: tx.db.run("DELETE FROM meta"))
    assert database.rows("SELECT name FROM meta") == []


FULL = """
import asyncio, resource, sys
from pathlib import Path
from threatcloud.storage.driver import StorageUnavailable
from threatcloud.storage.opening import open_store

async def main():
    store = open_store(Path(sys.argv[1]), lambda: 1_772_870_400_000)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    stored = refused = 0

    async def put(name):
        await store.write(lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES (?, ?)", (name, "x" * 30_000)))

    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    for number in range(120):
        try:
            await put(f"{number}")
            stored += 1
        except StorageUnavailable:
            refused += 1
        found = await store.read(lambda db: db.row("SELECT count(*) FROM meta"))
        assert found == (stored,), (found, stored)
    assert stored and refused, (stored, refused)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for number in range(120, 800):
        await put(f"{number}")
        stored += 1
    assert await store.scan(lambda db: db.row("SELECT count(*) FROM meta")) == (stored,)
    store.close()
    print(stored)

asyncio.run(main())
"""


def test_files_that_cannot_grow(tmp_path: Path) -> None:
    """The log itself meets the limit here, not only a number of pages."""
    path = tmp_path / "x.db"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT count(*) FROM meta").fetchall() == [(int(done.stdout),)]
    connection.close()
    assert check_database(path) is None


CHECKPOINT = """
import asyncio, resource, sys
from pathlib import Path
from threatcloud.storage.driver import StorageUnavailable
from threatcloud.storage.opening import open_store

async def main():
    path = Path(sys.argv[1])
    store = open_store(path, lambda: 1_772_870_400_000)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    async def put():
        work = "INSERT INTO meta (name, value) VALUES (hex(randomblob(8)), ?)"
        await store.write(lambda tx: tx.db.run(work, ("x" * 500_000,)))

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, hard))
    refused = 0
    for _ in range(200):
        try:
            await put()
        except StorageUnavailable:
            refused += 1
        await asyncio.sleep(0.002)
    assert refused, "the limit was not met"
    assert path.stat().st_size > 10_000_000, "nothing was ever brought home"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    before = path.stat().st_size
    for _ in range(20):
        await put()
    for _ in range(100):
        if path.stat().st_size > before:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("nothing was brought home from the log")
    store.close()

asyncio.run(main())
"""


def test_the_log_is_brought_home_again_after_a_full_disk(tmp_path: Path) -> None:
    """The thread that does it must not have died of the full disk."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECKPOINT, str(tmp_path / "x.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_log_stays_short_while_somebody_always_reads(database: Database) -> None:
    """A read that stays open between commits must not keep the log from being begun anew."""
    log = database.path.with_name(database.path.name + "-wal")

    async def write_and_read() -> int:
        longest = 0
        for number in range(160):
            await database.store.write(put_much(f"{number}", 500_000))
            for _ in range(3):
                await database.store.read(lambda db: db.row("SELECT max(name) FROM meta"))
                await asyncio.sleep(0.001)
            longest = max(longest, log.stat().st_size)
        return longest

    assert database.run(write_and_read()) < 4 * CHECKPOINT_AFTER_BYTES
    assert database.value("SELECT count(*) FROM meta") == 320


def test_a_copy_that_cannot_be_made_is_unavailable(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="cannot copy the database to"):
        copy_database(database.path, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(StorageUnavailable, match="cannot copy the database to"):
        copy_database(database.path, database.path)


def test_a_copy_of_a_live_database_is_whole(database: Database, tmp_path: Path) -> None:
    database.insert(*(make_state(pk) for pk in range(1, 50)))
    copy_database(database.path, tmp_path / "copy.db")
    database.insert(make_state(50))
    assert check_database(tmp_path / "copy.db") is None
    connection = SQLiteConnection(tmp_path / "copy.db", writable=False)
    assert connection.row("SELECT count(*) FROM indicator") == (49,)
    assert connection.row("PRAGMA user_version") == database.rows("PRAGMA user_version")[0]
    connection.close()


def test_damage_is_found(database: Database, tmp_path: Path) -> None:
    database.insert(*(make_state(pk) for pk in range(1, 2000)))
    database.store.close()
    body = bytearray(database.path.read_bytes())
    body[20_000:60_000] = b"\xa5" * 40_000
    (tmp_path / "damaged.db").write_bytes(body)
    assert check_database(database.path) is None
    assert check_database(tmp_path / "damaged.db") is not None
    (tmp_path / "other.db").write_bytes(b"no database " * 500)
    assert "not a database" in str(check_database(tmp_path / "other.db"))
