"""Query parameters that several routes share."""

from typing import Annotated, Final

from msgspec import Meta

from threatcloud.domain.errors import invalid
from threatcloud.domain.times import parse_time

#: The end of a pattern: to Python a bare ``$`` also matches before a last line feed.
END: Final = r"$(?!\n)"

PageNumber = Annotated[int, Meta(ge=1, le=10_000_000, description="page, from 1")]
Limit200 = Annotated[int, Meta(ge=1, le=200, description="items a page")]
Cursor = Annotated[
    str, Meta(min_length=1, max_length=200, description="the nextCursor of the page before; page is not used then")
]
#: What the documentation says of a time that is sent; more spellings of ISO 8601 are understood (no offset: UTC).
DATE_TIME: Final = {"format": "date-time"}
Since = Annotated[
    str,
    Meta(
        max_length=64,
        description="ISO 8601 time, inclusive",
        examples=["2026-03-07T08:15:00.000Z"],
        extra_json_schema=DATE_TIME,
    ),
]


def read_since(text: str | None, field: str = "since") -> int | None:
    """The time of a parameter; InvalidInput when it is none. A plus sign that was not encoded is mended."""
    if text is None:
        return None
    try:
        return parse_time(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid(field, str(error)) from None
