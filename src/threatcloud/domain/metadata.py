"""Metadata of an indicator: how what several reports say of it becomes one object (contract, POST /api/threats)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_LIST: Final = 100
#: The largest whole number every JSON reader holds exactly (RFC 8259 section 6).
MAX_COUNT: Final = (1 << 53) - 1
#: Scalars that gather into lists, newest last.
GATHERED: Final = {
    "port": "ports",
    "ports": "ports",
    "protocol": "protocols",
    "protocols": "protocols",
    "mitreId": "mitreIds",
    "mitreIds": "mitreIds",
    "mitreTechnique": "mitreIds",
    "tag": "tags",
    "tags": "tags",
}
_LISTS: Final = frozenset(GATHERED.values())
MAX_NAMES: Final = 100


def merge_metadata(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """The old metadata with the new in it: lists gather (the newest 100), attempts add up, else the latest wins.

    Of the names that reporters choose themselves the oldest go when there are more than 100.
    """
    merged = dict(old or {})
    for name, value in new.items():
        target = GATHERED.get(name)
        if target is not None:
            merged[target] = _gather(merged.get(target, ()), value)
        elif name == "attempts" and _is_count(value) and _is_count(merged.get(name, 0)):
            merged[name] = min(merged.get(name, 0) + value, MAX_COUNT)
        else:
            merged[name] = value
    if len(merged) > MAX_NAMES:
        own = [name for name in merged if name not in _LISTS]
        for name in own[: max(0, len(own) - MAX_NAMES)]:
            del merged[name]
    return merged


def gathered(metadata: Mapping[str, Any], target: str) -> list[Any]:
    """What the metadata of one report says for a gathered list, scalar and list spellings together."""
    found: list[Any] = []
    for name, value in metadata.items():
        if GATHERED.get(name) == target:
            found = _gather(found, value)
    return found


def gathered_lists(metadata: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the metadata of one report says for each gathered list that it says something for."""
    found: dict[str, list[Any]] = {}
    for name, value in metadata.items():
        target = GATHERED.get(name)
        if target is not None:
            found[target] = _gather(found.get(target, ()), value)
    return found


def _gather(known: Sequence[Any], value: Any) -> list[Any]:
    """The newest distinct values, newest last. Those beyond are not looked at: lists of thousands come in reports."""
    if not known and not isinstance(value, list):
        return [] if value is None else [value]
    newest: list[Any] = []
    for item in reversed([*known, *(value if isinstance(value, list) else [value])]):
        if item is not None and item not in newest:
            newest.append(item)
            if len(newest) == MAX_LIST:
                break
    return newest[::-1]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
