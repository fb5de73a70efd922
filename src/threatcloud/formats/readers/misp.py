"""Events of MISP: one, or a list or answer of several; also each file of a MISP feed.

Source: the MISP core format (draft-dulaunoy-misp-core-format). What the event says (tags, threat level, galaxies) may
come after its attributes, so the text is read twice. An attribute that is not for detection (`to_ids`) is stored with
the severity low: watched, not blocked.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.json_items import Item, Path, items
from threatcloud.formats.readers.meanings import category_of, fields_of, strictest, tlp
from threatcloud.formats.readers.source import Source

MAX_EVENTS: Final = 100_000
_SEVERITIES: Final = {"1": "high", "2": "medium", "3": "low"}
_ENTERED: Final = frozenset({"response", "Event", "Attribute", "Object"})
_EVENT: Final = ("Event", "Attribute", "info", "date")
#: The types of attributes that are indicators: of the value, or of its parts around the bar.
_TYPES: Final[Mapping[str, tuple[str | None, ...]]] = {
    **dict.fromkeys(("ip-src", "ip-dst"), ("ip",)),
    **dict.fromkeys(("ip-src|port", "ip-dst|port"), ("ip", "port")),
    **dict.fromkeys(("domain", "hostname"), ("domain",)),
    "hostname|port": ("domain", "port"),
    "domain|ip": ("domain", "ip"),
    **dict.fromkeys(("url", "uri"), ("url",)),
    **dict.fromkeys(("md5", "sha1", "sha256", "sha512"), ("hash",)),
    **dict.fromkeys(("filename|md5", "filename|sha1", "filename|sha256", "filename|sha512"), (None, "hash")),
    "malware-sample": (None, "hash"),
    **dict.fromkeys(("email", "email-src", "email-dst", "email-reply-to", "whois-registrant-email"), ("email",)),
    "vulnerability": ("cve",),
}
#: Addresses of who received mail, or registered a name: seen with it, and not themselves to be blocked.
_WATCHED: Final = frozenset({"email-dst", "whois-registrant-email", "vulnerability"})
_galaxy: Final = re.compile(r'misp-galaxy:([\w-]+)="(.*)"').fullmatch
_cached: Final = re.compile(r"[0-9a-f]{32},[0-9a-f-]{36}").fullmatch
_technique: Final = re.compile(r"T\d{4}(?:\.\d{3})?")


@dataclass(slots=True)
class _Event:
    """What an event says of all its attributes."""

    said: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def fits(head: Head) -> bool:
    """Whether it has attributes with values, and is about an event."""
    is_event = head.says("Attribute", "info") or head.says("Event", "info")
    return is_event or _is_manifest(head) or _is_cache(head)


def _is_manifest(head: Head) -> bool:
    return head.says("info", "Orgc", "threat_level_id")


def _is_cache(head: Head) -> bool:
    return bool(head.lines) and all(map(_cached, head.lines))


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of the attributes of each event, those of its objects too."""
    no_columns("misp", columns)
    head = source.head()
    if _is_cache(head):
        return iter((Passed("line of a feed's cache: digests of values, which are in the files of its events"),))
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    source.keep()
    events = _events(source)
    number = -1
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            yield item
        elif _begins_event(item):
            number += 1
        elif _is_attribute(item.path):
            try:
                attribute = item.load()
            except ValueError as error:
                yield item.reject(str(error))
                continue
            event = events[min(max(number, 0), len(events) - 1)] if events else _Event()
            yield from _of_attribute(item.line, attribute, event)
        elif len(item.path) == 1 and b'"Orgc"' in item.data:
            yield Passed("event of a feed, which is in a file of its own")
        elif item.path[-1:] == ("ShadowAttribute",) and item.data != b"[]":
            yield Passed("proposals to change an event")


def _events(source: Source) -> list[_Event]:
    events: list[_Event] = []
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            continue  # told of when it is read again
        if _begins_event(item) and len(events) < MAX_EVENTS:
            events.append(_Event())
        elif events and not _is_attribute(item.path):
            _learn(events[-1], item)
        elif events and b'"link"' in item.data and len(events[-1].links) < 20:
            _learn_link(events[-1], item)
    return events


def _enters(path: Path) -> bool:
    """Into events and objects; an attribute, and whatever else there is, is taken whole."""
    if not path:
        return True
    named = [step for step in path if step != "*"]
    return all(step in _ENTERED for step in named) and path[-2:] != ("Attribute", "*") and len(path) < 8


def _begins_event(item: Item) -> bool:
    """An event is under its name, or is the text itself."""
    if item.data != b"{" or "Object" in item.path:
        return False
    return item.path[-1:] == ("Event",) or not item.path


def _is_attribute(path: Path) -> bool:
    return path[-2:] == ("Attribute", "*")


def _learn(event: _Event, item: Item) -> None:
    name = item.path[-1] if item.path else ""
    if name not in ("info", "date", "threat_level_id", "uuid", "Tag", "Orgc", "Galaxy") or "Object" in item.path:
        return
    try:
        value = item.load()
    except ValueError:
        return
    if name == "Tag":
        event.tags += _names(value)
    elif name == "Galaxy":
        event.tags += _galaxies(value)
    elif name == "Orgc":
        event.said["producer"] = str(value.get("name") or "") if isinstance(value, dict) else ""
    elif isinstance(value, str | int):
        event.said[name] = str(value)


def _learn_link(event: _Event, item: Item) -> None:
    try:
        attribute = item.load()
    except ValueError:
        return
    if isinstance(attribute, dict) and attribute.get("type") == "link":
        event.links.append(str(attribute.get("value")))


def _of_attribute(line: int, attribute: Any, event: _Event) -> Iterator[Found]:
    kind = attribute.get("type") if isinstance(attribute, dict) else None
    value = attribute.get("value") if isinstance(attribute, dict) else None
    if not isinstance(kind, str) or not isinstance(value, str):
        yield Reject(line, str(attribute)[:120], "value", "is an attribute without a type or a value")
        return
    parts = _TYPES.get(kind)
    if attribute.get("deleted") is True or parts is None:
        yield Passed("deleted attribute" if parts else f"attribute {kind[:40]}")
        return
    values = value.split("|", 1) if len(parts) > 1 else [value]
    said = _said(attribute, kind, event)
    said["ports"] = next((text for text, part in zip(values, parts, strict=False) if part == "port"), None)
    for text, part in zip(values, parts, strict=False):
        if part is None:
            yield Passed("file name beside a hash")
        elif part != "port":
            yield Row(line, text, part, fields_of(said))


def _said(attribute: Mapping[str, Any], kind: str, event: _Event) -> dict[str, Any]:
    tags = [*_names(attribute.get("Tag")), *_galaxies(attribute.get("Galaxy")), *event.tags]
    told = [tag for tag in tags if not tag.startswith(("tlp:", "osint:"))]
    info, comment = event.said.get("info", ""), attribute.get("comment")
    watched = kind in _WATCHED or attribute.get("to_ids") is False
    clusters = [match for tag in tags if (match := _galaxy(tag))]
    return {
        "category": category_of(told) or category_of([info]) or category_of([str(attribute.get("category") or "")]),
        "severity": "low" if watched else _SEVERITIES.get(event.said.get("threat_level_id", "")),
        "timestamp": attribute.get("first_seen") or attribute.get("timestamp") or event.said.get("date"),
        "tlp": strictest(map(tlp, tags)),
        "tags": [tag for tag in told if not _galaxy(tag)] + [match[2] for match in clusters],
        "malwareFamily": next((match[2] for match in clusters if match[1] in _FAMILIES), None),
        "mitreIds": [match[0] for tag in tags if "attack-pattern" in tag and (match := _technique.search(tag))],
        "references": event.links,
        "description": comment or info,
        "ref": event.said.get("uuid"),
        "producer": event.said.get("producer"),
        "lastSighted": attribute.get("last_seen"),
    }


_FAMILIES: Final = frozenset({"malpedia", "mitre-malware", "ransomware", "rat", "botnet", "stealer", "banker", "tool"})


def _names(tags: Any) -> list[str]:
    return (
        [str(tag["name"]) for tag in tags if isinstance(tag, dict) and tag.get("name")]
        if isinstance(tags, list)
        else []
    )


def _galaxies(galaxies: Any) -> list[str]:
    """The tags that stand for the clusters of galaxies."""
    found: list[str] = []
    for galaxy in galaxies if isinstance(galaxies, list) else ():
        clusters = galaxy.get("GalaxyCluster") if isinstance(galaxy, dict) else None
        named = [cluster for cluster in clusters or () if isinstance(cluster, dict) and cluster.get("value")]
        found += [str(item.get("tag_name") or f'misp-galaxy:{item.get("type")}="{item["value"]}"') for item in named]
    return found
