"""Documents for Elasticsearch in the Elastic Common Schema, one on each line: what indicator match rules look up."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from threatcloud.domain.address import is_network
from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Refusal, joined
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.templates import MARKS, Templates, escaped, template

_ECS: Final = {"version": "8.11.0"}


def write(snapshot: Snapshot) -> bytes:
    """A document for each entry."""
    return joined(_texts(snapshot))


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


def _documents(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    for observed, value, reputation, category, first_seen, last_seen in _rows(snapshot):
        observable = _observable(observed, value, value)
        yield _document(snapshot.name, observable, 100 - reputation, category, first_seen, last_seen)


def _texts(snapshot: Snapshot) -> Iterator[str]:
    """The documents, each encoded, on a line."""
    templates = Templates(partial(_template, snapshot.name))
    for observed, value, reputation, category, first_seen, last_seen in _rows(snapshot):
        text = escaped(value) if observed == "url" else value
        yield templates[observed, category] % (last_seen, 100 - reputation, text, text, first_seen, last_seen)


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str, int, str | None, str, str]]:
    """What each value is observed as, and what is said of it."""
    observed, is_address = _OBSERVED[snapshot.kind], snapshot.kind is IndicatorType.IP
    for value, reputation, category, first_seen, last_seen in snapshot.entries:
        shown = value.removesuffix("/32") if is_address else value
        yield observed(value), shown, reputation, category, first_seen, last_seen


def _template(name: str, shape: tuple[str, str | None]) -> str:
    observed, category = shape
    at, risk, *values, first_seen, last_seen = MARKS[:6]
    observable = _observable(observed, *map(str, values))
    document = _document(name, observable, risk, category, str(first_seen), str(last_seen))
    return template({**document, "@timestamp": str(at)}, MARKS[:6]) + "\n"


def _document(
    name: str, observable: dict[str, Any], risk: int, category: str | None, first_seen: str, last_seen: str
) -> dict[str, Any]:
    indicator = {**observable, "provider": "Threat Cloud", "first_seen": first_seen, "last_seen": last_seen}
    if category:
        indicator["description"] = category
    event = {"kind": "enrichment", "category": ["threat"], "type": ["indicator"], "risk_score": risk}
    threat = {"feed": {"name": f"Threat Cloud {name}"}, "indicator": indicator}
    return {"@timestamp": last_seen, "ecs": _ECS, "event": event, "threat": threat}


def _observable(observed: str, value: str, again: str) -> dict[str, Any]:
    """The type of an indicator in the schema, and its value in the field of that type."""
    if observed in ("ipv4-addr", "ipv6-addr"):
        return {"type": observed, "ip": value}
    if observed == "domain-name":
        return {"type": observed, "url": {"domain": value}}
    if observed == "url":
        return {"type": observed, "url": {"full": value, "original": again}}
    return {"type": "file", "file": {"hash": {observed: value}}}


def _hash_field(value: str) -> str:
    return HASH_NAMES[len(value)].replace("-", "").lower()


#: What a value is observed as.
_OBSERVED: Final[dict[IndicatorType, Callable[[str], str]]] = {
    IndicatorType.IP: lambda value: "ipv6-addr" if ":" in value else "ipv4-addr",
    IndicatorType.DOMAIN: lambda _: "domain-name",
    IndicatorType.URL: lambda _: "url",
    IndicatorType.HASH: _hash_field,
}


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
