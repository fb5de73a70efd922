"""Rate limits: one bucket for each class of route, key and client address, in memory that all processes may share.

A bucket is one number, the time at which it will be full again (the theoretical arrival time of GCRA, ITU-T I.371): it
holds what a bucket of tokens with the time of its last change holds. So a process takes a request by one store of eight
bytes. Where two do so at the same instant one of the two is not counted, nor is what others take while a process rests
between reading and storing (a few microseconds, or a time slice of a busy machine); nothing else can come of it.
"""

import hashlib
import os
from math import ceil
from typing import Final, NamedTuple

MAX_BUCKETS: Final = 1 << 16
#: A bucket may lie in any of so many places: where none is free the one nearest to full makes room.
_WAYS: Final = 8
_CELL_BYTES: Final = 8
_SALT_BYTES: Final = 16
TABLE_BYTES: Final = _SALT_BYTES + 2 * _CELL_BYTES * MAX_BUCKETS
_MINUTE_S: Final = 60.0
#: Of a request: so much may be missing to one by the rounding of times alone, and it is let through.
_ROUNDING: Final = 0.002


class Allowance(NamedTuple):
    """What is left: ``reset_s`` until the bucket is full, ``retry_after_s`` 0 when the request was let through."""

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


def salt_table(table: memoryview) -> None:
    """Makes the places of buckets unguessable; to be called once, by whoever made the table."""
    table[:_SALT_BYTES] = os.urandom(_SALT_BYTES)


class RateLimiter:
    """Buckets that hold a minute's worth and refill evenly. Full ones are forgotten when there are too many.

    ``table`` has ``TABLE_BYTES``; times are of a clock that all its processes share.
    """

    def __init__(self, table: memoryview | None = None) -> None:
        if table is None:
            table = memoryview(bytearray(TABLE_BYTES))
            salt_table(table)
        self._salt = bytes(table[:_SALT_BYTES])
        self._marks = table[_SALT_BYTES : _SALT_BYTES + _CELL_BYTES * MAX_BUCKETS].cast("Q")
        self._full_at_s = table[_SALT_BYTES + _CELL_BYTES * MAX_BUCKETS :].cast("d")
        #: Where buckets were found last: to hash a name takes longer than all the rest.
        self._places: dict[tuple[str, str, str], tuple[int, int]] = {}

    def take(self, rate_class: str, key: str, address: str, limit: int, now_s: float) -> Allowance:
        """Takes one request out of the bucket, or says how long to wait; ``limit`` is requests a minute."""
        name = (rate_class, key, address)
        found = self._places.get(name)
        if found is None or self._marks[found[1]] != found[0]:
            found = self._find(name, now_s)
        place, full_at_s, step_s = found[1], self._full_at_s, _MINUTE_S / limit
        missing_s = full_at_s[place] - now_s
        missing_s = max(missing_s, 0.0)
        over_s = missing_s + step_s - _MINUTE_S
        if over_s > _ROUNDING * step_s:
            return Allowance(limit, 0, ceil(missing_s), ceil(over_s))
        missing_s += step_s
        full_at_s[place] = now_s + missing_s
        return Allowance(limit, int(limit - missing_s / step_s + _ROUNDING), ceil(missing_s), 0)

    def _find(self, name: tuple[str, str, str], now_s: float) -> tuple[int, int]:
        """The mark of a bucket and its place, taken from one that matters less where it has none yet."""
        text = "\0".join(name).encode("utf-8", "surrogatepass")
        mark = int.from_bytes(hashlib.blake2b(text, digest_size=_CELL_BYTES, key=self._salt).digest(), "little") or 1
        first = mark % (MAX_BUCKETS // _WAYS) * _WAYS
        places = range(first, first + _WAYS)
        place = next((place for place in places if self._marks[place] == mark), -1)
        if place < 0:
            place = min(places, key=self._full_at_s.__getitem__)
            self._full_at_s[place] = now_s
            self._marks[place] = mark
        if len(self._places) >= MAX_BUCKETS:
            self._places.clear()
        found = self._places[name] = (mark, place)
        return found
