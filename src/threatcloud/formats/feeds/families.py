"""IPv4 and IPv6 apart, for systems that keep them in different sets."""

from collections.abc import Sequence
from typing import NamedTuple


class Families(NamedTuple):
    """Addresses and networks by IP version, in the order of the list."""

    v4: list[str]
    v6: list[str]


def apart(values: Sequence[str]) -> Families:
    """Canonical ``ip`` values by IP version."""
    return Families([value for value in values if ":" not in value], [value for value in values if ":" in value])


def is_v4(value: str) -> bool:
    """Whether a canonical ``ip`` value is of IPv4."""
    return ":" not in value


def is_v6(value: str) -> bool:
    """Whether a canonical ``ip`` value is of IPv6."""
    return ":" in value
