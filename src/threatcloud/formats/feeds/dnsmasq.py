"""Lines for dnsmasq: the name and every name below it do not exist."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """``local=/name/`` for each: answered from here, where nothing is known of it."""
    return snapshot.header() + lines(snapshot.values, "local=/", "/")


FORMAT: Final = Format(
    name="dnsmasq",
    extension="dnsmasq",
    description="configuration of dnsmasq (`conf-file`): the names and those below them do not exist",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
)
