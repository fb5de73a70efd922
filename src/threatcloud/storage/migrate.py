"""Migrations: numbered SQL files, each applied in one transaction; the old database is copied aside before."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from threatcloud.domain.errors import DomainError
from threatcloud.storage.sqlite import SQLiteConnection, copy_database


class SchemaTooNew(DomainError):
    """The database was made by a newer version of the program."""

    code = "schema_too_new"


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str


def migrations(engine: str = "sqlite") -> list[Migration]:
    """All steps this version knows, in order."""
    folder = files("threatcloud.storage") / "schema" / engine
    found = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted(Migration(int(item.name[:4]), item.name[:-4], item.read_text("utf-8")) for item in found)


def migrate(path: Path, known: Sequence[Migration] | None = None) -> list[str]:
    """Brings the schema up to date; gives the names of the steps taken, none when there was nothing to do.

    ``known`` are the steps there are, those of this version unless given. Raises SchemaTooNew, with nothing changed,
    for a database of a newer version.
    """
    known = migrations() if known is None else known
    connection = SQLiteConnection(path, writable=True)
    try:
        version = _version(connection)
        due = due_steps(known, version, str(path))
        if due and version:
            _copy_aside(path, path.with_name(f"{path.name}.before-{due[0].name}.bak"))
        for step in due:
            _apply(connection, step)
        return [step.name for step in due]
    finally:
        connection.close()


def due_steps(known: Sequence[Migration], version: int, place: str) -> list[Migration]:
    """The steps after a version. Raises SchemaTooNew when none of them led to it."""
    if version > known[-1].number:
        raise SchemaTooNew(
            f"{place} has schema {version}, made by a newer version; this one knows up to {known[-1].number}: "
            "upgrade threat-cloud, or restore a backup made by this version"
        )
    return [step for step in known if step.number > version]


def _version(connection: SQLiteConnection) -> int:
    row = connection.row("PRAGMA user_version")
    return int(row[0]) if row else 0


def _copy_aside(path: Path, target: Path) -> None:
    """Replaces the copy of an earlier try, but only by a whole one."""
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    copy_database(path, unfinished)
    unfinished.replace(target)


def _apply(connection: SQLiteConnection, step: Migration) -> None:
    connection.run(f"BEGIN IMMEDIATE; {step.sql}; PRAGMA user_version={step.number}; COMMIT")
