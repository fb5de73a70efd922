"""Objects of STIX 2.1 (OASIS): an indicator for each value, with the identity and the markings that it refers to.

Ids follow from the value, so the same value is the same object on every server and in every version. They have the form
of a random UUID (version 4), as section 2.9 of the specification asks of indicators; version 5 is for observables.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import FullEntry, FullFields
from threatcloud.domain.indicator import IndicatorType, digest
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import iso
from threatcloud.formats.entries import full_entry
from threatcloud.formats.templates import MARKS, Templates, around, escaped, template
from threatcloud.formats.uuids import uuid_of

#: Long before anything that is said.
_BEGINNING: Final = "2026-01-01T00:00:00.000Z"
#: The tactic of ATT&CK that a category is of.
_PHASES: Final = {
    "botnet": "command-and-control",
    "bruteforce": "credential-access",
    "c2": "command-and-control",
    "exploit": "initial-access",
    "malware": "execution",
    "phishing": "initial-access",
    "scanner": "reconnaissance",
}
_KINDS: Final = {
    IndicatorType.IP: "Address",
    IndicatorType.DOMAIN: "Domain",
    IndicatorType.URL: "URL",
    IndicatorType.HASH: "File",
}


def deterministic_id(kind: str, digest: bytes) -> str:
    """The id of an object of a type that follows from a digest of at least 16 bytes."""
    return f"{kind}--{uuid_of(digest, 4)}"


def named_id(kind: str, *names: str) -> str:
    """The id of an object of a type that follows from names."""
    return deterministic_id(kind, hashlib.sha256("\0".join((kind, *names)).encode()).digest())


class Phase(msgspec.Struct):
    """A phase of a kill chain."""

    kill_chain_name: str
    phase_name: str


class Reference(msgspec.Struct):
    """Something elsewhere, by its name there."""

    source_name: str
    external_id: str


class IndicatorObject(msgspec.Struct, omit_defaults=True):
    """A value that is to be looked for."""

    type: str
    spec_version: str
    id: str
    created_by_ref: str
    created: str
    modified: str
    name: str
    description: str
    indicator_types: tuple[str, ...]
    pattern: str
    pattern_type: str
    pattern_version: str
    valid_from: str
    confidence: int | None = None
    valid_until: str | None = None
    labels: tuple[str, ...] = ()
    kill_chain_phases: tuple[Phase, ...] = ()
    external_references: tuple[Reference, ...] = ()
    object_marking_refs: tuple[str, ...] = ()
    revoked: bool = False


IDENTITY_ID: Final = named_id("identity", "Threat Cloud")
IDENTITY: Final[dict[str, Any]] = {
    "type": "identity",
    "spec_version": "2.1",
    "id": IDENTITY_ID,
    "created": _BEGINNING,
    "modified": _BEGINNING,
    "name": "Threat Cloud",
    "description": "Community-driven threat intelligence",
    "identity_class": "system",
}
#: The markings of section 7.2.1.4, by the words of TLP. What version 1 has no word for is the next stricter one.
_TLP_IDS: Final = {
    "white": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "green": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "amber": "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "red": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}
_TLP_WORDS: Final = {**{word: word for word in _TLP_IDS}, "clear": "white", "amber+strict": "red"}
_PHASES_OF: Final = {category: (Phase("mitre-attack", name),) for category, name in _PHASES.items()}
#: The place of the word of TLP among the fields of an entry.
_TLP: Final = 8
_MARKS: Final = {tlp: (_TLP_IDS[word],) for tlp, word in _TLP_WORDS.items()}


def marking_objects(ids: Iterable[str]) -> list[dict[str, Any]]:
    """The markings of these ids, in the order of their strictness."""
    used = set(ids)
    return [_marking(word, id_) for word, id_ in _TLP_IDS.items() if id_ in used]


def _marking(word: str, id_: str) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_,
        "created": "2017-01-20T00:00:00.000Z",
        "definition_type": "tlp",
        "name": f"TLP:{word.upper()}",
        "definition": {"tlp": word},
    }


def indicator_id(kind: IndicatorType, value: str) -> str:
    """The id of the indicator of a canonical value."""
    return f"indicator--{uuid_of(digest(kind, value), 4)}"


def indicator_object(kind: IndicatorType, entry: FullFields) -> IndicatorObject:
    """The indicator of an entry of a list of addresses, names, URLs or hashes."""
    _, _, category, _, _, _, _, _, tlp, techniques = entry
    return _object(kind, (category, tlp, techniques), _Own(*_own(kind, entry)))


def indicator_texts(kind: IndicatorType, entries: Iterable[FullFields]) -> Iterator[str]:
    """The same of many entries, each encoded."""
    templates = Templates(partial(_template, kind))
    for entry in entries:
        _, _, category, _, _, _, _, _, tlp, techniques = entry
        own = _own(kind, entry, escaped if kind is IndicatorType.URL else str)
        yield templates[category, tlp, techniques, own[-1] is None] % own


#: What many indicators have in common: category, TLP, techniques.
_Said = tuple[str | None, str | None, tuple[str, ...]]


class _Own(NamedTuple):
    """What is different in every indicator, in the order of its object."""

    id: str
    created: str
    modified: str
    name: str
    reputation: int
    last_seen: str
    pattern: str
    valid_from: str
    confidence: int | None
    valid_until: str | None


def _own(
    kind: IndicatorType, entry: FullFields, shown: Callable[[str], str] = str
) -> tuple[str, str, str, str, int, str, str, str, int | None, str | None]:
    value, reputation, _, first_seen, last_seen, confidence, updated_at, expires_at, _, _ = entry
    return (
        indicator_id(kind, value),
        first_seen,
        max(first_seen, updated_at),
        shown(value),
        reputation,
        last_seen,
        shown(pattern(kind, value)),
        first_seen,
        confidence,
        expires_at if expires_at and expires_at > first_seen else None,
    )


def _template(kind: IndicatorType, key: tuple[str | None, str | None, tuple[str, ...], bool]) -> str:
    category, tlp, techniques, is_endless = key
    marks = MARKS[: len(_Own._fields)]
    id_, created, modified, name, reputation, last_seen, found, valid_from, confidence, expires = marks
    texts = str(id_), str(created), str(modified), str(name), reputation, str(last_seen), str(found), str(valid_from)
    return template(
        _object(kind, (category, tlp, techniques), _Own(*texts, confidence, None if is_endless else str(expires))),
        marks,
    )


def _object(kind: IndicatorType, said: _Said, own: _Own) -> IndicatorObject:
    category, tlp, techniques = said
    return IndicatorObject(
        "indicator",
        "2.1",
        own.id,
        IDENTITY_ID,
        own.created,
        own.modified,
        own.name,
        f"{_KINDS[kind]} of the reputation {own.reputation} of 100, last seen {own.last_seen}",
        ("malicious-activity",),
        own.pattern,
        "stix",
        "2.1",
        own.valid_from,
        own.confidence,
        own.valid_until,
        (category,) if category else (),
        _PHASES_OF.get(category or "", ()),
        _references(techniques),
        _MARKS.get(tlp or "", ()),
    )


def indicator_of(state: IndicatorState) -> IndicatorObject:
    """The indicator of a stored state of a type there is a list of."""
    return indicator_object(state.indicator.type, full_entry(state))


class CampaignObject(msgspec.Struct, omit_defaults=True):
    """Indicators that belong together."""

    type: str
    spec_version: str
    id: str
    created_by_ref: str
    created: str
    modified: str
    name: str
    description: str
    first_seen: str
    last_seen: str
    labels: tuple[str, ...] = ()
    external_references: tuple[Reference, ...] = ()


def campaign_object(campaign: Campaign) -> CampaignObject:
    """The campaign, with the techniques of its members."""
    return CampaignObject(
        "campaign",
        "2.1",
        named_id("campaign", campaign.id),
        IDENTITY_ID,
        iso(campaign.created_at),
        iso(campaign.updated_at),
        campaign.name,
        campaign.description or f"{campaign.iocs} indicators that belong together",
        iso(campaign.first_seen),
        iso(campaign.last_activity),
        campaign.tags,
        _references(campaign.mitre_ids),
    )


@lru_cache(maxsize=1_000)  # most have the same few
def _references(techniques: tuple[str, ...]) -> tuple[Reference, ...]:
    known = map(normalise_technique_id, techniques)
    return tuple(Reference("mitre-attack", id_) for id_ in known if id_)


def revoked_object(kind: IndicatorType, value: str, at: str) -> IndicatorObject:
    """The indicator of a value that is no longer on a list since then."""
    gone = FullEntry(value, 100, None, at, at, 0, at)
    found = indicator_object(kind, gone)
    found.revoked, found.confidence = True, None
    found.description = f"{_KINDS[kind]} that is no longer on the list"
    return found


def pattern(kind: IndicatorType, value: str) -> str:
    """The pattern that finds a canonical value (section 9)."""
    if kind is IndicatorType.IP:
        version = "ipv6" if ":" in value else "ipv4"
        return f"[{version}-addr:value = '{value.removesuffix('/32')}']"
    if kind is IndicatorType.HASH:
        name = HASH_NAMES[len(value)]
        return f"[file:hashes.{name if name == 'MD5' else repr(name)} = '{value}']"
    what = "domain-name" if kind is IndicatorType.DOMAIN else "url"
    return f"[{what}:value = '{_quoted(value)}']"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def around_indicators(name: Sequence[str], entries: Iterable[FullFields], *, is_empty: bool) -> tuple[bytes, bytes]:
    """What is in a bundle before its indicators, and after them: they are between commas, or there is none.

    With it comes what the indicators of these entries refer to. Its id follows from the names.
    """
    words = {entry[_TLP] for entry in entries}
    marks = marking_objects(ref for word in words for ref in _MARKS.get(word or "", ()))
    place = () if is_empty else MARKS[:1]
    return around({"type": "bundle", "id": named_id("bundle", *name), "objects": [IDENTITY, *marks, *place]})
