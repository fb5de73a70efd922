"""Events and attributes of MISP, and the files of a feed of MISP (manifest, hashes, one file for each event).

Ids follow from the value, so a value is the same attribute in every version of its event.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import WORDING, FullEntry
from threatcloud.domain.indicator import IndicatorType, indicator_key
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import SECOND_MS, iso, parse_time
from threatcloud.formats.uuids import uuid_of

_TAG_COLOURS: Final = {"tlp": "#ffc000", "threat-cloud": "#0088cc"}
_HIGH: Final = "1"
_COMPLETE: Final = "2"
#: As the event says.
_INHERITED: Final = "5"
_ORGANISATION_ONLY: Final = "0"


def named_uuid(*names: str) -> str:
    """The id that follows from names."""
    return uuid_of(hashlib.sha256("\0".join(names).encode()).digest(), 5)


ORGANISATION: Final = {"name": "Threat Cloud", "uuid": named_uuid("organisation", "Threat Cloud")}


class Tag(msgspec.Struct):
    """A word of a taxonomy."""

    name: str
    colour: str


class Attribute(msgspec.Struct, omit_defaults=True):
    """A value, its type and category in MISP, and what is known of it."""

    uuid: str
    type: str
    category: str
    value: str
    to_ids: bool
    timestamp: str
    distribution: str
    comment: str
    first_seen: str
    last_seen: str
    Tag: tuple[Tag, ...] = ()
    deleted: bool = False


def event_uuid(name: str) -> str:
    """The id of the event of a list."""
    return named_uuid("event", name)


def attribute_uuid(kind: IndicatorType, value: str) -> str:
    """The id of the attribute of a canonical value."""
    return uuid_of(indicator_key(kind, value), 5)


def attribute(kind: IndicatorType, entry: FullEntry, *, deleted: bool = False) -> Attribute:
    """The attribute of an entry of a list of addresses, names, URLs or hashes."""
    type_, category = type_of(kind, entry.value)
    confidence = f"reputation {entry.reputation} of 100, confidence {entry.confidence} %"
    return Attribute(
        attribute_uuid(kind, entry.value),
        type_,
        category,
        entry.value.removesuffix("/32") if kind is IndicatorType.IP else entry.value,
        True,
        str(seconds_of(entry.updated_at)),
        _INHERITED,
        confidence,
        entry.first_seen,
        max(entry.first_seen, entry.last_seen),
        _tags(entry.category, entry.tlp, entry.techniques),
        deleted,
    )


def type_of(kind: IndicatorType, value: str) -> tuple[str, str]:
    """The type and the category of a value in MISP."""
    if kind is IndicatorType.HASH:
        return HASH_NAMES[len(value)].replace("-", "").lower(), "Payload delivery"
    return {IndicatorType.IP: "ip-dst"}.get(kind, kind.value), "Network activity"


@lru_cache(maxsize=4_096)  # what came in together has one time
def seconds_of(time: str) -> int:
    """A time as ``iso`` writes it, in seconds."""
    return parse_time(time) // SECOND_MS


@lru_cache(maxsize=1_000)  # most have the same few
def _tags(category: str | None, tlp: str | None, techniques: tuple[str, ...]) -> tuple[Tag, ...]:
    names = [f'threat-cloud:category="{category}"'] if category else []
    names += [f'threat-cloud:attack="{id_}"' for id_ in map(normalise_technique_id, techniques) if id_]
    own = [Tag(name, _TAG_COLOURS["threat-cloud"]) for name in names]
    return (*own, Tag(f"tlp:{tlp}", _TAG_COLOURS["tlp"])) if tlp else tuple(own)


def event(name: str, kinds: Sequence[IndicatorType], generated_at: int, attributes: Sequence[Attribute]) -> bytes:
    """The event of lists of these types, as of a time."""
    return msgspec.json.encode({"Event": {**_head(name, kinds, generated_at), "Attribute": attributes}}) + b"\n"


def _head(name: str, kinds: Sequence[IndicatorType], generated_at: int) -> dict[str, Any]:
    at = str(generated_at // SECOND_MS)
    return {
        "uuid": event_uuid(name),
        "info": f"Threat Cloud: {', '.join(WORDING[kind].unit for kind in kinds)} to block",
        "date": iso(generated_at)[:10],
        "threat_level_id": _HIGH,
        "analysis": _COMPLETE,
        "distribution": _ORGANISATION_ONLY,
        "published": True,
        "timestamp": at,
        "publish_timestamp": at,
        "Orgc": ORGANISATION,
        "Tag": [],
    }


def manifest(lists: Iterable[tuple[str, IndicatorType, int]]) -> bytes:
    """``manifest.json`` of the events of lists: each with its name, its type and its time."""
    entries = {}
    for name, kind, generated_at in lists:
        head = _head(name, (kind,), generated_at)
        kept = ("info", "date", "analysis", "threat_level_id", "timestamp", "Orgc", "Tag")
        entries[head["uuid"]] = {key: head[key] for key in kept}
    return msgspec.json.encode(entries) + b"\n"


def hash_lines(name: str, kind: IndicatorType, values: Iterable[str]) -> bytes:
    """What ``hashes.csv`` has of the event of a list: the MD5 of each value, and the event it is in."""
    own = event_uuid(name)
    plain = (value.removesuffix("/32") if kind is IndicatorType.IP else value for value in values)
    digests = (hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() for value in plain)
    return "".join(f"{digest},{own}\n" for digest in digests).encode()
