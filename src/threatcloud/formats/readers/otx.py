"""Pulses of LevelBlue OTX (AlienVault), one or a list of them, as its API (v1) and its export write them."""

from collections.abc import Iterator
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.json_items import Item, Path, items
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.source import Source

_TYPES: Final = {
    **dict.fromkeys(("IPv4", "IPv6", "CIDR"), "ip"),
    **dict.fromkeys(("domain", "hostname"), "domain"),
    **dict.fromkeys(("URL", "URI"), "url"),
    **dict.fromkeys(("FileHash-MD5", "FileHash-SHA1", "FileHash-SHA256"), "hash"),
    "email": "email",
    "CVE": "cve",
}
_PULSE: Final = frozenset(
    {"id", "name", "description", "author_name", "tags", "adversary", "malware_families", "attack_ids", "TLP", "tlp"}
    | {"references", "industries", "targeted_countries", "created", "modified"}
)


def fits(head: Head) -> bool:
    """Whether it has indicators with their types, and the names of a pulse."""
    return head.says("indicator", "type") and (head.says("indicators") or head.says("pulse_key"))


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of the indicators of each pulse; read twice, since what holds for all may come after them."""
    no_columns("otx", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    source.keep()
    pulses: list[dict[str, Any]] = []
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            continue  # told of when it is read again
        if _begins_pulse(item):
            pulses.append({})
        elif pulses and item.path and item.path[-1] in _PULSE and len(pulses) < 100_000:
            try:
                pulses[-1][item.path[-1]] = item.load()
            except ValueError:
                continue
    number = -1
    for item in items(source.blocks(), _enters):
        if isinstance(item, Reject):
            yield item
        elif _begins_pulse(item):
            number += 1
        elif item.path[-2:] == ("indicators", "*"):
            pulse = pulses[number] if 0 <= number < len(pulses) else {}
            yield _of_indicator(item, pulse)


def _enters(path: Path) -> bool:
    return path in _ENTERED


_ENTERED: Final = frozenset(
    {(), ("*",), ("indicators",), ("*", "indicators")}
    | {("results",), ("results", "*"), ("results", "*", "indicators")}
)


def _begins_pulse(item: Item) -> bool:
    return item.data == b"{" and item.path in ((), ("*",), ("results", "*"))


def _of_indicator(item: Item, pulse: dict[str, Any]) -> Found:
    try:
        said = item.load()
    except ValueError as error:
        return item.reject(str(error))
    if not isinstance(said, dict) or not isinstance(said.get("indicator"), str):
        return item.reject("has no indicator", "value")
    kind = _TYPES.get(str(said.get("type")))
    if kind is None:
        return Passed(f"OTX {str(said.get('type'))[:40]}")
    if said.get("is_active") in (0, False):
        return Passed("indicator that is not active any more")
    families, tags = _names(pulse.get("malware_families")), _names(pulse.get("tags"))
    told = [str(said.get("role") or ""), *tags, *families, str(pulse.get("name") or "")]
    fields = {
        "category": category_of(told),
        "timestamp": said.get("created"),
        "expiresAt": said.get("expiration"),
        "tlp": pulse.get("TLP") or pulse.get("tlp"),
        "tags": [*tags, str(pulse.get("adversary") or "")],
        "malwareFamily": families[0] if families else None,
        "mitreIds": _names(pulse.get("attack_ids")),
        "references": _names(pulse.get("references")),
        "description": said.get("description") or said.get("title") or pulse.get("name"),
        "ref": pulse.get("id"),
        "producer": pulse.get("author_name"),
    }
    return Row(item.line, said["indicator"], kind, fields_of(fields))


def _names(value: Any) -> list[str]:
    """Of the objects in a list their ids or names, of the texts themselves."""
    given = value if isinstance(value, list) else []
    named = [item.get("id") or item.get("display_name") if isinstance(item, dict) else item for item in given]
    return [name for name in named if isinstance(name, str)]
