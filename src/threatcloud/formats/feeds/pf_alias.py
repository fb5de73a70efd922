"""A URL table alias of pfSense and OPNsense: addresses and networks of both families, joined to the fewest."""

from typing import Final

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write(snapshot: Snapshot) -> bytes:
    """One network a line after comment lines."""
    return snapshot.header() + lines(aggregated(snapshot.values))


def _format(name: str, system: str) -> Format:
    return Format(
        name=name,
        extension=name,
        description=f"an alias of {system} of the type URL Table (IPs): the fewest networks",
        kinds=(IndicatorType.IP,),
        write=write,
        delta=by_line(write, needs_lists=True),
    )


FORMAT: Final = _format("pfsense", "pfSense")
FORMAT_OPNSENSE: Final = _format("opnsense", "OPNsense")
