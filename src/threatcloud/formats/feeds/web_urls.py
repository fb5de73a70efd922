"""URLs for systems that know hosts and paths, but no schemes."""

import re
from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.format import Refusal

_is_web: Final = re.compile(r"https?://[^/?#@]+(?:[/?].*)?").fullmatch
#: Nor what has a user in it, which no request shows.
NOT_OF_THE_WEB: Final = Refusal("not of the web", lambda url: _is_web(url) is None, (IndicatorType.URL,))


def without_scheme(url: str) -> str:
    """The host, port and path of a canonical URL of the web."""
    return url.partition("://")[2]
