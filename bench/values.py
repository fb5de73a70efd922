"""Values to store: real ones from the data beside the checkout where it is present, then generated ones.

Of each kind there is one endless row, always the same: a store takes the first so many, what is new to it comes after.
"""

import gzip
import ipaddress
import itertools
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

_REAL = Path(__file__).parents[2] / "shared" / "data"
_FILES = {kind: f"feed_{kind}.txt.gz" for kind in ("ips", "domains", "urls", "hashes")}


def values(kind: str, start: int, count: int) -> list[str]:
    """``count`` different values of a kind (ips, domains, urls, hashes) from a place of its row on."""
    real = _real(kind)
    found = real[start : start + count]
    if len(found) < count:
        skip = max(0, start - len(real))
        found += itertools.islice(_generated(kind), skip, skip + count - len(found))
    return found


def origin(kind: str, count: int) -> str:
    """Where the first so many come from."""
    real = len(_real(kind))
    return "generated" if not real else _FILES[kind] if real >= count else f"{_FILES[kind]} and generated"


@lru_cache
def _real(kind: str) -> list[str]:
    """The real values in random order."""
    path = _REAL / _FILES[kind]
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [line.split("\t", 1)[0] for line in lines if line[0] != "#"]
    random.Random(1).shuffle(found)
    return found


def _generated(kind: str) -> Iterator[str]:
    chance, known = random.Random(2), set(_real(kind))
    while True:
        value = _MAKERS[kind](chance)
        if value not in known:
            known.add(value)
            yield value


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
