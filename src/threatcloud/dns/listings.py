"""What is listed, in memory: addresses and networks as numbers, names as they are asked for."""

from collections.abc import Iterable
from typing import Final

from threatcloud.domain.address import WIDTHS, host_mask, parse_network
from threatcloud.domain.report import CATEGORIES

#: The last octet of the answer by category, and what the answer says of it; never reused for another meaning.
CODES: Final = {
    "malware": 2,
    "botnet": 3,
    "phishing": 4,
    "bruteforce": 5,
    "scanner": 6,
    "exploit": 7,
    "c2": 8,
    None: 9,
}
WORDS: Final = {code: word or "listed" for word, code in CODES.items()}
assert set(CODES) == {*CATEGORIES, None}


class Listings:
    """The entries of the lists of addresses and of names, with the code of each."""

    def __init__(self) -> None:
        #: By IP version and prefix length.
        self._networks: dict[int, dict[int, dict[int, int]]] = {version: {} for version in WIDTHS}
        self._names: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._names) + sum(len(found) for by in self._networks.values() for found in by.values())

    def add_addresses(self, entries: Iterable[tuple[str, str | None]]) -> None:
        """Lists canonical ``ip`` values with their categories."""
        for value, category in entries:
            version, first, prefix = parse_network(value)
            self._networks[version].setdefault(prefix, {})[first] = CODES.get(category, CODES[None])

    def add_names(self, entries: Iterable[tuple[str, str | None]]) -> None:
        """Lists domain names with their categories."""
        self._names.update((value.encode(), CODES.get(category, CODES[None])) for value, category in entries)

    def remove_addresses(self, values: Iterable[str]) -> None:
        """Takes canonical ``ip`` values off, where they are listed."""
        for value in values:
            version, first, prefix = parse_network(value)
            found = self._networks[version].get(prefix, {})
            found.pop(first, None)
            if not found:
                self._networks[version].pop(prefix, None)

    def remove_names(self, values: Iterable[str]) -> None:
        """Takes names off, where they are listed."""
        for value in values:
            self._names.pop(value.encode(), None)

    def of_address(self, version: int, address: int) -> int | None:
        """The code of an address, or of the narrowest network around it; None when it is not listed."""
        networks = self._networks[version]
        width = WIDTHS[version]
        hosts = networks.get(width)
        if hosts is not None and (code := hosts.get(address)) is not None:
            return code
        for prefix in sorted(networks, reverse=True):
            code = networks[prefix].get(address & ~host_mask(version, prefix))
            if code is not None:
                return code
        return None

    def of_name(self, name: bytes) -> int | None:
        """The code of a name; None when it is not listed."""
        return self._names.get(name)
