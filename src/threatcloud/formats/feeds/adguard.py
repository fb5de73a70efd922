"""Filter rules of AdGuard, AdGuard Home and uBlock Origin: the name and every name below it."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """``||name^`` for each."""
    return snapshot.header("!") + lines(snapshot.values, "||", "^")


FORMAT: Final = Format(
    name="adguard",
    extension="adguard",
    description="filter rules of AdGuard, AdGuard Home and uBlock Origin: the names and those below them",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
)
