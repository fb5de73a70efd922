"""Documents for Elasticsearch in the Elastic Common Schema, one on each line: what indicator match rules look up."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from threatcloud.domain.address import is_network
from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import Detail, FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Refusal
from threatcloud.formats.feeds.snapshot import Snapshot

_ECS: Final = {"version": "8.11.0"}


#: By reputation: what is the same is made once.
_EVENTS: Final = [
    {"kind": "enrichment", "category": ["threat"], "type": ["indicator"], "risk_score": 100 - reputation}
    for reputation in range(101)
]


def write(snapshot: Snapshot) -> bytes:
    """A document for each entry."""
    return msgspec.json.Encoder().encode_lines(_documents(snapshot))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """One list after the other."""
    return b"".join(map(write, snapshots))


def write_delta(changes: Sequence[Change], _versions: Versions) -> bytes:
    """Documents with the label ``change``: ``new``, or ``deleted`` with the value alone."""
    found = [
        {**document, "labels": {"change": word}}
        for change in changes
        for word, snapshot in (("new", change.added), ("deleted", change.removed))
        for document in _documents(snapshot)
    ]
    return msgspec.json.Encoder().encode_lines(found)


def _documents(snapshot: Snapshot) -> list[dict[str, Any]]:
    feed = {"name": f"Threat Cloud {snapshot.name}"}
    return [_document(snapshot.kind, entry, feed) for entry in snapshot.entries]


def _document(kind: IndicatorType, entry: FeedEntry, feed: dict[str, str]) -> dict[str, Any]:
    value, reputation, category, first_seen, last_seen = entry
    indicator = _observable(kind, value)
    indicator["provider"] = "Threat Cloud"
    indicator["first_seen"] = first_seen
    indicator["last_seen"] = last_seen
    if category:
        indicator["description"] = category
    threat = {"feed": feed, "indicator": indicator}
    return {"@timestamp": last_seen, "ecs": _ECS, "event": _EVENTS[reputation], "threat": threat}


def _observable(kind: IndicatorType, value: str) -> dict[str, Any]:
    """The type of an indicator in the schema, and its value in the field of that type."""
    if kind is IndicatorType.IP:
        host = value.removesuffix("/32")
        return {"type": "ipv6-addr" if ":" in host else "ipv4-addr", "ip": host}
    if kind is IndicatorType.DOMAIN:
        return {"type": "domain-name", "url": {"domain": value}}
    if kind is IndicatorType.URL:
        return {"type": "url", "url": {"full": value, "original": value}}
    return {"type": "file", "file": {"hash": {HASH_NAMES[len(value)].replace("-", "").lower(): value}}}


FORMAT: Final = Format(
    name="elastic",
    extension="ecs",
    description="documents in the Elastic Common Schema, one on each line",
    media="application/x-ndjson",
    kinds=LISTED_KINDS,
    write=write,
    write_all=write_all,
    delta=Delta(write_delta),
    detail=Detail.ENTRY,
    refusals=(Refusal("networks, which a field of the type ip cannot hold", is_network, (IndicatorType.IP,)),),
)
