"""Migrations of a PostgreSQL database: all steps that are due in one transaction, whichever node comes first.

With them, and at every start, the partitions of the months ahead are made.
"""

from collections.abc import Sequence
from typing import Final

from threatcloud.storage import partitions
from threatcloud.storage.migrate import Migration, due_steps, migrations
from threatcloud.storage.postgres import PostgresConnection

#: What nodes that start together wait for; any number will do.
_LOCK: Final = 7_411_204_183
_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_HAS_PARTITIONS: Final = "SELECT 1 FROM pg_class WHERE oid = to_regclass('sighting') AND relkind = 'p'"


def migrate_postgres(
    db: PostgresConnection, known: Sequence[Migration] | None = None, now: int | None = None
) -> list[str]:
    """Brings the schema up to date; gives the names of the steps taken, none when there was nothing to do.

    ``known`` are the steps there are, those of this version unless given; ``now`` is the time, for the months that have
    partitions, the database's own unless given. Raises SchemaTooNew, with nothing changed, for a database of a newer
    version. Copies of the database are its operator's to make.
    """
    known = migrations("postgres") if known is None else known
    db.control("BEGIN")
    try:
        db.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        db.run("CREATE TABLE IF NOT EXISTS schema_version (number bigint NOT NULL)")
        version = db.row("SELECT max(number) FROM schema_version")
        due = due_steps(known, (version and version[0]) or 0, "the database")
        for step in due:
            db.script(step.sql)
            db.run("INSERT INTO schema_version (number) VALUES (?)", (step.number,))
        _make_partitions(db, now)
        db.control("COMMIT")
    finally:
        if db.in_transaction and not db.is_lost:
            db.control("ROLLBACK")
    return [step.name for step in due]


def _make_partitions(db: PostgresConnection, now: int | None) -> None:
    """While others read sightings for long it is left to the job."""
    if db.row(_HAS_PARTITIONS):
        time = now if now is not None else (db.row(_NOW) or (0,))[0]
        if not partitions.are_made_ahead(db, time):
            partitions.make_ahead(db, time)
