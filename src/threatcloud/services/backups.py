"""Backups: a consistent copy of a database and its secret, taken while it is in use, and put back when it is not."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from threatcloud.domain.errors import DomainError, NotFound
from threatcloud.storage.driver import StorageUnavailable
from threatcloud.storage.lock import WriterLock
from threatcloud.storage.migrate import migrations
from threatcloud.storage.sqlite import SQLiteConnection, check_database, copy_database

_BESIDE: Final = ".secret"
_BLOCK_BYTES: Final = 1024 * 1024


class BackupRefused(DomainError):
    """A backup cannot be made or put back as asked; nothing was changed."""

    code = "backup_refused"


class Backup(NamedTuple):
    """A backup that was made: its file, size in bytes, SHA-256 in hex, and the file of the secret."""

    path: Path
    size_bytes: int
    sha256: str
    secret_path: Path


class Restored(NamedTuple):
    """What a restore did: where the database and the secret that were there before are kept (None: none were)."""

    old_database: Path | None
    old_secret: Path | None
    has_secret: bool


def existing(path: Path) -> Path:
    """The path itself; NotFound when there is no such file."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}; say where it is with --db-path FILE")
    return path


def make_backup(database: Path, secret: Path, target: Path, *, overwrite: bool) -> Backup:
    """Copies the database to ``target`` and its secret beside it, readable by the owner only, and checks the copy.

    Works while a server writes: the copy is of one moment. Raises NotFound, BackupRefused, StorageUnavailable.
    """
    existing(database)
    existing(secret)
    kept = secret_of(target)
    for path in (target, kept):
        if path.exists() and not overwrite:
            raise BackupRefused(f"{path} exists already; choose another name, or overwrite it with --force")
    if target.exists() and target.samefile(database):
        raise BackupRefused(f"{target} is the database itself; choose another name")
    with _replacing(target) as copy:
        copy.unlink()
        copy_database(database, copy)
        copy.chmod(0o600)
        _check(copy)
        sha256, size_bytes = _digest(copy), copy.stat().st_size
    with _replacing(kept) as copy:
        shutil.copyfile(secret, copy)
    return Backup(target, size_bytes, sha256, kept)


def secret_of(backup: Path) -> Path:
    """Where the secret of a backup lies."""
    return backup.with_name(backup.name + _BESIDE)


def restore_backup(source: Path, database: Path, secret: Path, stamp: str) -> Restored:
    """Puts a backup in the place of a database that no process has open; what was there is kept under ``stamp``.

    Raises NotFound, DatabaseInUse, BackupRefused; then nothing has changed.
    """
    existing(source)
    source_secret = secret_of(source)
    if not source_secret.exists() and not secret.exists():
        raise BackupRefused(f"{source_secret} is missing, without which no key of the backup works; put it there")
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.acquire(database)
    try:
        if database.exists() and source.samefile(database):
            raise BackupRefused(f"{source} is the database itself; name a backup")
        with _replacing(database, before=lambda: _put_aside(database, stamp)) as copy:
            shutil.copyfile(source, copy)
            _check(copy)
        has_secret = source_secret.exists()
        if has_secret:
            with _replacing(secret, before=lambda: _keep(secret, _aside(secret, stamp))) as copy:
                shutil.copyfile(source_secret, copy)
    finally:
        lock.release()
    asides = [path if path.exists() else None for path in (_aside(database, stamp), _aside(secret, stamp))]
    return Restored(asides[0], asides[1], has_secret)


def _aside(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.before-restore-{stamp}.bak")


def _put_aside(database: Path, stamp: str) -> None:
    """Keeps the old database with all that its log holds, and leaves no log that could be taken for the new one's."""
    aside = _aside(database, stamp)
    wal, shm = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))
    with suppress(StorageUnavailable):  # a damaged database is kept as it is
        if database.exists():
            SQLiteConnection(database, writable=True).close()
    _keep(wal, aside.with_name(aside.name + "-wal"))
    _keep(database, aside)
    wal.unlink(missing_ok=True)
    shm.unlink(missing_ok=True)


def _keep(path: Path, aside: Path) -> None:
    """A second name for a file, so that it is never missing under the first; a copy where the system has no links."""
    if not path.exists():
        return
    try:
        os.link(path, aside)
    except OSError:
        shutil.copyfile(path, aside)


def _check(copy: Path) -> None:
    problem = check_database(copy)
    if problem is not None:
        raise BackupRefused(f"it is no sound database: {problem}")
    connection = SQLiteConnection(copy, writable=False)
    try:
        version = (connection.row("PRAGMA user_version") or (0,))[0]
        tables = connection.rows("SELECT name FROM sqlite_master WHERE name IN ('indicator', 'audit_entry')")
    finally:
        connection.close()
    if len(tables) != 2:
        raise BackupRefused("it is no database of Threat Cloud")
    newest = migrations()[-1].number
    if version > newest:
        raise BackupRefused(f"it has schema {version}, made by a newer version; this one knows up to {newest}: upgrade")


@contextmanager
def _replacing(target: Path, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """A new file (mode 0600) that takes the target's place, durably, once complete; ``before`` runs before that."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(descriptor)
    made = Path(name)
    try:
        yield made
        _sync(made)
        before()
        made.replace(target)
        _sync(target.parent)
    finally:
        for suffix in ("", "-wal", "-shm"):
            made.with_name(made.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
