"""Domain errors to HTTP, once: each error class has one status; the body is always the failure envelope."""

from collections.abc import Callable
from typing import Final

import msgspec

from threatcloud.domain import errors
from threatcloud.domain.errors import DomainError, Problem
from threatcloud.http.answer import Answer

STATUS: Final[dict[type[DomainError], int]] = {
    errors.InvalidInput: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.WrongMediaType: 415,
    errors.RateLimited: 429,
    errors.Busy: 503,
}
#: What a client reads for each code, for the documentation.
MEANING: Final = {
    "invalid": (
        400,
        "The body, a parameter or the value in the path breaks a rule; details name each field and reason.",
    ),
    "bad_request": (400, "The request is not well-formed HTTP."),
    "unauthenticated": (401, "The key is missing, unknown, expired or revoked."),
    "forbidden": (403, "The key lacks the scope the route needs."),
    "not_found": (404, "There is no such route or resource."),
    "method_not_allowed": (405, "The route exists, the method does not; Allow lists those that do."),
    "not_acceptable": (406, "None of the media types in Accept is one of those the route answers with."),
    "request_timeout": (408, "The request did not arrive in time."),
    "conflict": (409, "It contradicts what is stored, or an Idempotency-Key was used with another body."),
    "gone": (410, "The version is too old for a delta."),
    "too_large": (413, "The body is over 1 MiB."),
    "uri_too_long": (414, "Path and query are over 8 KiB."),
    "unsupported_media_type": (415, "The body is not JSON."),
    "rate_limited": (429, "Too many requests; Retry-After says how many seconds to wait."),
    "headers_too_large": (431, "The request's headers are too many or too large."),
    "internal": (500, "A fault of the server; the log has the details under the requestId."),
    "busy": (
        503,
        "The server cannot take the request now; nothing was stored, a retry after Retry-After is safe.",
    ),
    "not_ready": (503, "The server cannot serve now; the error says why. Only /ready answers so."),
    "storage_unavailable": (503, "The database does not answer or cannot be written."),
}


class ErrorDetail(msgspec.Struct, omit_defaults=True):
    """One thing wrong with a request."""

    field: str
    reason: str
    index: int | None = None


class Failure(msgspec.Struct, rename="camel"):
    """The failure envelope."""

    ok: bool
    error: str
    code: str
    details: list[ErrorDetail]
    request_id: str


def failure(
    status: int,
    code: str,
    message: str,
    request_id: str,
    problems: tuple[Problem, ...] = (),
    headers: dict[str, str] | None = None,
) -> Answer:
    """The answer that says what went wrong."""
    details = [ErrorDetail(problem.field, problem.reason, problem.position) for problem in problems]
    body = msgspec.json.encode(Failure(False, message, code, details, request_id))
    return Answer(body, status=status, headers=headers or {})


#: What makes an answer of a refusal: ``failure``, or that of a dialect.
Render = Callable[[int, str, str, str, tuple[Problem, ...], dict[str, str]], Answer]


def answer_error(error: DomainError, request_id: str, render: Render = failure) -> Answer:
    """The answer for a domain error, by the status of its nearest class."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers: dict[str, str] = {}
    if isinstance(error, errors.RateLimited | errors.Busy):
        headers["Retry-After"] = str(max(1, error.retry_after_s))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return render(status, error.code, error.message, request_id, error.problems, headers)
