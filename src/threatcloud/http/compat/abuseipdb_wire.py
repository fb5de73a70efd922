"""What AbuseIPDB's clients send and read: its dialect, parameters and JSON."""

import time
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from threatcloud.domain.errors import Problem, invalid
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.formats.compat import abuseipdb as shapes
from threatcloud.http.answer import Answer
from threatcloud.http.dialect import Dialect
from threatcloud.http.parameters import END
from threatcloud.http.rate_limit import Allowance

MAX_LIMIT: Final = 500_000


def _tell(status: int, message: str, problems: tuple[Problem, ...]) -> bytes:
    """The body of a refusal: an error for each parameter that is wrong."""
    failed = [shapes.Failed(f"The {item.field} {item.reason}.", status, shapes.Source(item.field)) for item in problems]
    return msgspec.json.encode(shapes.Failures(failed or [shapes.Failed(message, status)]))


def _allowance(left: Allowance) -> dict[str, str]:
    """What is left of the limit; the reset is a second of the epoch."""
    if not left.limit:
        return {}
    return {
        "X-RateLimit-Limit": str(left.limit),
        "X-RateLimit-Remaining": str(left.remaining),
        "X-RateLimit-Reset": str(int(time.time()) + left.reset_s),
    }


DIALECT: Final = Dialect(
    name="abuseipdb",
    key_header="Key",
    key_param="key",
    tell=_tell,
    shape=shapes.Failures,
    statuses={400: 422},
    allowance=_allowance,
)

Key = Annotated[str, Meta(max_length=256, description="the API key, where the header Key is not sent")]
Days = Annotated[int, Meta(ge=1, le=365, description="reports of so many days")]
Flag = Annotated[str, Meta(max_length=16, description="on when it is there, whatever it says")]
Codes = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z]{{2}}(,[A-Za-z]{{2}})*{END}", max_length=1024, description="ISO 3166 alpha-2, with commas"
    ),
]
Number = Annotated[float, Meta(ge=1, le=max(shapes.CATEGORIES), multiple_of=1)]  # 5.0 is a way to write 5
Numbers = Annotated[list[Number], Meta(min_length=1, max_length=23)]
Address = Annotated[str, Meta(min_length=1, max_length=64, description="an IPv4 or IPv6 address")]


class CheckQuery(msgspec.Struct, rename="camel"):
    """Which address."""

    ip_address: Address
    max_age_in_days: Days = 30
    verbose: Flag | None = None
    key: Key | None = None


class BlockQuery(msgspec.Struct, rename="camel"):
    """Which network."""

    network: Annotated[str, Meta(min_length=1, max_length=64, description="CIDR, at most a /16 (IPv6: a /32)")]
    max_age_in_days: Days = 30
    key: Key | None = None


class BlacklistQuery(msgspec.Struct, rename="camel"):
    """How much of the blacklist."""

    confidence_minimum: Annotated[int, Meta(ge=25, le=100, description="the lowest score")] = 100
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 10_000
    only_countries: Codes | None = None
    except_countries: Codes | None = None
    ip_version: Literal["4", "6"] | None = None
    plaintext: Flag | None = None
    key: Key | None = None


class KeyQuery(msgspec.Struct):
    """Nothing but the key."""

    key: Key | None = None


class ReportBody(msgspec.Struct):
    """A report of an address."""

    ip: Address
    categories: Annotated[str, Meta(min_length=1, max_length=128, description="numbers, with commas")] | Numbers
    comment: Annotated[str, Meta(description="what happened; the first 1,024 characters are kept")] = ""
    timestamp: Annotated[str, Meta(max_length=64, description="when; ISO 8601, default now")] = ""


class BulkBody(msgspec.Struct):
    """Many reports: a CSV file in the field ``csv``."""

    csv: Annotated[str, Meta(min_length=1, description="columns IP, Categories, ReportDate, Comment")]


class _Shape(msgspec.Struct, rename="camel"):
    """A JSON object with camelCase names."""


class ReportShape(_Shape):
    """One report of an address."""

    reported_at: str
    comment: str
    categories: list[int]
    reporter_id: int
    reporter_country_code: str | None
    reporter_country_name: str | None


class CheckData(_Shape):
    """What is known of an address."""

    ip_address: str
    is_public: bool
    ip_version: int
    is_whitelisted: bool
    abuse_confidence_score: int
    country_code: str | None
    usage_type: str | None
    isp: str | None
    domain: str | None
    hostnames: list[str]
    is_tor: bool
    total_reports: int
    num_distinct_users: int
    last_reported_at: str | None
    country_name: str | UnsetType | None = UNSET
    reports: list[ReportShape] | UnsetType = UNSET


class CheckShape(msgspec.Struct):
    """The answer to a check."""

    data: CheckData


class ReportedData(_Shape):
    """The score of an address after the report."""

    ip_address: str
    abuse_confidence_score: int


class ReportedShape(msgspec.Struct):
    """The answer to a report."""

    data: ReportedData


class InvalidReport(_Shape):
    """A row that was not stored."""

    error: str
    input: str
    row_number: int


class BulkData(_Shape):
    """What became of the rows."""

    saved_reports: int
    invalid_reports: list[InvalidReport]


class BulkShape(msgspec.Struct):
    """The answer to a bulk report."""

    data: BulkData


class BlockAddress(_Shape):
    """A reported address of a network."""

    ip_address: str
    num_reports: int
    most_recent_report: str
    abuse_confidence_score: int
    country_code: str | None


class BlockData(_Shape):
    """A network with what was reported in it, the worst first."""

    network_address: str
    netmask: str
    min_address: str
    max_address: str
    num_possible_hosts: int
    address_space_desc: str
    reported_address: list[BlockAddress]


class BlockShape(msgspec.Struct):
    """The answer to a check of a network."""

    data: BlockData


def score(state: IndicatorState | None) -> int:
    """The score of an indicator; 0 of an unknown one, and of what is not active."""
    if state is None or state.status is not Status.ACTIVE:
        return 0
    return shapes.score_of(state.reputation, listed=state.listed)


def address_of(text: str, field: str) -> str:
    """The address itself; InvalidInput where it is none."""
    reason = "must be a valid IPv4 or IPv6 address"
    if "%" in text:
        raise invalid(field, f"{reason} without a zone")
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise invalid(field, reason) from None


def answer(shape: Any) -> Answer:
    """The shape as it is."""
    return Answer(msgspec.json.encode(shape))
