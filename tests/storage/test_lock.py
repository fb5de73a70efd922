"""One writer per database, and the second learns who the first is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clock import Clock
from tests.storage.conftest import Database
from threatcloud.storage.lock import DatabaseInUse, WriterLock
from threatcloud.storage.opening import open_store

HOLD = """
import sys
from pathlib import Path
from threatcloud.storage.lock import WriterLock
WriterLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_store_of_the_same_path_is_refused_with_the_pid(database: Database, clock: Clock) -> None:
    with pytest.raises(DatabaseInUse, match=f"is in use by process {os.getpid()}") as caught:
        open_store(database.path, clock)
    assert caught.value.pid == str(os.getpid())
    assert str(database.path) in caught.value.message


def test_the_same_database_by_another_path_is_the_same(database: Database, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(DatabaseInUse):
        open_store(tmp_path / "." / "nowhere" / ".." / database.path.name, clock)


def test_another_database_is_free(database: Database, clock: Clock, tmp_path: Path) -> None:
    open_store(tmp_path / "other.db", clock).close()


def test_a_closed_store_frees_the_lock(database: Database, clock: Clock) -> None:
    database.store.close()
    open_store(database.path, clock).close()


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DatabaseInUse) as caught:
        WriterLock.acquire(path)
    assert caught.value.pid == str(holder.pid)
    holder.kill()
    holder.communicate()
    WriterLock.acquire(path).release()


def test_a_pid_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    lock = WriterLock.acquire(path)
    (tmp_path / "test.db.lock").write_bytes(b"")
    with pytest.raises(DatabaseInUse, match=r"\(unknown\)"):
        WriterLock.acquire(path)
    lock.release()


def test_a_shorter_pid_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "test.db.lock").write_bytes(b"99999999999999")
    lock = WriterLock.acquire(tmp_path / "test.db")
    with pytest.raises(DatabaseInUse) as caught:
        WriterLock.acquire(tmp_path / "test.db")
    assert caught.value.pid == str(os.getpid())
    lock.release()


def test_only_the_owner_can_touch_the_lock(tmp_path: Path) -> None:
    lock = WriterLock.acquire(tmp_path / "test.db")
    assert (tmp_path / "test.db.lock").stat().st_mode & 0o777 == 0o600
    lock.release()
