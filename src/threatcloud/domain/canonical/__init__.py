"""The canonical form of each type of indicator, one module for each; ``domain.indicator`` is the way in.

Every ``canonical_*`` function is total: for any text it gives the canonical value, which it gives again for
that value, or raises InvalidIndicator.
"""

from typing import Final

from threatcloud.domain.errors import InvalidInput, Problem

#: The longest value, as given or canonical, in bytes.
MAX_VALUE_BYTES: Final = 8192


class InvalidIndicator(InvalidInput, ValueError):
    """A text is no indicator of its type; ``reason`` says what it must be, to follow the field's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"value: {reason}", [Problem("value", reason)])
        self.reason = reason
