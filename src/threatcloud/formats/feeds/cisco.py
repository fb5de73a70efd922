"""A feed for Security Intelligence of Cisco Secure Firewall: addresses, names or URLs, in files of one type."""

from typing import Final

from threatcloud.domain.feed import plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.format import Format, Snapshot, lines
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB


def write(snapshot: Snapshot) -> bytes:
    """The values after comment lines."""
    return plain_header(snapshot.kind, snapshot.generated_at, len(snapshot.values)) + lines(snapshot.values)


FORMAT: Final = Format(
    name="cisco",
    extension="cisco",
    description="a feed for Security Intelligence of Cisco Secure Firewall, which takes names with those below them",
    kinds=(IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL),
    write=write,
    refusals=(NOT_OF_THE_WEB,),
)
