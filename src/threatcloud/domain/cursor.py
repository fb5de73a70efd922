"""Cursors: opaque texts that name the place a page ended at, as whole numbers. They hold no secret and no state."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error

from threatcloud.domain.errors import invalid


def make_cursor(*place: int) -> str:
    """The text for a place."""
    return urlsafe_b64encode(".".join(map(str, place)).encode()).decode().rstrip("=")


def read_cursor(text: str, length: int) -> tuple[int, ...]:
    """The place a cursor names; InvalidInput when it is none of ours of that length."""
    try:
        padded = text + "=" * (-len(text) % 4)
        place = tuple(int(part) for part in urlsafe_b64decode(padded.encode("ascii")).decode("ascii").split("."))
    except (ValueError, Error):
        place = ()
    if len(place) != length or any(abs(part) >= 1 << 62 for part in place) or make_cursor(*place) != text:
        raise invalid("cursor", "is none that this server gave for this collection; start again without it")
    return place
