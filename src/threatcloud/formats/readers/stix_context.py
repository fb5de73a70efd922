"""What the objects of a STIX bundle say of its indicators, kept small enough for bundles of any size."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from threatcloud.formats.readers.meanings import category_of, strictest, tlp

#: Relationships, sightings and members of reports; each takes about a hundred bytes.
MAX_LINKS: Final = 400_000
MAX_NAMED: Final = 50_000
#: The TLP 1 markings that STIX 2.0 and 2.1 define themselves (2.1, section 7.2.1.4), and those of TLP 2.
_KNOWN_MARKINGS: Final = {
    "613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",
    "34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
    "f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
    "94868c89-83c2-464b-929b-a1a8aa3c8487": "clear",
    "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "green",
    "55d920b0-5e8b-4f79-9ee9-91f868d9b421": "amber",
    "939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
    "e828b379-4e03-4974-9ac4-e53a884c97c1": "red",
}
_ACTORS: Final = ("threat-actor", "intrusion-set", "campaign", "tool")


@dataclass(slots=True)
class About:
    """What is said of one indicator by others."""

    family: str | None = None
    category: str | None = None
    kinds: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    techniques: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    report: str | None = None
    sightings: int = 0
    last_sighted: str | None = None


@dataclass(slots=True)
class _Named:
    """An object that indicators point to."""

    kind: str
    name: str
    technique: str | None
    words: tuple[str, ...]
    references: tuple[str, ...]


class Context:
    """Filled with the objects of a bundle, asked about its indicators."""

    def __init__(self) -> None:
        self.bundle: str | None = None
        self.names: dict[str, str] = {}
        self.left_out = 0
        self._named: dict[bytes, _Named] = {}
        self._markings: dict[str, str] = dict(_KNOWN_MARKINGS)
        self._targets: dict[bytes, tuple[bytes, ...]] = {}
        self._reports: dict[bytes, bytes] = {}
        self._report_ids: dict[bytes, str] = {}
        self._sightings: dict[bytes, tuple[int, str]] = {}
        self._links = 0

    def add(self, item: Any) -> None:
        """Takes from an object what it says of others."""
        kind = item.get("type") if isinstance(item, dict) else None
        identity = item.get("id") if isinstance(item, dict) else None
        if not isinstance(kind, str) or not isinstance(identity, str):
            return
        if kind == "relationship":
            self._relate(item.get("source_ref"), item.get("target_ref"))
        elif kind == "sighting":
            self._sight(item)
        elif kind in ("report", "grouping"):
            self._gather(identity, item)
        elif kind == "marking-definition":
            self._mark(identity, item)
        elif kind in ("identity", "malware", "attack-pattern", *_ACTORS) and len(self._named) < MAX_NAMED:
            self._name(identity, kind, item)

    def about(self, identity: str) -> About:
        """What was said of the object of an id."""
        about, key = About(), _key(identity)
        for target in self._targets.get(key, ()):
            if (named := self._named.get(target)) is not None:
                _tell(about, named)
        if (report := self._reports.get(key)) is not None:
            about.report = self._report_ids.get(report)
            if (named := self._named.get(report)) is not None:
                about.references += named.references
                about.kinds += named.words
        about.sightings, last = self._sightings.get(key, (0, ""))
        about.last_sighted = last or None
        about.category = about.category or category_of(about.kinds)
        return about

    def marking(self, item: Mapping[str, Any]) -> str | None:
        """The TLP label of an object: the strictest of its own and those of its parts."""
        granular = item.get("granular_markings")
        given = granular if isinstance(granular, list) else []
        parts = [part.get("marking_ref") for part in given if isinstance(part, dict)]
        refs = [*texts_of(item.get("object_marking_refs")), *(ref for ref in parts if isinstance(ref, str))]
        return strictest(self._markings.get(ref.partition("--")[2]) for ref in refs)

    def _relate(self, source: Any, target: Any) -> None:
        if not isinstance(source, str) or not isinstance(target, str) or not source.startswith("indicator--"):
            return
        if self._has_room():
            key = _key(source)
            self._targets[key] = (*self._targets.get(key, ()), _key(target))

    def _sight(self, item: Mapping[str, Any]) -> None:
        target, times = item.get("sighting_of_ref"), item.get("count", 1)
        if isinstance(target, str) and self._has_room():
            key = _key(target)
            before, last = self._sightings.get(key, (0, ""))
            seen = item.get("last_seen") or item.get("first_seen") or ""
            self._sightings[key] = before + (times if isinstance(times, int) else 1), max(last, str(seen))

    def _gather(self, identity: str, item: Mapping[str, Any]) -> None:
        key = _key(identity)
        self._report_ids[key] = identity
        self._named[key] = _named(item, "report")
        for member in texts_of(item.get("object_refs")):
            if member.startswith(("indicator--", "vulnerability--")) and self._has_room():
                self._reports.setdefault(_key(member), key)

    def _mark(self, identity: str, item: Mapping[str, Any]) -> None:
        definition, extensions = item.get("definition"), item.get("extensions")
        said = [definition.get("tlp")] if isinstance(definition, dict) else []
        if isinstance(extensions, dict):
            said += [value.get("tlp_2_0") for value in extensions.values() if isinstance(value, dict)]
        said.append(item.get("name"))
        label = next((found for text in said if isinstance(text, str) and (found := tlp(text))), None)
        if label:
            self._markings[identity.partition("--")[2]] = label

    def _name(self, identity: str, kind: str, item: Mapping[str, Any]) -> None:
        if kind == "identity":
            self.names[identity] = str(item.get("name"))[:200]
        else:
            self._named[_key(identity)] = _named(item, kind)

    def _has_room(self) -> bool:
        self._links += 1
        if self._links <= MAX_LINKS:
            return True
        self.left_out += 1
        return False


def texts_of(value: Any) -> list[str]:
    """The texts in a list; none of anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _named(item: Mapping[str, Any], kind: str) -> _Named:
    links = item.get("external_references")
    references = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    ids = [str(link.get("external_id", "")) for link in references if "attack" in str(link.get("source_name"))]
    return _Named(
        kind,
        str(item.get("name") or "")[:200],
        next((text for text in ids if text.startswith("T")), None),
        tuple((*texts_of(item.get("malware_types")), *texts_of(item.get("labels")))[:20]),
        tuple(str(link["url"]) for link in references[:20] if link.get("url")),
    )


def _tell(about: About, named: _Named) -> None:
    if named.kind == "malware":
        about.family = about.family or named.name
        about.kinds += named.words
        about.category = about.category or category_of(named.words) or "malware"
    elif named.kind == "attack-pattern":
        if named.technique:
            about.techniques.append(named.technique)
        else:
            about.tags.append(named.name)
    else:
        about.tags.append(named.name)


def _key(identity: str) -> bytes:
    """Short, whatever an id is: the same for the same."""
    return hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=12).digest()
