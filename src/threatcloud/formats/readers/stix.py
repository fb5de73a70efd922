"""Bundles of STIX 2.0 and 2.1, and pages of TAXII collections: their indicators, with what relates to them.

An indicator's pattern is parsed (``stix_pattern``); each value it looks for is a row. What other objects of the bundle
say of an indicator, before it or after, comes with it: relationships, sightings, markings, reports, who made it. So the
text is read twice: once for these, once for the indicators.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.json_items import Item, Path, items
from threatcloud.formats.readers.meanings import category_of, fields_of, strictest, tlp
from threatcloud.formats.readers.source import Source
from threatcloud.formats.readers.stix_context import Context, texts_of
from threatcloud.formats.readers.stix_pattern import (
    Combined,
    Comparison,
    Node,
    Observation,
    PatternError,
    comparisons,
    parse,
)

_MAX_PATTERN_KEPT: Final = 1_000
_MAX_DEPTH: Final = 6
_NUMBER: Final = (int, float)  # a union is made anew wherever it stands
_is_indicator: Final = re.compile(rb'"type"\s*:\s*"indicator"').search
#: Objects that speak of indicators, and are read for them.
_CONTEXT: Final = frozenset(
    {
        "identity",
        "marking-definition",
        "relationship",
        "sighting",
        "report",
        "grouping",
        "malware",
        "tool",
        "threat-actor",
        "intrusion-set",
        "campaign",
        "attack-pattern",
    }
)
_BENIGN: Final = frozenset({"benign", "anonymization", "attribution"})
_MALICIOUS_TYPES: Final = frozenset({"malicious-activity", "anomalous-activity", "compromised", "unknown"})


def fits(head: Head) -> bool:
    """Whether it has objects with the ids of STIX."""
    is_page = head.start.startswith(b"[") and head.says("type", "spec_version")
    return (is_page or head.says("objects")) and head.says("id") and b"--" in head.data and not head.says("Attribute")


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of each indicator and vulnerability; other objects are passed over, or told of by the indicators."""
    no_columns("stix", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    source.keep()
    context = Context()
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            continue  # told of when it is read again
        if item.path == ("id",) and item.data.startswith(b'"bundle--'):
            context.bundle = str(item.load())
        elif _is_object(item.path) and not _is_indicator(item.data):
            context.add(_loaded(item))
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            yield item
        elif _is_object(item.path):
            try:
                loaded = item.load()
            except ValueError as error:
                yield item.reject(str(error))
                continue
            yield from _of_object(item.line, loaded, context)
    if context.left_out:
        yield Passed("relationships and sightings beyond what is kept in memory", context.left_out)


def _enters(path: Path) -> bool:
    return path != ("*",) and "objects" not in path[:-1] and len(path) < _MAX_DEPTH


def _is_object(path: Path) -> bool:
    return path == ("*",) or path[-2:] == ("objects", "*")


def _loaded(item: Item) -> Any:
    try:
        return item.load()
    except ValueError:
        return None  # told of when it is read again


def _of_object(line: int, item: Any, context: Context) -> Iterator[Found]:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str):
        yield Passed("object without a type")
    elif kind == "indicator":
        yield from _of_indicator(line, item, context)
    elif kind == "vulnerability":
        yield from _of_vulnerability(line, item, context)
    elif kind not in _CONTEXT:
        yield Passed(f"STIX {kind[:40]}")


def _of_indicator(line: int, item: Mapping[str, Any], context: Context) -> Iterator[Found]:
    pattern, language = item.get("pattern"), item.get("pattern_type", "stix")
    if item.get("revoked") is True:
        yield Passed("revoked indicator")
        return
    if language != "stix":
        yield Passed(f"pattern in {str(language)[:20]}")
        return
    if not isinstance(pattern, str):
        yield Reject(line, str(item.get("id"))[:120], "pattern", "is missing or no text")
        return
    try:
        parsed = parse(pattern)
    except PatternError as error:
        yield Reject(line, pattern[:120], "pattern", str(error))
        return
    kinds = set(texts_of(item.get("indicator_types")))
    if kinds and kinds <= _BENIGN:
        yield Passed(f"indicator that is {min(kinds)}")
        return
    rows, passed = _values(parsed)
    yield from passed
    if not rows:
        return
    said = _said(item, context, kinds)
    said["ports"] = rows[0][2]
    if len(rows) > 1 or not isinstance(parsed, Observation) or isinstance(parsed.expression, Combined):
        said["pattern"] = pattern[:_MAX_PATTERN_KEPT]
    fields = fields_of(said)
    yield from (Row(line, value, kind, fields) for value, kind, _ in rows)


def values_of(pattern: str) -> list[tuple[str, str | None]]:
    """The values that a pattern looks for, each with its type where the pattern says one; PatternError for what is no
    pattern."""
    return [(value, kind) for value, kind, _ in _values(parse(pattern))[0]]


def _values(parsed: Node) -> tuple[list[tuple[str, str | None, list[int]]], list[Passed]]:
    """The values a pattern looks for, their types and the ports named with them; and what in it is no indicator."""
    found: dict[tuple[str, str | None], None] = {}
    passed: list[Passed] = []
    ports: list[int] = []
    for comparison in comparisons(parsed):
        kind = _kind(comparison)
        if comparison.path.endswith("_port") and comparison.operator == "=" and not comparison.negated:
            ports += [int(value) for value in comparison.values if value.isdigit() and int(value) < 65_536]
        elif kind is None:
            if not comparison.path.endswith(("_ref.type", ".type")):
                passed.append(Passed(f"pattern of {comparison.object_type}:{_general(comparison.path)}"[:60]))
        elif comparison.negated or not _is_exact(comparison):
            how = "negated" if comparison.negated else comparison.operator
            passed.append(Passed(f"pattern of {comparison.object_type} with {how}"))
        else:
            found.update(dict.fromkeys((value, kind or None) for value in comparison.values))
    return [(*value, ports) for value in found], passed


def _general(path: str) -> str:
    return path.split("[", maxsplit=1)[0]


def _is_exact(comparison: Comparison) -> bool:
    if comparison.operator == "LIKE":
        return not any(mark in value for value in comparison.values for mark in "%_")
    is_network = comparison.operator == "ISSUBSET" and "addr" in comparison.object_type
    return is_network or comparison.operator in ("=", "IN")


def _kind(comparison: Comparison) -> str | None:
    """The type of the values compared with, empty where they tell it themselves; None where they are no indicator."""
    kind, path = comparison.object_type, comparison.path
    if path.startswith("hashes") or ".hashes." in path:
        name = path.rpartition(".")[2].lower().replace("-", "")
        return "hash" if name in _HASHES and kind in ("file", "artifact") else None
    if path == "value":
        return _VALUES.get(kind)
    if kind == "network-traffic" and path in ("src_ref.value", "dst_ref.value"):
        return ""
    if kind == "domain-name" and path.startswith("resolves_to_refs") and path.endswith(".value"):
        return ""
    return "email" if kind == "email-message" and path in ("from_ref.value", "sender_ref.value") else None


_HASHES: Final = frozenset({"md5", "sha1", "sha256", "sha512"})
_VALUES: Final = {
    "ipv4-addr": "ip",
    "ipv6-addr": "ip",
    "domain-name": "domain",
    "url": "url",
    "email-addr": "email",
}


def _said(item: Mapping[str, Any], context: Context, kinds: set[str]) -> dict[str, Any]:
    """What the bundle says of an indicator, by our names."""
    identity = str(item.get("id", ""))
    about = context.about(identity)
    labels = texts_of(item.get("labels"))
    phases = [str(phase.get("phase_name", "")) for phase in _objects(item.get("kill_chain_phases"))]
    told = [*labels, *kinds, *phases, *about.kinds]
    own_tags = [label for label in labels if not label.startswith("misp:")]
    confidence = item.get("confidence")
    name = item.get("name") if isinstance(item.get("name"), str) else ""
    return {
        "category": category_of(told) or about.category or category_of([str(item.get("description") or name)]),
        "confidence": confidence / 100 if isinstance(confidence, _NUMBER) and 0 < confidence <= 100 else None,
        "timestamp": item.get("valid_from") or item.get("created"),
        "expiresAt": item.get("valid_until"),
        "tlp": strictest([context.marking(item), *(tlp(label) for label in labels if label[:3].lower() == "tlp")]),
        "tags": [*own_tags, *about.tags, *(kinds - _MALICIOUS_TYPES)],
        "malwareFamily": about.family,
        "mitreIds": about.techniques,
        "references": [*_links(item), *about.references],
        "description": item.get("description") or name,
        "ref": about.report or context.bundle,
        "stixId": identity,
        "producer": context.names.get(str(item.get("created_by_ref"))),
        "sightings": about.sightings or None,
        "lastSighted": about.last_sighted,
    }


def _of_vulnerability(line: int, item: Mapping[str, Any], context: Context) -> Iterator[Found]:
    ids = [str(reference.get("external_id", "")) for reference in _objects(item.get("external_references"))]
    named = next((text for text in (*ids, str(item.get("name"))) if text.upper().startswith("CVE-")), None)
    if named is None:
        yield Passed("vulnerability without a CVE id")
        return
    said = {**_said(item, context, set()), "category": "exploit", "severity": "low"}
    yield Row(line, named, "cve", fields_of(said))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _links(item: Mapping[str, Any]) -> list[str]:
    return [str(reference["url"]) for reference in _objects(item.get("external_references")) if reference.get("url")]
