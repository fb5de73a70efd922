"""Events and attributes of MISP, and the files of a feed of MISP (manifest, hashes, one file for each event).

Ids follow from the value, so a value is the same attribute in every version of its event.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import WORDING, FullFields
from threatcloud.domain.indicator import IndicatorType, digest
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import SECOND_MS, iso, parse_time
from threatcloud.formats.templates import MARKS, Templates, around, escaped, template
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
    return uuid_of(digest(kind, value), 5)


def attribute(kind: IndicatorType, entry: FullFields, *, deleted: bool = False) -> Attribute:
    """The attribute of an entry of a list of addresses, names, URLs or hashes."""
    value, _, category, _, _, _, _, _, tlp, techniques = entry
    return _attribute(type_of(kind, value), _Own(*_own(kind, entry)), _tags(category, tlp, techniques), deleted=deleted)


def attribute_texts(kind: IndicatorType, entries: Iterable[FullFields]) -> Iterator[str]:
    """The same of many entries, each encoded."""
    templates = Templates(_template)
    for entry in entries:
        value, _, category, _, _, _, _, _, tlp, techniques = entry
        prepared = templates[type_of(kind, value), category, tlp, techniques]
        yield prepared % _own(kind, entry, escaped if kind is IndicatorType.URL else str)


class _Own(NamedTuple):
    """What is different in every attribute."""

    uuid: str
    value: str
    timestamp: int
    reputation: int
    confidence: int
    first_seen: str
    last_seen: str


def _own(
    kind: IndicatorType, entry: FullFields, shown: Callable[[str], str] = str
) -> tuple[str, str, int, int, int, str, str]:
    value, reputation, _, first_seen, last_seen, confidence, updated_at, _, _, _ = entry
    return (
        attribute_uuid(kind, value),
        value.removesuffix("/32") if kind is IndicatorType.IP else shown(value),
        seconds_of(updated_at),
        reputation,
        confidence,
        first_seen,
        max(first_seen, last_seen),
    )


def _template(said: tuple[tuple[str, str], str | None, str | None, tuple[str, ...]]) -> str:
    type_, category, tlp, techniques = said
    marks = MARKS[: len(_Own._fields)]
    uuid, value, timestamp, reputation, confidence, first_seen, last_seen = marks
    own = _Own(str(uuid), str(value), timestamp, reputation, confidence, str(first_seen), str(last_seen))
    return template(_attribute(type_, own, _tags(category, tlp, techniques)), marks)


def _attribute(type_: tuple[str, str], own: _Own, tags: tuple[Tag, ...], *, deleted: bool = False) -> Attribute:
    comment = f"reputation {own.reputation} of 100, confidence {own.confidence} %"
    times = own.first_seen, own.last_seen
    return Attribute(own.uuid, *type_, own.value, True, str(own.timestamp), _INHERITED, comment, *times, tags, deleted)


def type_of(kind: IndicatorType, value: str) -> tuple[str, str]:
    """The type and the category of a value in MISP."""
    if kind is IndicatorType.HASH:
        return HASH_NAMES[len(value)].replace("-", "").lower(), "Payload delivery"
    return "ip-dst" if kind is IndicatorType.IP else kind.value, "Network activity"


def seconds_of(time: str) -> int:
    """A time as ``iso`` writes it, in seconds."""
    return _day_s(time[:10]) + _CLOCK_S[time[11:16]] + int(time[17:19])


#: The seconds of a day by the time of day.
_CLOCK_S: Final = {f"{minute // 60:02d}:{minute % 60:02d}": 60 * minute for minute in range(1_440)}


@lru_cache(maxsize=4_096)
def _day_s(date: str) -> int:
    return parse_time(date) // SECOND_MS


@lru_cache(maxsize=1_000)  # most have the same few
def _tags(category: str | None, tlp: str | None, techniques: tuple[str, ...]) -> tuple[Tag, ...]:
    names = [f'threat-cloud:category="{category}"'] if category else []
    names += [f'threat-cloud:attack="{id_}"' for id_ in map(normalise_technique_id, techniques) if id_]
    own = [Tag(name, _TAG_COLOURS["threat-cloud"]) for name in names]
    return (*own, Tag(f"tlp:{tlp}", _TAG_COLOURS["tlp"])) if tlp else tuple(own)


def around_attributes(name: str, kinds: Sequence[IndicatorType], generated_at: int) -> tuple[bytes, bytes]:
    """The event of lists of these types, as of a time: what is before its attributes, and what after them."""
    return around({"Event": {**_head(name, kinds, generated_at), "Attribute": [MARKS[0]]}})


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
