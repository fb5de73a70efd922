"""A rule of Sigma that matches what is on the list: what its backends turn into queries of a SIEM."""

from collections.abc import Iterable
from typing import Final

from threatcloud.domain.address import is_network
from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import WORDING
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.format import LISTED_KINDS, Format, Refusal
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.misp import named_uuid

#: Where each type is looked for.
_SOURCES: Final = {
    IndicatorType.IP: "category: firewall",
    IndicatorType.DOMAIN: "category: dns_query\n  product: windows",
    IndicatorType.URL: "category: proxy",
    IndicatorType.HASH: "category: process_creation\n  product: windows",
}


def write(snapshot: Snapshot) -> bytes:
    """The rule; a list without entries makes one that matches nothing."""
    wording = WORDING[snapshot.kind]
    fields = _fields(snapshot)
    head = (
        f"title: Threat Cloud {wording.title} Blocklist",
        f"id: {named_uuid('sigma', snapshot.name)}",
        "status: stable",
        f"description: One of {len(snapshot.values)} {wording.unit} of bad reputation was seen",
        "author: Threat Cloud",
        f"modified: {iso(snapshot.generated_at)[:10]}",
        f"logsource:\n  {_SOURCES[snapshot.kind]}",
        "detection:",
    )
    names = []
    parts = [*head]
    for number, (field, values) in enumerate(fields, 1):
        names.append(f"listed_{number}")
        items = "\n".join(f"      - {_quoted(value)}" for value in values)
        parts.append(f"  listed_{number}:\n    {field}:\n{items}")
    parts += [f"  condition: {' or '.join(names)}", "level: high"]
    return snapshot.header() + "".join(f"{part}\n" for part in parts).encode()


def _fields(snapshot: Snapshot) -> list[tuple[str, list[str]]]:
    """What is to be compared with which values."""
    values = list(snapshot.values)
    if snapshot.kind is IndicatorType.IP:
        networks = [value for value in values if is_network(value)]
        hosts = [value.removesuffix("/32") for value in values if not is_network(value)]
        found = [("dst_ip", hosts), ("dst_ip|cidr", networks)]
    elif snapshot.kind is IndicatorType.DOMAIN:
        found = [("QueryName", values), ("QueryName|endswith", [f".{value}" for value in values])]
    elif snapshot.kind is IndicatorType.URL:
        found = [("c-uri", values)]
    else:
        found = [("Hashes|contains", list(_hashes(values)))]
    return [item for item in found if item[1]] or [(found[0][0], ["threat-cloud-has-none"])]


def _hashes(values: Iterable[str]) -> Iterable[str]:
    """Hashes as Sysmon writes them: ``SHA256=…``."""
    return (f"{HASH_NAMES[len(value)].replace('-', '')}={value.upper()}" for value in values)


def _quoted(text: str) -> str:
    """A text of YAML between apostrophes, without wildcards."""
    return "'" + text.replace("*", "\\*").replace("?", "\\?").replace("'", "''") + "'"


FORMAT: Final = Format(
    name="sigma",
    extension="sigma",
    description="a rule of Sigma (`dst_ip`, `QueryName`, `c-uri`, `Hashes`), for its backends to make queries of",
    media="application/yaml",
    kinds=LISTED_KINDS,
    write=write,
    # It would be read as what takes the meaning from the character after it.
    refusals=(Refusal("with a backslash in it", lambda url: "\\" in url, (IndicatorType.URL,)),),
)
