"""What a reporter says about an indicator: the vocabulary and the value every way in produces."""

import re
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple

from threatcloud.domain.indicator import Indicator

CATEGORIES: Final = ("malware", "botnet", "phishing", "bruteforce", "scanner", "exploit", "c2")
DEFAULT_CONFIDENCE: Final = 0.5
SOURCE_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,64}$"
_SOURCE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


class Severity(IntEnum):
    """How bad, in order."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The lower-case word of the contract."""
        return _SEVERITY_WORDS[self]

    @classmethod
    def of(cls, word: str) -> "Severity":
        """The severity of a contract word; ValueError for any other."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError("must be one of low, medium, high, critical") from None


_SEVERITY_WORDS: Final = {severity: severity.name.lower() for severity in Severity}


class SightingKind(StrEnum):
    """What a sighting says: seen doing harm, looked for and not seen, or wrongly listed."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    FALSE_POSITIVE = "false-positive"


class Role(StrEnum):
    """How much a reporter is trusted, by the role of its key. ``FEED`` is a bulk source an operator imports."""

    OPERATOR = "operator"
    HONEYPOT = "honeypot"
    AGENT = "agent"
    FEED = "feed"
    COMMUNITY = "community"
    ANONYMOUS = "anonymous"


#: Roles whose word alone may put an indicator on a blocklist; the others need independent corroboration.
TRUSTED_ROLES: Final = frozenset({Role.OPERATOR, Role.HONEYPOT, Role.AGENT, Role.FEED})
#: Roles an operator can give to a key.
KEY_ROLES: Final = (Role.OPERATOR, Role.AGENT, Role.HONEYPOT, Role.COMMUNITY)


def check_source(text: str) -> str:
    """The source name itself; ValueError if it is not 1-64 of ``[A-Za-z0-9._:-]``."""
    if not _SOURCE.match(text):
        raise ValueError("must be 1-64 characters of A-Z a-z 0-9 . _ : -")
    return text


class Report(NamedTuple):
    """One observation of one indicator, canonical and checked, ready to be stored as a fact."""

    indicator: Indicator
    key: bytes
    anonymised: bool
    source: str
    observed_at: int
    kind: SightingKind = SightingKind.POSITIVE
    category: str | None = None
    severity: Severity | None = None
    confidence: float = DEFAULT_CONFIDENCE
    metadata: Mapping[str, Any] = {}
    expires_at: int | None = None
    tlp: str | None = None
