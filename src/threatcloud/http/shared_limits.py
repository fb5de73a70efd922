"""Rate limits over many nodes: the buckets of ``rate_limit.py`` in a Redis (or Valkey) that all of them ask.

A node counts for itself first, and asks only about what it would let through: a flood ends where it arrives. What waits
together is asked together. Where Redis does not answer in time each node's own count holds, and nobody is kept waiting:
it is left alone until it answers again.
"""

import asyncio
import hashlib
from math import ceil
from typing import Any, Final, NamedTuple

import structlog

from threatcloud.config import SettingError
from threatcloud.http.rate_limit import Allowance

_log = structlog.get_logger("limits")
_PATIENCE_S: Final = 0.1
#: How long Redis is left alone after it did not answer.
_PAUSE_S: Final = 1.0
#: Buckets of one call: a script holds up whoever else uses that Redis.
_MOST: Final = 100
_MINUTE_US: Final = 60_000_000
_ROUNDING: Final = 0.002
#: GCRA (ITU-T I.371) as in ``rate_limit.py``, by Redis's own clock: a bucket is the time at which it is full again.
_TAKE: Final = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answers = {{}}
for place, key in ipairs(KEYS) do
  local step = {_MINUTE_US} / ARGV[place]
  local missing = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
  local over = missing + step - {_MINUTE_US}
  if over > {_ROUNDING} * step then
    answers[place] = {{math.ceil(missing), math.ceil(over)}}
  else
    missing = missing + step
    redis.call('SET', key, string.format('%.2f', now + missing), 'PX', math.ceil(missing / 1000))
    answers[place] = {{math.ceil(missing), 0}}
  end
end
return answers
"""


class _Asked(NamedTuple):
    """A request that waits to be counted; the answer is None where Redis gives none."""

    key: str
    limit: int
    answer: asyncio.Future[Allowance | None]


class SharedFigures(NamedTuple):
    """Whether limits are shared now, how often Redis failed, and how many requests it did not count."""

    is_shared: bool
    failures: int
    alone: int


class SharedLimiter:
    """Takes requests out of buckets that all nodes share. ``secret`` makes their names: Redis learns no address."""

    def __init__(self, url: str, secret: bytes) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ImportError:  # an extra
            raise SettingError("TC_REDIS_URL needs the package redis, which is not installed") from None
        patience: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": _PATIENCE_S}
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **patience)
        self._script = self._redis.register_script(_TAKE)
        self._trouble = (RedisError, OSError, TimeoutError)
        self._secret = secret
        self._waiting: list[_Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_sending = self._is_lost = False
        self._failures = self._alone = 0

    async def take(self, rate_class: str, key: str, address: str, limit: int) -> Allowance | None:
        """Takes one request out of a bucket of ``limit`` a minute; None where Redis does not answer now."""
        if self._is_lost:
            self._alone += 1
            return None
        text = "\0".join((rate_class, key, address)).encode("utf-8", "surrogatepass")
        name = hashlib.blake2b(text, digest_size=16, key=self._secret).hexdigest()
        loop = asyncio.get_running_loop()
        asked = _Asked(f"threat-cloud:limit:{name}", limit, loop.create_future())
        self._waiting.append(asked)
        if not self._is_sending:
            self._is_sending = True
            self._run(self._send())
        return await asked.answer

    def figures(self) -> SharedFigures:
        """How it stands."""
        return SharedFigures(not self._is_lost, self._failures, self._alone)

    async def close(self) -> None:
        """Ends the connection."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        """Asks about all that waits, in calls of so many."""
        try:
            while self._waiting:
                batch = self._waiting[:_MOST]
                answers = await self._ask(batch)
                del self._waiting[: len(batch)]
                for asked, answer in zip(batch, answers, strict=True):
                    if not asked.answer.done():  # else nobody waits any more
                        asked.answer.set_result(answer)
        finally:
            self._is_sending = False

    async def _ask(self, batch: list[_Asked]) -> list[Allowance | None]:
        if self._is_lost:
            self._alone += len(batch)
            return [None] * len(batch)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await self._script([asked.key for asked in batch], [asked.limit for asked in batch])
        except self._trouble as error:
            self._lose(error)
            self._alone += len(batch)
            return [None] * len(batch)
        return [_allowance(asked.limit, *answer) for asked, answer in zip(batch, found, strict=True)]

    def _lose(self, error: Exception) -> None:
        self._is_lost = True
        self._failures += 1
        problem = str(error) or f"no answer within {_PATIENCE_S:g} s"
        _log.warning("limits are each node's own: Redis does not answer", problem=problem)
        self._run(self._regain())

    async def _regain(self) -> None:
        """Waits until Redis answers."""
        while self._is_lost:
            await asyncio.sleep(_PAUSE_S)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._script([], [])
            except self._trouble:
                self._failures += 1
            else:
                self._is_lost = False
        _log.info("limits are shared again")


def _allowance(limit: int, missing_us: int, over_us: int) -> Allowance:
    """As ``RateLimiter.take`` gives it."""
    reset_s = ceil(missing_us / 1e6)
    if over_us:
        return Allowance(limit, 0, reset_s, ceil(over_us / 1e6))
    return Allowance(limit, int(limit - missing_us * limit / _MINUTE_US + _ROUNDING), reset_s, 0)
