"""One writer per database: an advisory lock on a file beside it, held for the life of the process."""

import fcntl
import os
from pathlib import Path

from threatcloud.domain.errors import DomainError


class DatabaseInUse(DomainError):
    """Another process is the writer of this database; ``pid`` says which, where it could be read."""

    code = "database_in_use"

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__(f"the database {path} is in use by process {pid or '(unknown)'}")
        self.pid = pid


class WriterLock:
    """The lock, held. The operating system frees it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, database: Path) -> "WriterLock":
        """Takes the lock at once or raises DatabaseInUse."""
        path = database.with_name(database.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DatabaseInUse(database, pid) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Gives the lock up."""
        os.close(self._descriptor)
