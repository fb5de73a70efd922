"""Addresses to store: real ones from the data beside the checkout where it is present, generated ones otherwise."""

import gzip
import ipaddress
import random
from pathlib import Path

REAL = Path(__file__).parents[2] / "shared" / "data" / "feed_ips.txt.gz"


def addresses(count: int, *, seed: int = 1) -> tuple[list[str], str]:
    """``count`` different addresses in random order, and where they come from."""
    chooser = random.Random(seed)
    found: list[str] = []
    origin = "generated"
    if REAL.exists():
        with gzip.open(REAL, "rt") as lines:
            found = [line.split("\t", 1)[0] for line in lines if line[0] != "#"]
        origin = f"{REAL.name} and generated" if len(found) < count else REAL.name
    known = set(found)
    while len(known) < count:
        known.add(str(ipaddress.IPv4Address(chooser.randrange(1 << 24, 223 << 24))))
    found += sorted(known.difference(found))
    found = found[:count]
    chooser.shuffle(found)
    return found, origin
