"""What a handler gives back: bytes and how to send them."""

from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import msgspec

from threatcloud.domain.times import iso

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

encode: Final = msgspec.json.Encoder().encode


class Stream(Protocol):
    """A body without end: pieces as they come, until it is closed, by whichever side."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Answer:
    """A complete answer. ``coding`` names the content coding its body has already (None: it may be compressed).

    With ``stream`` the body comes from there, and its end is not known.
    """

    __slots__ = ("body", "coding", "headers", "media", "status", "stream")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        media: str = JSON,
        headers: dict[str, str] | None = None,
        coding: str | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.media = media
        self.headers = headers or {}
        self.coding = coding
        self.stream = stream

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)


def ok(data: Any, status: int = 200) -> Answer:
    """``{"ok": true, "data": …}``."""
    return Answer(b'{"ok":true,"data":%b}' % encode(data), status=status)


class Pagination(msgspec.Struct, rename="camel"):
    """Where a page stands in its collection; ``nextCursor`` is null on the last page."""

    total: int
    page: int
    limit: int
    pages: int
    next_cursor: str | None


def collection(items: list[Any], total: int, page: int, limit: int, next_cursor: str | None) -> Answer:
    """``{"ok": true, "data": […], "pagination": {…}}``."""
    pagination = Pagination(total, page, limit, -(-total // limit), next_cursor)
    return Answer(b'{"ok":true,"data":' + encode(items) + b',"pagination":' + encode(pagination) + b"}")


def time_or_none(time_ms: int | None) -> str | None:
    """ISO 8601 for a time that may be missing."""
    return None if time_ms is None else iso(time_ms)
