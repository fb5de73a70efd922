"""A layer for the ATT&CK Navigator (format 4.5): techniques with how often they were seen."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

_NAVIGATOR: Final = "5.1.0"
_LAYER: Final = "4.5"
_COLOURS: Final = ["#ffffff", "#ffb000", "#d7191c"]


def layer(name: str, description: str, attack_version: str, techniques: Iterable[tuple[str, int]]) -> bytes:
    """The layer of techniques (id, sightings) of Enterprise; sub-techniques are shown where they have any."""
    counts = dict(techniques)
    parents = {id_.partition(".")[0] for id_ in counts if "." in id_}
    items = [_technique(id_, count, id_ in parents) for id_, count in counts.items()]
    items += [_parent(id_) for id_ in sorted(parents - counts.keys())]
    document = {
        "name": name,
        "versions": {"attack": attack_version.partition(".")[0], "navigator": _NAVIGATOR, "layer": _LAYER},
        "domain": "enterprise-attack",
        "description": description,
        "sorting": 3,
        "techniques": items,
        "gradient": {"colors": _COLOURS, "minValue": 0, "maxValue": max(counts.values(), default=1)},
        "showTacticRowBackground": False,
        "selectTechniquesAcrossTactics": True,
    }
    return msgspec.json.encode(document) + b"\n"


def _technique(id_: str, count: int, is_parent: bool) -> dict[str, Any]:
    shown = {"showSubtechniques": True} if is_parent else {}
    return {"techniqueID": id_, "score": count, "comment": f"{count} sightings", "enabled": True, **shown}


def _parent(id_: str) -> dict[str, Any]:
    return {"techniqueID": id_, "enabled": True, "showSubtechniques": True}
