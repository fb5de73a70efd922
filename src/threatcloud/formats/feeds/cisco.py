"""A feed for Security Intelligence of Cisco Secure Firewall: addresses, names or URLs, in files of one type."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format
from threatcloud.formats.feeds.plain import write
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB

FORMAT: Final = Format(
    name="cisco",
    extension="cisco",
    description="a feed for Security Intelligence of Cisco Secure Firewall, which takes names with those below them",
    kinds=(IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL),
    write=write,
    delta=by_line(write),
    refusals=(NOT_OF_THE_WEB,),
)
