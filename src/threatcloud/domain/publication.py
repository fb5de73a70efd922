"""The publication guard: what no feed may ever list, whoever reported it and however often. Pure judgement.

In order: anonymised observations, the operator's allowlists, non-global addresses, networks too wide, and the
benign lists. A list of the policy ``never`` withholds. One of the policy ``corroborate`` (ranges anybody can
rent, names only one popularity ranking vouches for) asks for a second voice for a host or name, and withholds
a network outright: blocking a rented range hits the neighbours.

A name is judged as itself; a list speaks for subdomains only where one party runs them all (``zones``), and
never across a name that somebody registered: below a private public suffix such as ``github.io`` each name
stands alone. A URL is judged by its host when it is all of the host (no path, no query), since then blocking
one blocks the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from threatcloud.domain.address import WIDTHS, Network, parse_network
from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.hosts import ipv4_number, lineage, url_host
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.intervals import Intervals
from threatcloud.domain.special_addresses import special_ipv4, special_range

#: The widest network a feed may list, by IP version.
WIDEST_PREFIXES: Final = {4: 16, 6: 32}

#: Top-level names the public DNS does not hold, or not for hosts: those of RFC 6761, 6762 and 9476, ``arpa`` (RFC
#: 3172), ``internal`` (ICANN 2024), ``corp home mail`` (never delegated: name collisions), and what routers hand out.
#: Not ``onion`` (RFC 7686): a hidden service can be as malicious as any host. Not ``example invalid test`` (RFC 2606):
#: nobody is hurt when they are blocked, and a rehearsal with them shows what a real report would do.
SPECIAL_TOP_LEVELS: Final = frozenset(
    {
        "alt",
        "arpa",
        "corp",
        "home",
        "internal",
        "intranet",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "mail",
        "private",
    }
)
_EXAMPLES: Final = ("example.com", "example.net", "example.org")

#: Mailboxes every domain should have (RFC 2142): in reports they are whom to tell, hardly ever who did it.
ROLE_MAILBOXES: Final = frozenset({"abuse", "hostmaster", "noc", "postmaster", "security", "soc"})
#: Zones of one party in which anybody gets a mailbox, so that an address in them says nothing of its owner.
WEBMAIL: Final = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "hotmail.com",
        "icloud.com",
        "live.com",
        "msn.com",
        "outlook.com",
        "yahoo.com",
    }
)


class Policy(StrEnum):
    """What being on a benign list means."""

    NEVER = "never"
    CORROBORATE = "corroborate"


class Withheld(NamedTuple):
    """Why an indicator is never published: a stable word, the list that caught it, and a sentence.

    Codes: ``anonymised allowlist non-global too-wide benign-list top-domain public-suffix special-name
    shared-network role-mailbox``.
    """

    code: str
    list_name: str
    reason: str


class Screening(NamedTuple):
    """A finding: why an indicator is withheld, or the list that asks for a second voice; both None when it is clear.

    With ``needs_corroboration`` it may be published once an operator or a second independent reporter stands for it.
    """

    withheld: Withheld | None
    needs_corroboration: str | None


class BenignList(NamedTuple):
    """One list: its name, what being on it means, and why (a sentence). ``ranking``: of names, by use."""

    name: str
    policy: Policy
    reason: str
    ranking: bool = False


class HashRanks(Protocol):
    """Ranks by file hash; a plain dict is one."""

    def get(self, value: str, /) -> int | None:
        """The rank of the strongest list a canonical hash is on; None when it is on none."""


class PublicSuffixes(Protocol):
    """The Public Suffix List, ICANN and private part."""

    def is_public_suffix(self, name: str) -> bool:
        """Whether anybody can register names directly below a canonical name."""

    def registered_domain(self, name: str) -> str | None:
        """The public suffix of a name and the label before it; None for a suffix and for an unknown one."""


@dataclass(frozen=True, slots=True)
class BenignLists:
    """The lists, strongest first, and the rank (index) of the strongest one by address, by name and by hash.

    ``names`` are meant as themselves and with ``www.`` before them, so they are stored without; ``zones`` are meant
    with every name below. Every list of the policy ``never`` ranks before every other.
    """

    lists: tuple[BenignList, ...]
    v4: Intervals
    v6: Intervals
    names: Mapping[str, int]
    zones: Mapping[str, int]
    hashes: HashRanks


# Reaching a member through its class costs more than comparing it.
_IP, _DOMAIN, _HASH, _URL, _EMAIL, _CVE = IndicatorType
_CORROBORATE: Final = Policy.CORROBORATE

CLEAR: Final = Screening(None, None)
_ANONYMISED: Final = Screening(
    Withheld("anonymised", "anonymised", "It stands for the 65,536 addresses an anonymised report may mean."),
    None,
)
_TOO_WIDE: Final = Screening(
    Withheld("too-wide", "too wide", "Networks wider than /16 (IPv4) or /32 (IPv6) are never published."),
    None,
)
_PUBLIC_SUFFIX: Final = Screening(
    Withheld("public-suffix", "Public Suffix List", "Unrelated parties register their names below it."), None
)
_SPECIAL_NAME: Final = Screening(
    Withheld("special-name", "special-use names", "The name is reserved or local, not one host of the Internet."),
    None,
)
_ROLE_MAILBOX: Final = Screening(
    Withheld("role-mailbox", "RFC 2142", "The mailbox is one that reports are sent to."), None
)


@dataclass(frozen=True, slots=True)
class Guard:
    """Screens canonical indicators against benign lists, public suffixes and the operators' allowlists."""

    benign: BenignLists
    suffixes: PublicSuffixes
    allowlists: tuple[Allowlist, ...] = ()

    def with_allowlist(self, allowlist: Allowlist) -> "Guard":
        """The same guard with this allowlist, in place of the one of its name; an empty one just goes."""
        others = tuple(other for other in self.allowlists if other.name != allowlist.name)
        return replace(self, allowlists=(*others, allowlist) if allowlist else others)

    def screen(self, indicator: Indicator, anonymised: bool = False) -> Screening:
        """The finding for a canonical indicator; ``anonymised``: it was only ever seen as ``203.0.0.0``."""
        if anonymised:
            return _ANONYMISED
        for allowlist in self.allowlists:
            if allowlist.covers(indicator):
                return Screening(Withheld("allowlist", allowlist.name, "An operator allowed it."), None)
        kind, value = indicator
        if kind == _IP:
            return self._screen_ip(value)
        if kind == _DOMAIN:
            return self._screen_name(value)
        if kind == _URL:
            return self._screen_url(value)
        if kind == _EMAIL:
            return self._screen_email(value)
        return self._by_rank(self.benign.hashes.get(value)) if kind == _HASH else CLEAR

    def _screen_ip(self, value: str) -> Screening:
        number = ipv4_number(value)
        if number is None:
            return self._screen_network(parse_network(value))
        special = special_ipv4(number)
        return _non_global(special) if special else self._by_rank(self.benign.v4.at(number))

    def _screen_network(self, network: Network) -> Screening:
        special = special_range(network)
        if special:
            return _non_global(special)
        version, first, prefix = network
        if prefix < WIDEST_PREFIXES[version]:
            return _TOO_WIDE
        ranges = self.benign.v4 if version == 4 else self.benign.v6
        if prefix == WIDTHS[version]:
            return self._by_rank(ranges.at(first))
        rank = ranges.strongest(first, network.last)
        if rank is None or self.benign.lists[rank].policy is not _CORROBORATE:
            return self._by_rank(rank)
        name, _, reason, _ = self.benign.lists[rank]
        return Screening(Withheld("shared-network", name, reason), None)

    def _screen_name(self, name: str) -> Screening:
        if _is_special(name):
            return _SPECIAL_NAME
        registered = self.suffixes.registered_domain(name)
        if registered is None and self.suffixes.is_public_suffix(name):
            return _PUBLIC_SUFFIX
        names = self.benign.names
        rank = names.get(name)
        if rank is None and name.startswith("www."):
            rank = names.get(name[4:])
        zone = self._zone(name, registered)
        return self._by_rank(zone if rank is None else rank if zone is None else min(rank, zone))

    def _zone(self, name: str, registered: str | None) -> int | None:
        """The rank of the nearest zone a name lies in, up to its registered domain."""
        for parent in lineage(name):
            rank = self.benign.zones.get(parent)
            if rank is not None or parent == registered:
                return rank
        return None

    def _screen_url(self, value: str) -> Screening:
        text, network, whole = url_host(value)
        if network:
            special = special_range(network)
            if special:
                return _non_global(special)
            return self._screen_network(network) if whole else CLEAR
        if _is_special(text):
            return _SPECIAL_NAME
        return self._screen_name(text) if whole else CLEAR

    def _screen_email(self, value: str) -> Screening:
        mailbox, _, domain = value.rpartition("@")
        if mailbox.lower() in ROLE_MAILBOXES:
            return _ROLE_MAILBOX
        if _is_special(domain):
            return _SPECIAL_NAME
        if domain in WEBMAIL:
            return CLEAR
        # Banks and the like are whom phishers pose as: their addresses are in reports because they were forged.
        return self._by_rank(self._zone(domain, self.suffixes.registered_domain(domain)))

    def _by_rank(self, rank: int | None) -> Screening:
        if rank is None:
            return CLEAR
        name, policy, reason, ranking = self.benign.lists[rank]
        if policy is _CORROBORATE:
            return Screening(None, name)
        return Screening(Withheld("top-domain" if ranking else "benign-list", name, reason), None)


def _is_special(name: str) -> bool:
    # A name without a dot comes from a URL: a host of the local network, or a top-level name itself.
    top = name[name.rfind(".") + 1 :]
    return top == name or top in SPECIAL_TOP_LEVELS or name.removeprefix("www.") in _EXAMPLES


def _non_global(special: str) -> Screening:
    return Screening(Withheld("non-global", special, f"{special} is not a host on the public Internet."), None)
