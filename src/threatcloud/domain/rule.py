"""Detection rules: what one is, which ids there are, and which rules agents get."""

import re
from typing import Final, NamedTuple

ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
ATR_SOURCE: Final = "atr"
ATR_PREFIX: Final = "ATR-"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class Rule(NamedTuple):
    """One rule: YAML content as it came, and when its author says it was published (UTC ms; None: not said)."""

    id: str
    content: str
    source: str
    authored_at: int | None = None

    @property
    def is_atr(self) -> bool:
        """Whether agents get it: its source is ``atr``, or its id begins with ``ATR-``."""
        return self.source == ATR_SOURCE or self.id.startswith(ATR_PREFIX)

    @property
    def file_name(self) -> str:
        """The name of its file in an update package; an id has no character that would lead out of a folder."""
        return f"{self.id}.yaml"


def check_rule_id(text: str) -> str:
    """The id itself; ValueError if it is not 1-128 of ``[A-Za-z0-9._-]`` beginning with a letter or digit."""
    if not _ID.match(text):
        raise ValueError("must be 1-128 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    return text
