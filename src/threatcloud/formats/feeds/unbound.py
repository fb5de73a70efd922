"""Configuration of Unbound: the name and every name below it do not exist."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """``local-zone: "name" always_nxdomain`` for each, in a server clause of its own."""
    return snapshot.header() + b"server:\n" + lines(snapshot.values, 'local-zone: "', '" always_nxdomain')


FORMAT: Final = Format(
    name="unbound",
    extension="unbound",
    description="configuration of Unbound (`include`): the names and those below them do not exist",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
)
