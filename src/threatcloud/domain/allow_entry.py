"""One thing an operator allows: an indicator, or a zone, which is a domain with everything below it."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.address import is_network, parse_network
from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.canonical.name import canonical_domain
from threatcloud.domain.canonical.refang import prepare
from threatcloud.domain.indicator import Indicator, IndicatorType, InvalidIndicator, detect, indicator_key

#: What the list is called where it says why an indicator is withheld.
ALLOWLIST_NAME: Final = "allowlist"
#: The widest network that may be allowed, by IP version (``fc00::/7`` is RFC 4193): a slip must not empty every feed.
WIDEST_ALLOWED: Final = {4: 8, 6: 7}
_ZONE: Final = "*."
_is_entry_id: Final = re.compile(r"alw_[0-9a-f]{32}").fullmatch


class EntryKind(StrEnum):
    """What an entry covers beside itself; see ``Allowlist``."""

    VALUE = "value"
    NETWORK = "network"
    ZONE = "zone"


class AllowEntry(NamedTuple):
    """An entry in its canonical form; the value of a zone is ``*.example.org``, of the type domain."""

    type: IndicatorType
    value: str

    @property
    def kind(self) -> EntryKind:
        """Which kind of entry it is."""
        if self.value.startswith(_ZONE):
            return EntryKind.ZONE
        is_wide = self.type is IndicatorType.IP and is_network(self.value)
        return EntryKind.NETWORK if is_wide else EntryKind.VALUE

    @property
    def zone(self) -> str | None:
        """The name a zone begins at; None for an entry that is none."""
        return self.value[len(_ZONE) :] if self.kind is EntryKind.ZONE else None

    @property
    def key(self) -> bytes:
        """Its identity, 16 bytes, the same on every server."""
        return indicator_key(self.type, self.value)


def read_entry(text: str) -> AllowEntry:
    """The entry a text spells: a value as an indicator is spelled, or ``*.example.org``, ``.example.org`` for a zone.

    Raises InvalidIndicator when it is neither, and for networks wider than /8 (IPv4) or /7 (IPv6).
    """
    plain = prepare(text)
    if plain.startswith((".", _ZONE)):
        return AllowEntry(IndicatorType.DOMAIN, _ZONE + canonical_domain(plain.removeprefix("*")[1:]))
    kind, value = detect(text)
    if kind is IndicatorType.IP:
        version, _, prefix = parse_network(value)
        if prefix < WIDEST_ALLOWED[version]:
            raise InvalidIndicator("must be no network wider than /8 (IPv4) or /7 (IPv6)")
    return AllowEntry(kind, value)


def entry_id(entry: AllowEntry) -> str:
    """The id the API shows: ``alw_`` and 32 hex digits."""
    return f"alw_{entry.key.hex()}"


def parse_entry_id(text: str) -> bytes | None:
    """The key an id stands for; None when the text is none."""
    return bytes.fromhex(text[4:]) if _is_entry_id(text) else None


def allowlist_of(entries: Iterable[AllowEntry]) -> Allowlist:
    """The list of these entries, under its one name."""
    zones: list[str] = []
    values: list[Indicator] = []
    for entry in entries:
        zone = entry.zone
        if zone is None:
            values.append(Indicator(*entry))
        else:
            zones.append(zone)
    return Allowlist.of(ALLOWLIST_NAME, values, zones)
