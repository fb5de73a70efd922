"""Standing back: what can wait does not compete with data that somebody is bringing in, nor holds the writer long."""

import asyncio
import time
from typing import Final

_BUSY_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.25
#: So many rows within a second are bulk data, whoever sends them and in whatever pieces.
MANY_ROWS: Final = 500
#: However long it goes on, what stands back has a turn this often.
MAX_WAIT_S: Final = 60.0


class Stride:
    """How many to take up in a unit of work, so that it takes about as long as it may: what each costs is not known
    beforehand, and the more are taken together, the less that is."""

    def __init__(self, least: int, most: int, wanted_s: float) -> None:
        self._least = least
        self._most = most
        self._wanted_s = wanted_s
        self.length = least

    def took(self, taken: int, spent_s: float) -> None:
        """Learns from a unit; from those that had little to do nothing can be learned. At most twice as many follow."""
        if taken >= self.length // 2:
            fitting = int(taken * self._wanted_s / max(spent_s, 1e-6))
            self.length = max(self._least, min(fitting, 2 * self.length, self._most))


class Pace:
    """Whether bulk data came in just now."""

    def __init__(self) -> None:
        self._last_s = self._counted_from_s = float("-inf")
        self._rows = 0

    def note(self, rows: int) -> None:
        """So many rows came in."""
        now_s = time.monotonic()
        if now_s > self._counted_from_s + _BUSY_S:
            self._counted_from_s, self._rows = now_s, 0
        self._rows += rows
        if self._rows >= MANY_ROWS:
            self._last_s = now_s

    async def stand_back(self) -> None:
        """Returns once no bulk data has come in for a second, or after a minute."""
        waited_s = 0.0
        while time.monotonic() < self._last_s + _BUSY_S and waited_s < MAX_WAIT_S:
            await asyncio.sleep(_LOOK_EVERY_S)
            waited_s += _LOOK_EVERY_S
