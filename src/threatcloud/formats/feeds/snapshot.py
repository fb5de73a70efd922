"""A published list, as formats are given it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from threatcloud.domain.feed import FeedEntry, FullEntry, plain_header
from threatcloud.domain.indicator import IndicatorType


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published list: its values, worst first. ``entries`` or ``full`` say more of each, as a format asks for.

    ``collateral``: how many addresses are in the values that nobody listed.
    """

    kind: IndicatorType
    generated_at: int
    values: Sequence[str]
    entries: Sequence[FeedEntry] = ()
    full: Sequence[FullEntry] = ()
    collateral: int = 0

    @property
    def name(self) -> str:
        """What the list is called: ``ip-blocklist``."""
        return f"{self.kind}-blocklist"

    def header(self, mark: str = "#") -> bytes:
        """Comment lines with the title, the time and the count; ``mark`` is what a comment begins with."""
        text = plain_header(self.kind, self.generated_at, len(self.values))
        if self.collateral:
            text += f"# Collateral: {self.collateral} addresses that nobody listed\n".encode()
        return text.replace(b"#", mark.encode())

    def only(self, keep: Callable[[str], object]) -> "Snapshot":
        """The list of the values to keep."""
        values = [value for value in self.values if keep(value)]
        if len(values) == len(self.values):
            return self
        entries = [entry for entry in self.entries if keep(entry.value)]
        return replace(self, values=values, entries=entries, full=[entry for entry in self.full if keep(entry.value)])

    def first(self, count: int) -> "Snapshot":
        """The list of the worst."""
        return replace(self, values=self.values[:count], entries=self.entries[:count], full=self.full[:count])
