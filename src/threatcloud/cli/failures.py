"""How a command fails: one line that says what went wrong and what to do next, and an exit code scripts can rely on."""

from enum import IntEnum
from typing import Final

from threatcloud.config import SettingError
from threatcloud.domain.errors import Busy, DomainError, Forbidden, InvalidInput, NotFound, Unauthenticated
from threatcloud.formats.readers import ColumnError, SourceError
from threatcloud.storage.lock import DatabaseInUse


class ExitCode(IntEnum):
    """What a command's exit code means; 0 is success."""

    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


class CommandFailed(Exception):
    """A command cannot do what it was asked; ``message`` is for a person and ends with the next step."""

    def __init__(self, message: str, code: int = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = int(code)


_CODES: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (SettingError, ExitCode.USAGE),
    (ColumnError, ExitCode.USAGE),
    (InvalidInput, ExitCode.USAGE),
    (NotFound, ExitCode.NOT_FOUND),
    (Unauthenticated, ExitCode.AUTH),
    (Forbidden, ExitCode.AUTH),
    (DatabaseInUse, ExitCode.UNAVAILABLE),
    (Busy, ExitCode.UNAVAILABLE),
)
#: What a command may end with besides success; anything else is a fault of the program and shows where it happened.
EXPECTED: Final = (CommandFailed, DomainError, SourceError, ColumnError, OSError)


def failure_of(error: Exception) -> CommandFailed:
    """The message and the exit code of an expected error."""
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, DatabaseInUse):
        return CommandFailed(f"{error}; stop it first, or choose another database with --db-path", _code_of(error))
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        return CommandFailed(f"{error.filename}: {reason}" if error.filename else reason)
    return CommandFailed(str(error), _code_of(error))


def _code_of(error: Exception) -> ExitCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
