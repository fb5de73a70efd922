"""A whole database from one engine to the other and back, with rows in every table."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import Clock
from tests.engines import PostgresServer, outside
from tests.storage.conftest import Database
from tests.storage.make_released import FOLDER
from threatcloud.domain.audit import verify_chain
from threatcloud.domain.times import iso, month_start
from threatcloud.services.copying import Copied, copy_store
from threatcloud.services.forgetting import Forgetting
from threatcloud.services.secrets import Secret
from threatcloud.storage import ledger, months
from threatcloud.storage.copying import KINDS, CopyRefused, Digest, Table
from threatcloud.storage.copying_postgres import ENGINES_OWN
from threatcloud.storage.driver import Transaction
from threatcloud.storage.lock import DatabaseInUse
from threatcloud.storage.migrate import SchemaTooNew, migrate
from threatcloud.storage.opening import open_store

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "src" / "threatcloud" / "storage" / "schema"
#: A row for each table that came after the newest released schema.
NEWER: dict[str, tuple[Any, ...]] = {
    "webhook": (1, "wh_1", "https://hooks.invalid/", "{}", "0-0", 1_000, "tc_1", None, None, None),
    "delivery": (1, "msg_1", 1, "waiting", 2, b"[]", 1_000, 0, 2_000, None, None, None),
    "polled_source": (1, "feed:x", "https://lists.invalid/", "{}", "{}", "{}", 2_000, 1_000, "tc_1", None),
    "bouncer": ("tc_1 192.0.2.1", "v1", "v2", 1_000, 500),
}
NEWEST = max(FOLDER.glob("*.db.zst"))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A SQLite database with a few rows in every table."""
    path = tmp_path / "filled.db"
    path.write_bytes(zstandard.ZstdDecompressor().decompress(NEWEST.read_bytes()))
    migrate(path)
    with closing(sqlite3.connect(path)) as db, db:
        for table, values in NEWER.items():
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
    return path


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database without any table."""
    name = postgres_server.create()
    yield postgres_server.address(name)
    postgres_server.drop(name)


def copied(source: Path | str, target: Path | str) -> Copied:
    return copy_store(source, target, lambda *_: None)


def everything(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a file, also what numbers were given out."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}


def inserted(sql: str, tx: Transaction) -> Any:
    return tx.db.row(sql)


def created(engine: str) -> set[str]:
    text = "".join(path.read_text("utf-8") for path in sorted((SCHEMA / engine).glob("*.sql")))
    return set(re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE))


def test_there_and_back_nothing_is_lost_and_nothing_else_is_there(filled: Path, empty: str, tmp_path: Path) -> None:
    back = tmp_path / "back.db"
    before = everything(filled)
    assert {name for name, rows in before.items() if not rows} == set()

    there = copied(filled, empty)
    returned = copied(empty, back)

    assert everything(back) == before
    assert there.digests == returned.digests
    assert there.digests.keys() == set(KINDS)
    assert there.rows == returned.rows == sum(len(rows) for name, rows in before.items() if name != "sqlite_sequence")
    assert sorted(path.name for path in tmp_path.glob("back.db*")) == ["back.db", "back.db.lock"]


def test_every_table_of_the_schema_is_copied(filled: Path, empty: str) -> None:
    """Also one that somebody adds and nobody thinks of here."""
    copied(filled, empty)

    for table in created("sqlite"):
        (ours,), (theirs,) = (outside(place, f'SELECT count(*) FROM "{table}"') for place in (filled, empty))
        assert ours == theirs, table
    assert created("postgres") - created("sqlite") <= ENGINES_OWN


def test_each_table_is_of_the_kind_that_the_documents_say() -> None:
    said = re.findall(
        r"^\| `(\w+)` \| (fact|projection|own state) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    assert {name: Table(name, (), ()).kind for name, _ in said} == dict(said)


def test_the_copy_is_a_database_that_works_on(filled: Path, empty: str, clock: Clock) -> None:
    """Its ledger verifies, its numbers go on, and its times are later than all that is in it."""
    numbers: dict[str, int] = dict(outside(filled, "SELECT name, seq FROM sqlite_sequence"))
    copied(filled, empty)
    clock.now = 1  # a node whose clock is wrong

    database = Database(empty, clock)
    secret = Secret(bytes.fromhex("0123456789abcdef" * 4))
    assert database.scan(lambda db: verify_chain(secret.audit, ledger.walk(db))).problem is None
    rows = {
        "feed_change": "(at, indicator, change) VALUES (1, 1, 'x') RETURNING seq",
        "audit_entry": "(at, action, resource, api_key, ip, details_digest, link) "
        "VALUES (1, '', '', '', '', '', '') RETURNING seq",
        "sighting": "(indicator, reporter, source, kind, observed_at, received_at, confidence, anonymised, describes) "
        "VALUES (1, 1, 1, 'positive', 1, 1, 0.5, 0, 0) RETURNING pk",
    }
    for table, values in rows.items():
        row = database.write(partial(inserted, f"INSERT INTO {table} {values}"))
        assert row == (numbers[table] + 1,), table
    newest = outside(empty, "SELECT max(updated_at) FROM indicator")[0][0]
    assert database.write(lambda tx: tx.now) > newest
    database.close()


def test_a_closed_month_goes_along_and_open_ones_get_partitions(
    filled: Path, empty: str, tmp_path: Path, clock: Clock
) -> None:
    """Late rows of the closed one too; and what was closed on one engine goes on on the other."""
    clock.now = time.time_ns() // 1_000_000  # new partitions go by the time of the database
    starts = [month_start(clock.now, number) for number in range(-3, 1)]
    with closing(sqlite3.connect(filled)) as db, db:
        db.execute("DELETE FROM sighting")
        values = "(indicator, reporter, source, kind, observed_at, received_at, confidence, anonymised, describes)"
        add = f"INSERT INTO sighting {values} VALUES (1, 1, 1, 'positive', ?, 1, 0.5, 0, 0)"
        db.executemany(add, [(start,) for start in starts])
        for name in ("sightings_closed_before", "sightings_forgotten_before"):
            db.execute("INSERT INTO meta VALUES (?, ?)", (name, str(starts[1])))
    before, back = everything(filled), tmp_path / "back.db"

    there = copied(filled, empty)
    assert copied(empty, back).digests == there.digests
    assert everything(back) == before
    places = "SELECT tableoid::regclass::text FROM sighting ORDER BY observed_at"
    names = [f"sighting_{iso(start)[:4]}{iso(start)[5:7]}" for start in starts[1:]]
    assert [name for (name,) in outside(empty, places)] == ["sighting_before", *names]

    for place in (empty, back):
        database = Database(place, clock)
        assert database.ask(months.closing) == (starts[1], starts[1])
        assert "forgotten" in database.run(Forgetting(database.store, 1, clock).run())
        assert database.rows("SELECT observed_at FROM sighting ORDER BY 1") == [(start,) for start in starts[2:]]
        database.close()


def test_what_was_numbered_and_is_gone_is_never_numbered_again(filled: Path, empty: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(filled)) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name IN ('feed_change', 'audit_entry')")
        db.execute("DELETE FROM feed_change")
        db.commit()

    copied(filled, empty)
    copied(empty, tmp_path / "back.db")

    last: dict[str, int] = dict(outside(tmp_path / "back.db", "SELECT name, seq FROM sqlite_sequence"))
    assert (last["feed_change"], last["audit_entry"]) == (1000, 1000)


def test_a_target_with_rows_is_refused(filled: Path, empty: str, tmp_path: Path) -> None:
    copied(filled, empty)
    before = outside(empty, "SELECT count(*) FROM indicator")

    with pytest.raises(CopyRefused, match="is not empty"):
        copied(filled, empty)
    with pytest.raises(CopyRefused, match="exists already"):
        copied(empty, filled)

    assert outside(empty, "SELECT count(*) FROM indicator") == before


def test_what_a_server_has_open_is_refused(filled: Path, empty: str, tmp_path: Path, clock: Clock) -> None:
    store = open_store(filled, clock)
    with pytest.raises(DatabaseInUse):
        copied(filled, empty)
    store.close()
    store = open_store(empty, clock)
    with pytest.raises(CopyRefused, match="is in use"):
        copied(filled, empty)
    with pytest.raises(CopyRefused, match="is in use"):
        copied(empty, tmp_path / "back.db")
    store.close()
    copied(filled, empty)


class Broken(Exception):
    """What ends a copy midway in these tests."""


def broken_after(calls: int) -> Any:
    def progress(what: str, *_: object) -> None:
        nonlocal calls
        calls -= 1
        if not calls:
            raise Broken

    return progress


@pytest.mark.parametrize("calls", [1, 9, 25, 60, 75, 110])
def test_a_copy_that_broke_off_goes_on_and_is_whole(filled: Path, empty: str, tmp_path: Path, calls: int) -> None:
    back = tmp_path / "back.db"
    with pytest.raises(Broken):
        copy_store(filled, empty, broken_after(calls))
    whole = copied(filled, empty)
    with pytest.raises(Broken):
        copy_store(empty, back, broken_after(calls))
    returned = copied(empty, back)

    assert everything(back) == everything(filled)
    assert whole.digests == returned.digests
    assert (whole.resumed_rows > 0) == (returned.resumed_rows > 0) == (calls > 1)


def test_no_server_opens_half_a_copy_and_no_other_copy_goes_on_with_it(
    filled: Path, empty: str, tmp_path: Path, clock: Clock
) -> None:
    with pytest.raises(Broken):
        copy_store(filled, empty, broken_after(20))
    with pytest.raises(SchemaTooNew):
        open_store(empty, clock)
    other = tmp_path / "other.db"
    other.write_bytes(filled.read_bytes())
    with pytest.raises(CopyRefused, match=r"holds part of a copy of sqlite:.*filled\.db"):
        copied(other, empty)


def test_a_copy_that_came_out_wrong_is_refused(filled: Path, empty: str) -> None:
    def tamper(what: str, *_: object) -> None:
        if what == "comparing":
            with psycopg.connect(empty) as db:
                db.execute("UPDATE indicator SET reputation = reputation + 1 WHERE pk = 1")

    with pytest.raises(CopyRefused, match="differs in what it holds of projection"):
        copy_store(filled, empty, tamper)


values = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()


@given(st.lists(st.tuples(values, values), unique_by=repr), st.randoms(use_true_random=False))
def test_a_digest_is_of_rows_in_any_order_and_in_any_pages(rows: list[tuple[Any, ...]], random: Any) -> None:
    one, other, less = Digest(), Digest(), Digest()
    one.add("a", rows)
    shuffled = random.sample(rows, len(rows))
    half = len(rows) // 2
    other.add("a", shuffled[:half])
    other.add("a", shuffled[half:])
    less.add("a", rows[1:])
    assert str(one) == str(other)
    assert (str(one) == str(less)) == (not rows)
