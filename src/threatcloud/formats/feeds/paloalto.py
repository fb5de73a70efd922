"""An external dynamic list of Palo Alto Networks: addresses, names or URLs, in files of one type.

Signs that PAN-OS takes for wildcards would make one URL stand for many, so such URLs are left out.
"""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal, lines
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB, without_scheme

#: What the smallest firewalls take, all lists of a type together.
_MOST: Final = 50_000
_LONGEST: Final = 255
_WILDCARDS: Final = frozenset("*^")


def write(snapshot: Snapshot) -> bytes:
    """The values without a comment, which not every type of list may have; URLs without their scheme."""
    is_url = snapshot.kind is IndicatorType.URL
    return lines(list(dict.fromkeys(map(without_scheme, snapshot.values))) if is_url else snapshot.values)


FORMAT: Final = Format(
    name="paloalto",
    extension="edl",
    description="an external dynamic list of Palo Alto Networks (PAN-OS); URLs without their scheme",
    kinds=(IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL),
    write=write,
    delta=by_line(write, needs_lists=True),
    refusals=(
        NOT_OF_THE_WEB,
        Refusal(f"over {_LONGEST} characters", lambda url: len(without_scheme(url)) > _LONGEST, (IndicatorType.URL,)),
        Refusal("with a wildcard in it", _WILDCARDS.intersection, (IndicatorType.URL,)),
    ),
    limits=dict.fromkeys((IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL), _MOST),
)
