"""Backups taken beside a running server, and put back."""

import contextlib
import hashlib
import json
import re
import signal
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import Place
from threatcloud.storage.sqlite import copy_database


def test_a_backup_of_a_running_server_brings_everything_back_keys_too(
    place: Place, make_place: Callable[[str], Place]
) -> None:
    server = place.serve()
    key = place.call("key", "create", "me").stdout.decode().strip()
    place.call("ioc", "add", "ip", "45.1.1.1")
    made = place.json("backup", "copy.db")
    copy, secret = place.folder / "copy.db", place.folder / "copy.db.secret"
    assert made["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert made["bytes"] == copy.stat().st_size
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, secret)} == {0o600}
    assert b"--force" in place.call("backup", "copy.db", code=1).stderr

    place.call("ioc", "add", "ip", "45.1.1.2")
    refused = place.call("restore", "copy.db", code=5)
    assert re.search(rb"in use by process \d+; stop it", refused.stderr)
    assert server.stop() == 0

    before = contents(place)
    place.write("text.db", "not a database")
    place.write("empty.db", b"")
    for name, code in (("text.db", 1), ("empty.db", 1), ("absent.db", 3), (str(place.database), 1)):
        assert place.call("restore", name, code=code).stderr.startswith(b"threat-cloud: ")
        assert contents(place) == before

    done = json.loads(place.call("restore", "copy.db", "--json").stdout)
    server = place.serve()
    assert [item["value"] for item in place.json("ioc", "list")] == ["45.1.1.1"]
    assert place.json("stats", "--url", server.url, environ={"TC_API_KEY": key})["totalIocs"] == 1
    place.call("audit", "verify")
    place.call("backup", "copy.db", "--force")
    assert server.stop() == 0
    assert stored(place.folder / done["old database"], make_place("old")) == ["45.1.1.1", "45.1.1.2"]

    other = make_place("other")
    other.call("restore", str(place.folder / "copy.db"))
    other.call("audit", "verify")
    assert stored(other.database, other) == ["45.1.1.1"]


def test_a_restore_after_a_crash_leaves_nothing_of_the_old_log_behind(
    place: Place, make_place: Callable[[str], Place]
) -> None:
    server = place.serve()
    place.call("ioc", "add", "ip", "45.1.1.1")
    place.call("backup", "copy.db")
    place.call("ioc", "add", "ip", "45.1.1.2")
    server.stop(signal.SIGKILL)
    wal = place.database.with_name(place.database.name + "-wal")
    assert wal.stat().st_size > 0

    done = json.loads(place.call("restore", "copy.db", "--json").stdout)
    assert not wal.exists()
    assert stored(place.database, make_place("new")) == ["45.1.1.1"]
    assert stored(place.folder / done["old database"], make_place("old")) == ["45.1.1.1", "45.1.1.2"]


def stored(database: Path, elsewhere: Place) -> list[str]:
    """The indicators in a database file, which a backup of it shows without its secret or its place mattering."""
    copy = elsewhere.folder / "copy.db"
    copy_database(database, copy)
    with contextlib.closing(sqlite3.connect(copy)) as db:
        return [value for (value,) in db.execute("SELECT value FROM indicator ORDER BY value")]


def contents(place: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place.folder / "data").iterdir() if path.suffix != ".lock"}
