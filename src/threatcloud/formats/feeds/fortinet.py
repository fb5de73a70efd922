"""An external threat feed of FortiGate: addresses, names, URLs or hashes, in files of one type."""

from typing import Final

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal, lines
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB

_KINDS: Final = (IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL, IndicatorType.HASH)
_MOST: Final = 131_072
_MOST_BYTES: Final = 10 * 1024 * 1024


def write(snapshot: Snapshot) -> bytes:
    """The values, one a line."""
    return lines(snapshot.values)


FORMAT: Final = Format(
    name="fortinet",
    extension="fortinet",
    description="an external threat feed of FortiGate, of at most 10 MiB",
    kinds=_KINDS,
    write=write,
    delta=by_line(write),
    refusals=(
        NOT_OF_THE_WEB,
        Refusal("with a wildcard in it", lambda url: "*" in url, (IndicatorType.URL,)),
        Refusal("SHA-512", lambda value: HASH_NAMES[len(value)] == "SHA-512", (IndicatorType.HASH,)),
    ),
    limits=dict.fromkeys(_KINDS, _MOST),
    most_bytes=_MOST_BYTES,
)
