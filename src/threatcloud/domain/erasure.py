"""Erasing a value from what is said of others: a mask takes its place."""

import re
from collections.abc import Mapping
from typing import Any, Final

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.indicator import Indicator, detect

ERASED: Final = "(erased)"


class Eraser:
    """Masks one indicator, in any spelling where a text is nothing else, and its canonical one within texts."""

    def __init__(self, indicator: Indicator) -> None:
        self._indicator = indicator
        # What goes on as a name or number is another value: 198.51.100.1 is not in 198.51.100.12.
        self._within = re.compile(rf"(?<![\w.-]){re.escape(indicator.value)}(?![\w-]|\.\w)", re.IGNORECASE | re.ASCII)

    def masked(self, said: Any) -> Any:
        """The JSON value with the mask wherever the indicator is named; itself where it is not."""
        if isinstance(said, str):
            return ERASED if self._is_it(said) else self._within.sub(ERASED, said)
        if isinstance(said, Mapping):
            return {self.masked(name): self.masked(value) for name, value in said.items()}
        if isinstance(said, list):
            return [self.masked(value) for value in said]
        return said

    def _is_it(self, text: str) -> bool:
        try:
            return detect(text) == self._indicator
        except InvalidIndicator:
            return False
