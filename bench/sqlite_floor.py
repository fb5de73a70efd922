"""The floor of a write: a bare SQLite loop with the server's durability that stores one row an item, and no more.

WAL, ``synchronous=FULL``, one index over random keys of 16 bytes, and as many rows stored before as the server has
indicators. As many of the items as in what the server is sent have a row already, which is replaced. It prepares
nothing and answers nobody.

    python -m bench.sqlite_floor DATABASE ROWS_A_TRANSACTION SHARE_KNOWN SECONDS
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import apsw

#: About what the row of an indicator takes.
_ROW_BYTES = 300
#: The server's own settings, but for the checkpoints, which have no thread here: long ones cost the least.
_PRAGMAS = ("page_size=8192", "journal_mode=wal", "synchronous=full", "cache_size=-65536", "wal_autocheckpoint=10000")
_STORE = "INSERT INTO item (id, content) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET content = excluded.content"


def make(path: Path, rows: int) -> None:
    """A database with so many rows stored."""
    connection = open_database(path)
    connection.execute("PRAGMA synchronous=off")
    connection.execute("CREATE TABLE item (pk INTEGER PRIMARY KEY, id BLOB NOT NULL, content BLOB NOT NULL)")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO item (id, content) SELECT randomblob(16), randomblob(?) FROM n",
        (rows, _ROW_BYTES),
    )
    connection.execute("CREATE UNIQUE INDEX item_by_id ON item (id)")
    connection.close()


def loop(path: Path, group: int, known_share: float, seconds: float) -> dict[str, float]:
    """Commits groups of rows for so long: rows a second, and the 99th percentile of a commit in ms."""
    connection = open_database(path)
    chance = random.Random(8)
    known = [key for (key,) in connection.execute("SELECT id FROM item WHERE pk % 7 = 0")]
    old = round(group * known_share)
    took_s: list[float] = []
    started_s = now_s = time.perf_counter()
    while now_s - started_s < seconds:
        keys = chance.choices(known, k=old) + [os.urandom(16) for _ in range(group - old)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_STORE, sorted((key, os.urandom(_ROW_BYTES)) for key in keys))
        connection.execute("COMMIT")
        before_s, now_s = now_s, time.perf_counter()
        took_s.append(now_s - before_s)
    connection.close()
    return {
        "rows/s": group * len(took_s) / (now_s - started_s),
        "p99 ms": sorted(took_s)[len(took_s) * 99 // 100] * 1000,
    }


def open_database(path: Path) -> apsw.Connection:
    """A connection with the settings of the loop."""
    connection = apsw.Connection(str(path))
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


if __name__ == "__main__":
    print(json.dumps(loop(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))))
