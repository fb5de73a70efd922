"""Standing back: what can wait does not compete with data that somebody is bringing in."""

import asyncio
import time
from typing import Final

_BUSY_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.25
#: However long it goes on, what stands back has a turn this often.
MAX_WAIT_S: Final = 60.0


class Pace:
    """Whether bulk data came in just now."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def note(self) -> None:
        """Bulk data came in."""
        self._last_s = time.monotonic()

    async def stand_back(self) -> None:
        """Returns once no bulk data has come in for a second, or after a minute."""
        waited_s = 0.0
        while time.monotonic() < self._last_s + _BUSY_S and waited_s < MAX_WAIT_S:
            await asyncio.sleep(_LOOK_EVERY_S)
            waited_s += _LOOK_EVERY_S
