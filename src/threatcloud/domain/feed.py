"""Outbound feeds: what a list asks for, how its plain text looks, and how its versions are counted."""

import re
from enum import IntEnum
from typing import Final, NamedTuple

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.times import iso

_VERSION: Final = re.compile(r"v(\d{8})(?:\.(\d{6}))?\Z")
MAX_COUNT: Final = 999_999


class Least(NamedTuple):
    """What a value of a list must have: this confidence (0 to 1) or more, this country, a sight since then."""

    confidence: float | None = None
    country: str | None = None
    seen_since: int | None = None


EVERYTHING: Final = Least()


class FeedList(NamedTuple):
    """A list by what it selects: shared values of a type up to a reputation, of one category, hosts only, and those
    alone that have the ``least``."""

    type: IndicatorType
    max_reputation: int = BLOCK_REPUTATION
    category: str | None = None
    hosts_only: bool = False
    least: Least = EVERYTHING

    @property
    def is_default(self) -> bool:
        """Whether this is the list that is always kept rendered."""
        return self == FeedList(self.type)


class FeedEntry(NamedTuple):
    """A value of a list, and what is said of it. Times are ISO 8601 text as ``iso`` writes it: the database does, for
    a million at a time."""

    value: str
    reputation: int
    category: str | None
    first_seen: str
    last_seen: str


class FullEntry(NamedTuple):
    """A ``FeedEntry`` and whatever else a format can say of a value: the confidence in percent, the techniques as
    reported, oldest first."""

    value: str
    reputation: int
    category: str | None
    first_seen: str
    last_seen: str
    confidence: int
    updated_at: str
    expires_at: str | None = None
    tlp: str | None = None
    techniques: tuple[str, ...] = ()


#: What a ``FeedEntry`` and a ``FullEntry`` are as plain tuples, which a million of are made in half the time.
EntryFields = tuple[str, int, str | None, str, str]
FullFields = tuple[str, int, str | None, str, str, int, str, str | None, str | None, tuple[str, ...]]


class Detail(IntEnum):
    """How much is said of each value of a list: nothing else, a ``FeedEntry``, or a ``FullEntry``."""

    VALUE = 0
    ENTRY = 1
    FULL = 2


class Wording(NamedTuple):
    """How a plain list speaks of itself."""

    title: str
    unit: str


WORDING: Final = {
    IndicatorType.IP: Wording("IP", "IPs"),
    IndicatorType.DOMAIN: Wording("Domain", "domains"),
    IndicatorType.HASH: Wording("Hash", "hashes"),
    IndicatorType.URL: Wording("URL", "URLs"),
}


PLAIN_HEADER_LINES: Final = 3


def plain_header(kind: IndicatorType, generated_at: int, entries: int) -> bytes:
    """The ``PLAIN_HEADER_LINES`` comment lines a plain list begins with."""
    title, unit = WORDING[kind]
    return _plain(title, f"# Generated: {iso(generated_at)}", f"# Total: {entries} {unit}")


def plain_delta_head(title: str, versions: tuple[str, str]) -> bytes:
    """The comment lines that what changed in a list begins with: its title, and both versions."""
    return _plain(title, f"# From: {versions[0]}", f"# To: {versions[1]}")


def _plain(title: str, *lines: str) -> bytes:
    """The title line of a list and what follows it."""
    return "".join(f"{line}\n" for line in (f"# Threat Cloud {title} Blocklist", *lines)).encode()


def is_version(text: str) -> bool:
    """Whether the text is a package version: ``vYYYYMMDD.NNNNNN`` or the day alone."""
    return _VERSION.match(text) is not None


def next_version(last: str | None, now: int) -> str:
    """The version after ``last``: larger as text, whatever the clock did."""
    today = iso(now)[:10].replace("-", "")
    match = _VERSION.match(last) if last else None
    if match is None or match[1] < today:
        return f"v{today}.000001"
    count = int(match[2] or 0) + 1
    if count > MAX_COUNT:
        return f"v{int(match[1]) + 1:08d}.000001"
    return f"v{match[1]}.{count:06d}"
