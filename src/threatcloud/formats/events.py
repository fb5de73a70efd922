"""Changes as JSON, the same in the stream and in webhooks."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.change import Change
from threatcloud.domain.indicator import public_id
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import iso

_encode: Final = msgspec.json.Encoder().encode


class EventIoc(msgspec.Struct, rename="camel", omit_defaults=True):
    """An indicator in an event; only type and value where nothing else is known of it any more."""

    type: str
    value: str
    id: str | None = None
    reputation: int | None = None
    category: str | None = None
    severity: str | None = None
    confidence: float | None = None
    sightings: int | None = None
    first_seen: str | None = None
    last_seen: str | None = None
    updated_at: str | None = None
    tags: list[Any] = []


class EventCampaign(msgspec.Struct, rename="camel", omit_defaults=True):
    """A campaign in an event; ``gone``: an operator deleted it, or it went into another."""

    id: str
    gone: bool = False
    name: str | None = None
    severity: str | None = None
    first_seen: str | None = None
    last_activity: str | None = None
    ioc_count: int | None = None
    tags: list[str] = []


class Event(msgspec.Struct, rename="camel", omit_defaults=True):
    """A change: ``event`` says which kind, and which of the others is there."""

    id: str
    event: str
    at: str
    ioc: EventIoc | None = None
    campaign: EventCampaign | None = None
    version: str | None = None


def event_json(change: Change) -> bytes:
    """A change as one line of JSON."""
    place = str(change.place)
    event = Event(place, change.kind.value, iso(change.at))
    if change.indicator is not None:
        kind, value = change.indicator
        event.ioc = _known(change.state) if change.state else EventIoc(kind.value, value)
    elif change.campaign_id:
        event.campaign = _shown(change.campaign) if change.campaign else EventCampaign(change.campaign_id, gone=True)
    else:
        event.version = change.place.version
    return _encode(event)


def changes_json(changes: Sequence[Change], now: int) -> bytes:
    """The body of a delivery of changes."""
    return _delivery("changes", now, b'{"events":[%b]}' % b",".join(map(event_json, changes)))


def ping_json(now: int) -> bytes:
    """The body of a delivery that only tries the way."""
    return _delivery("ping", now)


def gap_json(now: int) -> bytes:
    """The body that says that not all could be told: the receiver has to load the lists anew."""
    return _delivery("gap", now)


def _delivery(kind: str, now: int, data: bytes = b"{}") -> bytes:
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (kind.encode(), iso(now).encode(), data)


def _known(state: IndicatorState) -> EventIoc:
    kind, value = state.indicator
    return EventIoc(
        kind.value,
        value,
        public_id(state.id),
        state.reputation,
        state.category,
        state.severity.word if state.severity else None,
        state.confidence,
        state.sightings,
        iso(state.first_seen),
        iso(state.last_seen),
        iso(state.updated_at),
        list(state.metadata.get("tags", ())) if state.metadata else [],
    )


def _shown(campaign: Campaign) -> EventCampaign:
    return EventCampaign(
        campaign.id,
        False,
        campaign.name,
        campaign.severity.word if campaign.severity else None,
        iso(campaign.first_seen),
        iso(campaign.last_activity),
        campaign.iocs,
        list(campaign.tags),
    )
