"""Time for tests: it passes when they say so."""

NOW = 1_772_870_400_000  # 2026-03-07T08:00:00Z


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now
