"""How commands take the time at which something ends."""

import re
import time
from typing import Annotated, Final

import typer

from threatcloud.domain.times import DAY_MS, HOUR_MS, iso

Expires = Annotated[str | None, typer.Option(help="When it ends: a time (ISO 8601), or 12h, 90d, 52w from now.")]
_duration: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])").fullmatch
_UNITS_MS: Final = {"h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}


def end_time(text: str | None) -> str | None:
    """The time a text such as ``90d`` means, in ISO 8601; any other text as it is."""
    found = _duration(text or "")
    if found is None:
        return text
    return iso(time.time_ns() // 1_000_000 + int(found[1]) * _UNITS_MS[found[2]])
