"""AbuseIPDB APIv2: its categories and ours, its scores, its lists and its CSV (docs.abuseipdb.com).

Its score says how sure it is that an address is abusive, 0 to 100. Ours follows from the reputation alone, so that 100
is what the default blocklist holds, which has passed the publication guard: ``2 * (80 - reputation)``, 0 where nobody
reported anything (80) and 100 at the blocklist's 30. What is on no list reads 99 at most, what is whitelisted 0.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from threatcloud.domain.report import Severity
from threatcloud.domain.reputation import UNKNOWN_REPUTATION
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.json_document import Item

SOURCE: Final = "abuseipdb-client"
#: A ban is several attempts that somebody's threshold has judged, not one line of a log.
CONFIDENCE: Final = 0.8
MAX_SCORE: Final = 100
MAX_COMMENT_CHARS: Final = 1_024
MAX_ROWS: Final = 10_000
COLUMNS: Final = ("IP", "Categories", "ReportDate", "Comment")
_POINTS_EACH: Final = 2


class Category(msgspec.Struct, frozen=True):
    """A category by its number, and what a report in it says in our words."""

    number: int
    name: str
    category: str | None
    severity: str
    techniques: list[str]
    protocol: str | None


class _Table(msgspec.Struct):
    categories: list[Category]
    ours: dict[str, int]


_TABLE: Final = msgspec.json.decode(files(__package__).joinpath("abuseipdb_categories.json").read_bytes(), type=_Table)
CATEGORIES: Final = {item.number: item for item in _TABLE.categories}


class Said(NamedTuple):
    """What a report in some categories says in our words."""

    category: str | None
    severity: str
    metadata: dict[str, Any]


def parse_categories(text: str) -> list[int]:
    """The numbers of a list with commas, each once; ValueError for what is no category or when there is none."""
    words = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    known = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 4]
    if not words or len(known) != len(words) or not set(known) <= CATEGORIES.keys():
        raise ValueError(f"must be numbers of categories from 1 to {max(CATEGORIES)}, separated by commas")
    return known


def said_in(numbers: Sequence[int], comment: str) -> Said:
    """The gravest severity, the category of the gravest that has one (of equals the first), and the rest."""
    found = [CATEGORIES[number] for number in numbers]
    found.sort(key=lambda item: -Severity.of(item.severity))
    category = next((item.category for item in found if item.category), None)
    lists = {
        "tags": [item.name.lower().replace(" ", "-") for item in found],
        "mitreIds": [technique for item in found for technique in item.techniques],
        "protocols": [item.protocol for item in found if item.protocol],
    }
    metadata: dict[str, Any] = {name: list(dict.fromkeys(values)) for name, values in lists.items() if values}
    metadata["abuseCategories"] = list(numbers)
    if comment:
        metadata["comment"] = comment[:MAX_COMMENT_CHARS]
    return Said(category, found[0].severity, metadata)


def numbers_of(context: dict[str, Any], category: str | None) -> list[int]:
    """The numbers of a stored report: those it came with, else the one nearest to our category."""
    told = context.get("abuseCategories")
    if isinstance(told, list):
        return [number for number in told if number in CATEGORIES]
    return [_TABLE.ours[category]] if category in _TABLE.ours else []


def score_of(reputation: int, *, listed: bool) -> int:
    """The score of a reputation."""
    score = _POINTS_EACH * (UNKNOWN_REPUTATION - reputation)
    return max(0, min(score, MAX_SCORE if listed else MAX_SCORE - 1))


def reputation_for(score: int) -> int:
    """The highest reputation with at least this score."""
    return UNKNOWN_REPUTATION - -(-score // _POINTS_EACH)


def time_text(time_ms: int) -> str:
    """``2026-03-07T08:15:00+00:00``."""
    return iso(time_ms)[:19] + "+00:00"


class Row(NamedTuple):
    """A row of a bulk report; ``number`` is that of its line, from 1 with the header."""

    number: int
    ip: str
    categories: str
    reported_at: str
    comment: str


def rows_of(text: str) -> Iterator[Row]:
    """The rows of a bulk report; ValueError when it is no CSV with the columns or has too many rows."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restval="")
    if not set(COLUMNS) <= set(reader.fieldnames or ()):
        raise ValueError(f"must be CSV whose first line names the columns {', '.join(COLUMNS)}")
    try:
        for count, row in enumerate(reader, 1):
            if count > MAX_ROWS:
                raise ValueError(f"must not have more than {MAX_ROWS} rows")
            yield Row(reader.line_num, *(row[name].strip() for name in COLUMNS))
    except csv.Error as error:
        raise ValueError(f"is no CSV: {error}") from None


class Listed(msgspec.Struct, rename="camel"):
    """An address of the blacklist."""

    ip_address: str
    country_code: str | None
    abuse_confidence_score: int
    last_reported_at: str


class Generated(msgspec.Struct, rename="camel"):
    """When a list was made."""

    generated_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Blacklist(msgspec.Struct):
    """The blacklist, highest scores first."""

    meta: Generated
    data: list[Listed]


class Selection(NamedTuple):
    """What of the list is wanted: how many, from which countries, not from which, of which IP version (None: both)."""

    limit: int
    only: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()
    version: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the beginning of the whole list."""
        return not self.only and not self.but and self.version is None


Countries = Callable[[Iterable[str]], list[str | None]]
_decode_item: Final = msgspec.json.Decoder(Item).decode


def selected(ndjson: bytes, countries: Countries, wanted: Selection) -> list[Listed]:
    """The addresses wanted of a list in the format ``ndjson`` that has no networks."""
    items = [_decode_item(line) for line in ndjson.split(b"\n") if line]
    if wanted.version is not None:
        items = [item for item in items if (":" in item.value) is (wanted.version == 6)]
    found: list[Listed] = []
    for item, country in zip(items, countries(item.value for item in items), strict=True):
        if (wanted.only and country not in wanted.only) or country in wanted.but:
            continue
        score = score_of(item.reputation, listed=True)
        found.append(Listed(item.value.removesuffix("/32"), country, score, item.last_seen[:19] + "+00:00"))
        if len(found) == wanted.limit:
            break
    return found


def as_json(found: list[Listed], generated_at: int) -> bytes:
    """The list as JSON."""
    return msgspec.json.encode(Blacklist(Generated(time_text(generated_at)), found))


def as_text(found: list[Listed]) -> bytes:
    """The list as text, an address a line."""
    return "".join(f"{item.ip_address}\n" for item in found).encode()


class Source(msgspec.Struct):
    """What an error is about."""

    parameter: str


class Failed(msgspec.Struct, omit_defaults=True):
    """An error."""

    detail: str
    status: int
    source: Source | None = None


class Failures(msgspec.Struct):
    """The body of a refusal."""

    errors: list[Failed]
