"""Techniques of MITRE ATT&CK (Enterprise) and the order of its tactics."""

import re
from collections.abc import Iterable
from typing import NamedTuple

TACTICS = (
    "Reconnaissance",
    "Resource Development",
    "Initial Access",
    "Execution",
    "Persistence",
    "Privilege Escalation",
    "Stealth",
    "Defense Impairment",
    "Credential Access",
    "Discovery",
    "Lateral Movement",
    "Collection",
    "Command and Control",
    "Exfiltration",
    "Impact",
)
"""The columns of the matrix of ATT&CK v19, from left to right."""

FORMER_TACTICS = {"Defense Evasion": "Stealth"}
"""Names of tactics up to v18, and what they became: the id, TA0005, is the same."""

# Half of all techniques have one of these beside the tactic that tells more.
_LAST = ("Stealth", "Defense Impairment")
_RANKS = {name: rank for rank, name in enumerate((*(name for name in TACTICS if name not in _LAST), *_LAST))}
_ID = re.compile(r"T[0-9]{4}(?:\.[0-9]{3})?")


class Technique(NamedTuple):
    """A technique or sub-technique; `tactics` by name in matrix order, none once it has left the matrix."""

    id: str
    name: str
    tactics: tuple[str, ...] = ()
    revoked_by: str | None = None


def normalise_technique_id(text: str) -> str | None:
    """`T1110` or `T1110.001` of any spelling of it in upper or lower case, or None for what is no id."""
    candidate = text.strip().upper()
    return candidate if _ID.fullmatch(candidate) else None


def in_matrix_order(tactics: Iterable[str]) -> tuple[str, ...]:
    """The tactics by their present names, each once, from left to right; unknown ones last, as they came."""
    present = dict.fromkeys(FORMER_TACTICS.get(name, name) for name in tactics)
    return tuple(sorted(present, key=lambda name: TACTICS.index(name) if name in TACTICS else len(TACTICS)))


def primary_tactic(tactics: Iterable[str]) -> str | None:
    """The first in matrix order, Stealth and Defense Impairment only where there is no other; None of none.

    The order of contract section 3, `GET /api/query/mitre-heatmap`; tactics that are in no matrix come last.
    """
    ordered = in_matrix_order(tactics)
    return min(ordered, key=lambda name: _RANKS.get(name, len(_RANKS)), default=None)
