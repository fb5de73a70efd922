"""How a published body is sent: in the best coding the client takes, or not at all when the client has it."""

from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from threatcloud.domain.times import SECOND_MS, http_date
from threatcloud.http.answer import Answer
from threatcloud.http.compression import IDENTITY, MIN_BYTES, choose_coding
from threatcloud.http.endpoint import Call
from threatcloud.services.publishing import CODINGS, Published

_VARY: Final = "Accept, Accept-Encoding, Authorization"


async def conditional(call: Call, published: Published, media: str, version: str) -> Answer:
    """The list in the best coding the client takes, or 304 when it has it already in any coding."""
    coding = choose_coding(call.header(b"accept-encoding") or "")
    headers = {
        "ETag": _etag(published, coding),
        "Last-Modified": _date(published.modified_s),
        "Cache-Control": "no-cache",
        "X-Feed-Version": version,
        "Vary": _VARY,
    }
    if published.truncated:
        headers["X-Feed-Truncated"] = str(published.truncated)
    if published.collateral:
        headers["X-Feed-Collateral"] = str(published.collateral)
    if published.left_out:
        headers["X-Feed-Left-Out"] = ", ".join(f"{count} {why}" for why, count in published.left_out.items())
    if _is_fresh(call, published):
        return Answer(b"", status=304, media=media, headers=headers, coding="identity")
    body = await call.services.publisher.body(published, coding)
    return Answer(body, media=media, headers=headers, coding=coding)


async def kept_body(call: Call, published: Published, media: str, headers: dict[str, str]) -> Answer:
    """A body that is kept in the codings it was asked for, whole."""
    is_long = len(published.bodies[IDENTITY]) > MIN_BYTES
    coding = choose_coding(call.header(b"accept-encoding") or "") if is_long else IDENTITY
    body = await call.services.publisher.body(published, coding)
    return Answer(body, media=media, headers={**headers, "Vary": _VARY}, coding=coding)


@lru_cache(maxsize=256)
def _date(time_s: int) -> str:
    return http_date(time_s * SECOND_MS)


def _etag(published: Published, coding: str) -> str:
    return f'"{published.digest}"' if coding == "identity" else f'"{published.digest}-{coding}"'


def _is_fresh(call: Call, published: Published) -> bool:
    """RFC 9110 section 13.2.2: If-None-Match counts alone when it is there."""
    none_match = call.header(b"if-none-match")
    if none_match is not None:
        if none_match == f'"{published.digest}"':  # as most send it
            return True
        tags = {tag.strip().removeprefix("W/") for tag in none_match.split(",")}
        return "*" in tags or any(_etag(published, coding) in tags for coding in CODINGS)
    since = call.header(b"if-modified-since")
    return since is not None and _http_seconds(since) >= published.modified_s


def _http_seconds(text: str) -> float:
    """The time of an HTTP date; -1 when it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return -1.0
