"""From what somebody claims to a report that can be stored: checked, canonical, screened. Pure, off the database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from threatcloud.domain.errors import InvalidInput, Problem, invalid
from threatcloud.domain.indicator import (
    IndicatorType,
    InvalidIndicator,
    canonical_observation,
    detect,
    indicator_key,
)
from threatcloud.domain.metadata import gathered
from threatcloud.domain.report import (
    CATEGORIES,
    DEFAULT_CONFIDENCE,
    Report,
    Severity,
    SightingKind,
    check_source,
)
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import MAX_FUTURE_MS, parse_time
from threatcloud.services.recording import MAX_TAG_LENGTH, Prepared
from threatcloud.services.screening import Screener

T = TypeVar("T")
R = TypeVar("R")

MAX_METADATA_BYTES: Final = 16 * 1024
MAX_METADATA_DEPTH: Final = 8
MAX_RELATED: Final = 100
TLP_LABELS: Final = ("clear", "white", "green", "amber", "amber+strict", "red")
_KINDS: Final = {kind.value: kind for kind in IndicatorType}
_NESTING: Final = (dict, list)  # a union is made anew wherever it stands
_KIND_WANTED: Final = f"must be one of {', '.join(IndicatorType)}"


class Claim(NamedTuple):
    """What a reporter says of one indicator, as it came: words and texts, nothing checked but their types."""

    type: str
    value: str
    source: str
    category: str | None = None
    severity: str | None = None
    confidence: float | None = None
    metadata: Mapping[str, Any] = {}
    timestamp: str | None = None
    expires_at: str | None = None
    tlp: str | None = None


class Intake:
    """Turns claims into prepared reports."""

    def __init__(self, screener: Screener) -> None:
        self._screener = screener

    def prepare(self, claim: Claim, now: int) -> Prepared | list[Problem]:
        """The report a claim makes, or everything that is wrong with it."""
        check = _Check()
        kind = _KINDS.get(claim.type)
        if kind is None:
            check.problems.append(Problem("type", _KIND_WANTED))
        found = check.run("value", canonical_observation, kind, claim.value) if kind else None
        source = check.run("source", check_source, claim.source)
        category = check.if_given("category", _category, claim.category)
        severity = check.if_given("severity", Severity.of, claim.severity)
        confidence = check.if_given("confidence", _confidence, claim.confidence)
        observed_at = check.run("timestamp", observation_time, claim.timestamp, now)
        expires_at = check.if_given("expiresAt", expiry_time, claim.expires_at, now)
        tlp = check.if_given("tlp", _tlp, claim.tlp)
        metadata = check.run("metadata", checked_metadata, claim.metadata) if claim.metadata else {}
        related = check.if_given("metadata.relatedTo", _related, claim.metadata.get("relatedTo"))
        if check.problems or found is None or source is None or observed_at is None or metadata is None:
            return check.problems
        indicator = found.indicator
        report = Report(
            indicator,
            indicator_key(*indicator),
            found.anonymised,
            source,
            observed_at,
            SightingKind.POSITIVE,
            category,
            severity,
            DEFAULT_CONFIDENCE if confidence is None else confidence,
            metadata,
            expires_at,
            tlp,
        )
        return Prepared(report, self._screener.screen(indicator, found.anonymised), related or ())


class _Check:
    """Runs one check after another and gathers what they find."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def if_given(self, field: str, check: Any, value: Any, *args: Any) -> Any:
        """The check's result, or None with the problem noted; None for what was not given."""
        return None if value is None else self.run(field, check, value, *args)

    def run(self, field: str, check: Any, *args: Any) -> Any:
        """The check's result, or None with the problem noted."""
        try:
            return check(*args)
        except InvalidIndicator as error:
            self.problems.append(Problem(field, error.reason))
        except ValueError as error:
            self.problems.append(Problem(field, str(error)))
        return None


def checked(field: str, check: Callable[[T], R], value: T) -> R:
    """The check's result; InvalidInput that names the field when it fails."""
    try:
        return check(value)
    except ValueError as error:
        raise invalid(field, str(error)) from None


def observation_time(text: str | None, now: int) -> int:
    """The time a report speaks of: its own, at most an hour ahead of ours, or now."""
    if text is None:
        return now
    time_ms = parse_time(text)
    if time_ms > now + MAX_FUTURE_MS:
        raise ValueError("lies more than an hour in the future")
    if time_ms == 0:
        raise ValueError("is the epoch itself, which stands for a clock that was never set")
    return time_ms


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata, technique ids in their normal form; ValueError when too large, too deep or of wrong types."""
    if _is_deeper(metadata, MAX_METADATA_DEPTH):
        raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise ValueError(f"must not be larger than {MAX_METADATA_BYTES} bytes as JSON")
    checked = dict(metadata)
    for name in ("mitreId", "mitreIds", "mitreTechnique"):
        if checked.get(name) is not None:
            checked[name] = _techniques(name, checked[name])
    for tag in gathered(checked, "tags"):
        if not isinstance(tag, str) or not 0 < len(tag) <= MAX_TAG_LENGTH:
            raise ValueError(f"tags must be texts of 1 to {MAX_TAG_LENGTH} characters")
    for name in ("ports", "port"):
        if checked.get(name) is not None:
            checked[name] = _ports(name, checked[name])
    return checked


def _techniques(name: str, value: Any) -> list[str]:
    found = []
    for item in value if isinstance(value, list) else [value]:
        technique = normalise_technique_id(item) if isinstance(item, str) else None
        if technique is None:
            raise ValueError(f"{name} must hold ATT&CK technique ids such as T1110 or T1110.001")
        found.append(technique)
    return found


def _ports(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_port(name, item) for item in value if item is not None]
    return _port(name, value)


def _port(name: str, value: Any) -> int:
    """The number as an integer: JSON has one kind of number, and 22.0 is a way to write 22 (RFC 8259 section 6)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65_535:
        raise ValueError(f"{name} must be whole numbers from 0 to 65535")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether an object or list is nested deeper; looks no deeper itself."""
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, _NESTING) and (levels == 1 or _is_deeper(item, levels - 1)):
            return True
    return False


def _category(word: str) -> str:
    if word not in CATEGORIES:
        raise ValueError(f"must be one of {', '.join(CATEGORIES)}")
    return word


def _confidence(number: float) -> float:
    if not 0.0 <= number <= 1.0:
        raise ValueError("must be a number from 0.0 to 1.0")
    return number


def expiry_time(text: str | None, now: int) -> int | None:
    """The time something ends (None: never); ValueError when it is no time or has passed."""
    if text is None:
        return None
    time_ms = parse_time(text)
    if time_ms <= now:
        raise ValueError("must lie in the future")
    return time_ms


def _tlp(label: str) -> str:
    word = label.lower().removeprefix("tlp:")
    if word not in TLP_LABELS:
        raise ValueError(f"must be one of {', '.join(TLP_LABELS)}")
    return "clear" if word == "white" else word


def _related(value: Any) -> tuple[bytes, ...]:
    """The ids of the indicators named; texts that are none are kept in the metadata and lead nowhere."""
    texts: Sequence[Any] = value if isinstance(value, list) else [value]
    found = []
    for text in texts[:MAX_RELATED]:
        if not isinstance(text, str):
            continue
        try:
            found.append(indicator_key(*detect(text)))
        except InvalidInput:
            continue
    return tuple(dict.fromkeys(found))
