"""Campaigns: indicators that belong together, found by correlation or put together by hand."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.report import Severity
from threatcloud.domain.times import DAY_MS

ACTIVE_DAYS: Final = 7
DORMANT_DAYS: Final = 30
#: Fewer are a pair, which related indicators show; correlation makes no campaign of them.
MIN_MEMBERS: Final = 3
MAX_NAME_CHARS: Final = 200
ID_PREFIX: Final = "cmp_"


class CampaignStatus(StrEnum):
    """By the time since its last activity: up to 7 days, up to 30, longer."""

    ACTIVE = "active"
    DORMANT = "dormant"
    RESOLVED = "resolved"


class Campaign(NamedTuple):
    """A campaign as it is stored. Severity is the operator's or the worst of its members; lists most frequent first."""

    pk: int
    id: str
    name: str
    description: str
    by_hand: bool
    severity: Severity | None
    tags: tuple[str, ...]
    mitre_ids: tuple[str, ...]
    orgs: tuple[str, ...]
    first_seen: int
    last_activity: int
    iocs: int
    created_at: int
    updated_at: int


def status_at(last_activity: int, now: int) -> CampaignStatus:
    """The status of a campaign that was last active then."""
    idle = now - last_activity
    if idle <= ACTIVE_DAYS * DAY_MS:
        return CampaignStatus.ACTIVE
    return CampaignStatus.DORMANT if idle <= DORMANT_DAYS * DAY_MS else CampaignStatus.RESOLVED


def activity_bounds(status: CampaignStatus, now: int) -> tuple[int, int]:
    """The first and last time of activity that give the status now; the last is far ahead for active ones."""
    active, dormant = now - ACTIVE_DAYS * DAY_MS, now - DORMANT_DAYS * DAY_MS
    if status is CampaignStatus.ACTIVE:
        return active, 1 << 62
    return (dormant, active - 1) if status is CampaignStatus.DORMANT else (-(1 << 62), dormant - 1)


def campaign_id(founders: Iterable[bytes], made_at: int) -> str:
    """The id of a campaign made then of indicators with these ids (the order does not matter)."""
    text = b"".join([made_at.to_bytes(8, "big"), *sorted(founders)])
    return ID_PREFIX + hashlib.sha256(text).hexdigest()[:16]
