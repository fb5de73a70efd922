"""Rate limits: one token bucket for each class of route, key and client address."""

from math import ceil
from typing import Final, NamedTuple

MAX_BUCKETS: Final = 50_000
_MINUTE_S: Final = 60.0


class Allowance(NamedTuple):
    """What is left: ``reset_s`` until the bucket is full, ``retry_after_s`` 0 when the request was let through."""

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


class RateLimiter:
    """Buckets that hold a minute's worth and refill evenly. Full ones are forgotten when there are too many."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, str], tuple[float, float, float]] = {}

    def take(self, rate_class: str, key: str, address: str, limit: int, now_s: float) -> Allowance:
        """Takes one request out of the bucket, or says how long to wait; ``limit`` is requests a minute."""
        name = (rate_class, key, address)
        per_s = limit / _MINUTE_S
        known = self._buckets.get(name)
        tokens = float(limit) if known is None else min(limit, known[0] + (now_s - known[1]) * per_s)
        if tokens < 1.0:
            wait_s = ceil((1.0 - tokens) / per_s)
            return Allowance(limit, 0, ceil((limit - tokens) / per_s), max(1, wait_s))
        tokens -= 1.0
        if known is None and len(self._buckets) >= MAX_BUCKETS:
            self._forget_full(now_s)
        self._buckets[name] = (tokens, now_s, now_s + (limit - tokens) / per_s)
        return Allowance(limit, int(tokens), ceil((limit - tokens) / per_s), 0)

    def _forget_full(self, now_s: float) -> None:
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if bucket[2] > now_s}
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.clear()  # a flood from that many addresses: start anew rather than grow

    def __len__(self) -> int:
        return len(self._buckets)
