"""Documents of the Elastic Common Schema with `threat.indicator`, one on each line; nested, or with dots in names.

Source: ECS 8, the field set threat. Every hash of a file is a row.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.records import line_records
from threatcloud.formats.readers.source import Source

_VALUES: Final = (
    ("ip", "ip"),
    ("url.full", "url"),
    ("url.original", "url"),
    ("url.domain", "domain"),
    ("email.address", "email"),
    *((f"file.hash.{name}", "hash") for name in ("sha256", "sha1", "md5", "sha512")),
)


def fits(head: Head) -> bool:
    """Whether its documents have an indicator of a threat."""
    return head.says("threat", "indicator") or any(name.startswith("threat.indicator.") for name in head.members)


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of each document."""
    no_columns("ecs", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    for found in line_records(source):
        if isinstance(found, Reject):
            yield found
            continue
        line, document = found
        indicator = _part(document, "threat.indicator")
        values = [(value, kind) for name, kind in _VALUES for value in _texts(_at(indicator, name))]
        if any(kind == "url" for _, kind in values):  # the host of a URL is no indicator of its own
            values = [item for item in values if item[1] != "domain"]
        if not values:
            yield Reject(line, str(document)[:120], "value", "has no indicator of a type that is taken")
            continue
        fields = fields_of(_said(document, indicator))
        yield from (Row(line, value, kind, fields) for value, kind in dict.fromkeys(values))


def _said(document: Mapping[str, Any], indicator: Mapping[str, Any]) -> dict[str, Any]:
    tags = _texts(document.get("tags"))
    return {
        "category": category_of([*tags, *_texts(indicator.get("description"))]),
        "confidence": {"Low": 0.15, "Medium": 0.5, "High": 0.85}.get(str(indicator.get("confidence"))),
        "timestamp": next(iter(_texts(indicator.get("first_seen"))), None),
        "lastSighted": next(iter(_texts(indicator.get("last_seen"))), None),
        "tlp": next(iter(_texts(_at(indicator, "marking.tlp"))), None),
        "tags": tags,
        "attempts": indicator.get("sightings"),
        "references": _texts(indicator.get("reference")),
        "description": next(iter(_texts(indicator.get("description"))), None),
        "malwareFamily": next(iter(_texts(_at(document, "threat.software.name"))), None),
        "producer": next(iter(_texts(indicator.get("provider"))), None),
    }


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object, also one whose members stand in the document under names with dots."""
    found = _at(document, name)
    dotted = {key[len(name) + 1 :]: value for key, value in document.items() if key.startswith(f"{name}.")}
    return {**found, **dotted} if isinstance(found, dict) else dotted


def _at(document: Any, name: str) -> Any:
    if isinstance(document, dict) and name in document:
        return document[name]
    for step in name.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _texts(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value]) if isinstance(item, str | int)]
