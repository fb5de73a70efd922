"""Values to store: real ones from the data beside the checkout where it is present, then generated ones.

Of each kind there is one endless row, always the same: a store takes the first so many, what is new to it comes after.
"""

import gzip
import ipaddress
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

REAL = Path(__file__).parents[2] / "shared" / "data"
_FILE = "feed_{}.txt.gz"


class _Endless:
    """The values of one kind: real ones in random order, then made-up ones that are made once they are asked for."""

    def __init__(self, path: Path, make: Callable[[random.Random], str]) -> None:
        self._values = _read(path)
        self.real = len(self._values)
        random.Random(1).shuffle(self._values)
        self._known = set(self._values)
        self._make = make
        self._chance = random.Random(2)

    def part(self, start: int, count: int) -> list[str]:
        """So many from a place on."""
        while len(self._values) < start + count:
            value = self._make(self._chance)
            if value not in self._known:
                self._known.add(value)
                self._values.append(value)
        return self._values[start : start + count]


def values(kind: str, start: int, count: int) -> list[str]:
    """``count`` different values of a kind (ips, domains, urls, hashes) from a place of its row on."""
    return _row(REAL, kind).part(start, count)


def origin(kind: str, count: int) -> str:
    """Where the first so many come from."""
    real, file = _row(REAL, kind).real, _FILE.format(kind)
    return "generated" if not real else file if real >= count else f"{file} and generated"


@lru_cache
def _row(folder: Path, kind: str) -> _Endless:
    return _Endless(folder / _FILE.format(kind), _MAKERS[kind])


def _read(path: Path) -> list[str]:
    """The values of a file; none where there is no such file."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.split("\t", 1)[0] for line in lines if line[0] != "#"]


def _address(chance: random.Random) -> str:
    return str(ipaddress.IPv4Address(chance.randrange(1 << 24, 223 << 24)))


def _word(chance: random.Random) -> str:
    return chance.randbytes(6).hex()


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "ips": _address,
    "domains": lambda chance: f"{_word(chance)}.{_word(chance)}.xyz",
    "urls": lambda chance: f"http://{_word(chance)}.top/{_word(chance)}",
    "hashes": lambda chance: chance.randbytes(32).hex(),
}
