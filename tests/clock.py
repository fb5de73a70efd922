"""Time for tests: it passes when they say so."""

import time

NOW = 1_772_870_400_000  # 2026-03-07T08:00:00Z


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class RunningClock:
    """A clock that runs, and can be turned forward besides."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def turn(self, by_ms: int) -> None:
        """Turns it forward."""
        self._ahead_ms += by_ms
