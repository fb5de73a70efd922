"""The stored state of one indicator: a projection of its facts, and the questions asked of it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from threatcloud.domain.indicator import Indicator
from threatcloud.domain.report import Severity
from threatcloud.domain.reputation import BLOCK_REPUTATION

UNCATEGORIZED: Final = "uncategorized"
#: Guard findings that speak for the indicator itself, not only against publishing it.
BENIGN_CODES: Final = frozenset({"benign-list", "top-domain", "public-suffix"})
#: What an indicator is whose only observations are anonymised.
ANONYMISED_CODE: Final = "anonymised"
#: Findings that stay where the operator's allowlist covers an indicator, too: one says what was seen, the others that
#: somebody vouches for it, which it must not lose by being allowed. Either way it is never published.
LASTING_CODES: Final = BENIGN_CODES | {ANONYMISED_CODE}


class Status(StrEnum):
    """Where an indicator stands. ``unknown`` is what an unseen one reads; it is never stored."""

    ACTIVE = "active"
    EXPIRED = "expired"
    WHITELISTED = "whitelisted"
    UNKNOWN = "unknown"


class IndicatorState(NamedTuple):
    """Everything the server knows of one indicator, ready to be shown.

    ``shared``: the guard lets it out. ``listed``: it is in the default blocklists (shared and reputation <= 30).
    ``withheld_code`` and ``withheld_list`` say what held it back; ``cloud`` is the rented range it lies in.
    """

    pk: int
    id: bytes
    indicator: Indicator
    status: Status
    reputation: int
    category: str | None
    severity: Severity | None
    confidence: float
    source: str
    sources: tuple[str, ...]
    sightings: int
    first_seen: int
    last_seen: int
    created_at: int
    updated_at: int
    expires_at: int | None
    next_change_at: int | None
    withheld_code: str | None
    withheld_list: str | None
    cloud: str | None
    country: str | None
    asn: int | None
    tlp: str | None
    metadata: Mapping[str, Any] | None
    shared: bool
    listed: bool

    @property
    def benign(self) -> bool:
        """Whether a benign list vouches for it."""
        return self.withheld_code in BENIGN_CODES


def is_shared(status: Status, corroborated: bool, seconded: bool, cloud: str | None) -> bool:
    """Whether the guard lets an indicator out: active, not one stranger's word, and a second voice for a cloud host."""
    return status is Status.ACTIVE and corroborated and (cloud is None or seconded)


def as_of(state: IndicatorState, now: int) -> IndicatorState:
    """The state with its expiry observed, where the job that stores it has not come round yet."""
    if state.expires_at is None or state.expires_at > now or state.status is not Status.ACTIVE:
        return state
    return state._replace(status=Status.EXPIRED, shared=False, listed=False)


def is_listed(shared: bool, reputation: int) -> bool:
    """Whether a shared indicator is in the default blocklists."""
    return shared and reputation <= BLOCK_REPUTATION
