"""What operators never want published: their own addresses, names and files."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from threatcloud.domain.address import Network, parse_network
from threatcloud.domain.hosts import ipv4_number, lineage, url_host
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.intervals import Intervals

_NO_RANGES: Final = Intervals()


@dataclass(frozen=True, slots=True)
class Allowlist:
    """An immutable list under a name; ``Allowlist.of`` builds it, the fields are its look-up tables.

    An address or network covers whatever overlaps it, in either direction, and every URL on it. A domain
    covers itself, the names above it (blocking those blocks it), its URLs and its e-mail addresses; a zone
    covers all of that for every name below it too. A hash, URL, e-mail address or CVE covers itself.
    """

    name: str
    v4: Intervals = _NO_RANGES
    v6: Intervals = _NO_RANGES
    domains: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()
    values: frozenset[Indicator] = frozenset()

    @classmethod
    def of(cls, name: str, entries: Iterable[Indicator], zones: Iterable[str] = ()) -> "Allowlist":
        """The list of these canonical indicators and of these whole domains (``zones``, canonical names)."""
        entries = frozenset(entries)
        networks = [parse_network(value) for kind, value in entries if kind == IndicatorType.IP]
        domains = frozenset(value for kind, value in entries if kind == IndicatorType.DOMAIN)
        zones = frozenset(zones)
        return cls(
            name,
            v4=_intervals(networks, 4),
            v6=_intervals(networks, 6),
            domains=domains,
            zones=zones,
            above=frozenset(parent for domain in domains | zones for parent in lineage(domain)),
            values=entries,
        )

    def __bool__(self) -> bool:
        """Whether anything is on it."""
        return bool(self.values or self.zones)

    def covers(self, indicator: Indicator) -> bool:
        """Whether publishing a canonical indicator would touch something on the list."""
        kind, value = indicator
        if kind == IndicatorType.IP:
            number = ipv4_number(value)
            if number is not None:  # nearly all: as they are stored, each comes through here
                return self.v4.at(number) is not None
            return self._covers_network(parse_network(value))
        if kind == IndicatorType.DOMAIN:
            return value in self.above or self._covers_name(value)
        if indicator in self.values:
            return True
        if kind == IndicatorType.URL:
            host = url_host(value)
            return self._covers_network(host.network) if host.network else self._covers_name(host.text)
        return kind == IndicatorType.EMAIL and self._covers_name(value.rpartition("@")[2])

    def _covers_network(self, network: Network) -> bool:
        ranges = self.v4 if network.version == 4 else self.v6
        return ranges.strongest(network.first, network.last) is not None

    def _covers_name(self, name: str) -> bool:
        return name in self.domains or not self.zones.isdisjoint(lineage(name))


def _intervals(networks: Iterable[Network], version: int) -> Intervals:
    return Intervals((network.first, network.last, 0) for network in networks if network.version == version)
