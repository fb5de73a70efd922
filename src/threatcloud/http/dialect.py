"""How an interface that others defined speaks, where that differs from ours: an endpoint that has a dialect has its key
where that dialect keeps it, tells refusals in its words, and says in its headers what is left of a limit.

What no endpoint answers (an unknown path, a method that is not there) is told in our own words everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from threatcloud.domain.errors import Problem
from threatcloud.http.answer import JSON, Answer
from threatcloud.http.rate_limit import Allowance


def no_headers(_: Allowance) -> dict[str, str]:
    """Nothing of the limits but our own headers."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """The differences. ``name`` is that of its way to send a key, where it has one (``key_header``). ``shape`` and
    ``media`` are the type of a refusal, in the documentation, and its media type.

    ``tell`` makes the body of a refusal from its status, sentence and problems. ``statuses`` gives its own status for
    some of ours. ``allowance`` names what is left of the limit in headers of its own.
    """

    name: str
    key_header: str | None = None
    key_param: str | None = None
    tell: Callable[[int, str, tuple[Problem, ...]], bytes]
    shape: Any
    media: str = JSON
    statuses: Mapping[int, int] = field(default_factory=dict)
    allowance: Callable[[Allowance], dict[str, str]] = no_headers

    def credential(self, headers: Mapping[bytes, bytes], query: bytes) -> bytes | None:
        """The key of a request, as ``Authorization`` has it; None when there is none."""
        key = None if self.key_header is None else headers.get(self.key_header.lower().encode())
        if key is None and self.key_param is not None:
            key = _param(query, self.key_param.encode())
        return None if key is None else b"Bearer " + key

    def status(self, ours: int) -> int:
        """What it answers where we would answer a status."""
        return self.statuses.get(ours, ours)

    def failure(
        self,
        status: int,
        _code: str,
        message: str,
        _request_id: str,
        problems: tuple[Problem, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """The answer that says what went wrong, as ``http.errors.failure`` says it in ours."""
        told = self.status(status)
        return Answer(self.tell(told, message, problems), status=told, media=self.media, headers=headers or {})


def _param(query: bytes, name: bytes) -> bytes | None:
    """The value of a parameter of an undecoded query."""
    for part in query.split(b"&"):
        found, _, value = part.partition(b"=")
        if found == name:
            return unquote_to_bytes(value)
    return None
