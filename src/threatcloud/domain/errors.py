"""What can go wrong, in the words of the domain. The edge maps each class to a status once (http/errors.py)."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Problem(NamedTuple):
    """One thing wrong with an input: which field, why, and (in a batch) the position of the item from 0."""

    field: str
    reason: str
    position: int | None = None


class DomainError(Exception):
    """Base of every expected failure: ``code`` is a stable word, ``message`` one sentence for a person."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)


class InvalidInput(DomainError):
    """The input breaks a rule; ``problems`` names each field and the reason."""

    code = "invalid"


class Unauthenticated(DomainError):
    """The key is missing, unknown, expired or revoked."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """The key is known and lacks the scope."""

    code = "forbidden"


class NotFound(DomainError):
    """There is no such thing."""

    code = "not_found"


class Conflict(DomainError):
    """The request contradicts what is stored."""

    code = "conflict"


class Gone(DomainError):
    """It existed and can no longer be had (a version too old for a delta)."""

    code = "gone"


class TooLarge(DomainError):
    """More than is accepted in one piece."""

    code = "too_large"


class NotAcceptable(DomainError):
    """None of the forms that the client takes."""

    code = "not_acceptable"


class WrongMediaType(DomainError):
    """The body is not of the type the route takes."""

    code = "unsupported_media_type"


class RateLimited(DomainError):
    """Too many requests; try again after ``retry_after_s`` whole seconds (at least 1)."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(DomainError):
    """The server cannot take the work now; nothing was stored, a retry is safe."""

    code = "busy"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def invalid(field: str, reason: str) -> InvalidInput:
    """The error for one bad field, its sentence made of both."""
    return InvalidInput(f"{field}: {reason}", [Problem(field, reason)])


def invalid_all(problems: Sequence[Problem]) -> InvalidInput:
    """The error for the bad fields of one input: its sentence tells the first three, ``problems`` keeps all."""
    return InvalidInput("; ".join(f"{item.field} {item.reason}" for item in problems[:3]), problems)


def invalid_items(problems: Sequence[Problem], received: int, noun: str = "items") -> InvalidInput:
    """The error for a batch of ``received`` items none of which is stored: its sentence tells the first problem."""
    bad = len({problem.position for problem in problems})
    first = problems[0]
    text = f"{bad} of {received} {noun} cannot be stored; the first: item {first.position}, {first.field}"
    return InvalidInput(f"{text}: {first.reason}", problems)
