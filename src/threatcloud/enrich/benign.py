"""The benign lists of the publication guard, read from the MISP warninglists that pymispwarninglists ships.

Only the files the profile names are read, into sorted arrays and one table of names: the package's own class
keeps everything in 354 MB. A list that is missing or broken is reported, and the guard works without it.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from threatcloud.domain.address import Network, masked, parse_network
from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.hosts import ipv4_number
from threatcloud.domain.intervals import Intervals, Range
from threatcloud.domain.publication import BenignList, BenignLists, Policy
from threatcloud.enrich.benign_profile import RANKINGS, ROWS, Holds, Row
from threatcloud.enrich.suffixes import Suffixes

_PACKAGE: Final = "pymispwarninglists"
_LISTS: Final = "data/misp-warninglists/lists"
#: Every list of the profile, in its order.
LISTS: Final = tuple(BenignList(row.name, row.policy, row.reason, row.ranking) for row in ROWS)
_CONSENSUS: Final = next(rank for rank, row in enumerate(ROWS) if row.name == RANKINGS)
_is_hex: Final = re.compile(r"[0-9a-f]+").fullmatch


class LoadedLists(NamedTuple):
    """The lists, and the names of those that could not be read, in the order of the profile."""

    lists: BenignLists
    missing: tuple[str, ...]


class HashTable:
    """Ranks by file hash in sorted records, digest and rank: 17 to 65 bytes a hash, where a dict takes 200."""

    __slots__ = ("_records",)

    def __init__(self, lists: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Pairs of a rank (0 to 255, 0 strongest) and hashes in lower-case hex; what is no hash is passed over."""
        records: dict[int, list[str]] = {chars: [] for chars in HASH_NAMES}
        for rank, values in lists:
            suffix = f"{rank:02x}"
            for chars, sorted_later in records.items():
                sorted_later.extend([value + suffix for value in values if len(value) == chars])
        self._records = {chars // 2: _packed(sorted(found), chars // 2 + 1) for chars, found in records.items()}

    @classmethod
    def of(cls, records: dict[int, bytes]) -> "HashTable":
        """The table that ``records`` came from; they are not checked again."""
        made = cls.__new__(cls)
        made._records = records
        return made

    @property
    def records(self) -> dict[int, bytes]:
        """What it is made of, by the bytes of a digest, for ``of``."""
        return self._records

    def get(self, value: str) -> int | None:
        """The strongest rank of a canonical hash; None when it is not held."""
        digest = bytes.fromhex(value)
        size = len(digest) + 1
        records = self._records[size - 1]
        # A digest sorts before its own records, and of these the strongest is first.
        start = size * bisect_left(
            range(len(records) // size), digest, key=lambda index: records[index * size : (index + 1) * size]
        )
        return records[start + size - 1] if records.startswith(digest, start) else None


def _packed(records: Sequence[str], size: int) -> bytes:
    """Records of hex, all as long, as bytes; those that are not hex are dropped."""
    try:
        packed = bytes.fromhex("".join(records))
    except ValueError:
        packed = b""
    if len(packed) == size * len(records):
        return packed
    return b"".join(bytes.fromhex(record) for record in records if _is_hex(record))


class _ListFile(msgspec.Struct):
    """The part of a MISP warninglist that matters here."""

    entries: list[str] = msgspec.field(name="list")


_decode_list: Final = msgspec.json.Decoder(_ListFile).decode


def load_benign_lists(suffixes: Suffixes, directory: Path | None = None, skip: Collection[str] = ()) -> LoadedLists:
    """Every list of the profile, from the package or from a directory laid out like it."""
    source = _Source(directory or packaged_directory(), skip)
    # The hashes come first: what decoding their ten megabytes leaves behind is used again by the rest.
    hashes = HashTable((rank, entries) for rank, _, entries in source.lists(Holds.HASHES))
    v4, v6 = _intervals(source)
    names, zones = _names(source, suffixes)
    return LoadedLists(BenignLists(LISTS, v4, v6, names, zones, hashes), source.missing())


class _Source:
    """The entries of each list, read when they are asked for."""

    def __init__(self, directory: Path, skip: Collection[str]) -> None:
        self._directory = directory
        self._skip = skip
        self._missing: set[str] = set()

    def lists(self, holds: Holds) -> Iterator[tuple[int, Row, Sequence[str]]]:
        """Rank, row and entries (in lower case) of each readable list of a kind, strongest first."""
        for rank, row in enumerate(ROWS):
            if row.holds is not holds or row.name in self._skip:
                continue
            entries = self._read(row.name) if row.entries is None else row.entries
            if entries is None:
                self._missing.add(row.name)
            else:
                yield rank, row, entries

    def missing(self) -> tuple[str, ...]:
        """The lists that could not be read, in the order of the profile."""
        return tuple(row.name for row in ROWS if row.name in self._missing)

    def _read(self, name: str) -> list[str] | None:
        try:
            return _decode_list(_file_of(self._directory, name).read_bytes().lower()).entries
        except (OSError, msgspec.DecodeError):
            return None


def packaged_directory() -> Path:
    """Where the packaged lists are; a folder that does not exist when they are not installed."""
    spec = find_spec(_PACKAGE)
    return Path(spec.origin).parent / _LISTS if spec and spec.origin else Path(_PACKAGE)


def packaged_files(directory: Path) -> list[Path]:
    """The file of each list that has one, be it there or not."""
    return [_file_of(directory, row.name) for row in ROWS if row.entries is None]


def _file_of(directory: Path, name: str) -> Path:
    return directory / name / "list.json"


def _intervals(source: _Source) -> tuple[Intervals, Intervals]:
    """The networks by version, 4 and 6; what is no network is passed over."""
    v4: list[Range] = []
    v6: list[Range] = []
    for rank, _, entries in source.lists(Holds.NETWORKS):
        for entry in entries:
            number = ipv4_number(entry)
            if number is not None:
                v4.append((number, number, rank))
            elif network := _network(entry):
                ranges = v4 if network.version == 4 else v6
                ranges.append((network.first, network.last, rank))
    return Intervals(v4), Intervals(v6)


def _network(entry: str) -> Network | None:
    address, _, prefix = entry.partition("/")
    number = ipv4_number(address)
    try:
        return masked(*parse_network(entry)) if number is None else masked(4, number, int(prefix))
    except ValueError:
        return None


def _names(source: _Source, suffixes: Suffixes) -> tuple[dict[str, int], dict[str, int]]:
    """Names and zones by rank; the strongest list that holds a name keeps it."""
    names: dict[str, int] = {}
    zones: dict[str, int] = {}
    votes: set[int] = set()
    for rank, row, entries in source.lists(Holds.NAMES):
        plain = [name.removeprefix(".").removeprefix("www.") for name in entries]
        if row.ranking and row.policy is Policy.CORROBORATE:
            _vote(names, plain, rank, votes, suffixes)
            votes.add(rank)
        else:
            for name, entry in zip(plain, entries, strict=True):
                (zones if entry.startswith(row.zones) else names).setdefault(name, rank)
    return names, zones


def _vote(names: dict[str, int], ranked: Sequence[str], rank: int, votes: Collection[int], suffixes: Suffixes) -> None:
    """Enter a ranking: what an earlier one has too, or what lies below a name never published, is beyond doubt."""
    for name in ranked:
        if names.setdefault(name, rank) in votes:
            names[name] = _CONSENSUS
    for name in ranked:
        if names[name] == rank and names.get(suffixes.registered_domain(name) or name, rank) <= _CONSENSUS:
            names[name] = _CONSENSUS
