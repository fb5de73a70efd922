"""A file for the Intelligence Framework of Zeek: columns between tabs, with what is known of an entry in words."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from threatcloud.domain.address import is_network
from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal, joined
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB, without_scheme

_HEAD: Final = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n"


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry; URLs without their scheme, as Zeek sees them."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The entries of several lists."""
    return joined(chain((_HEAD,), chain.from_iterable(map(_lines, snapshots))))


def _lines(snapshot: Snapshot) -> Iterator[str]:
    shown = _SHOWN[snapshot.kind]
    for value, reputation, category, _, _ in snapshot.entries:
        before = f"{category}, " if category else ""
        yield f"{shown(value)}\tThreat Cloud\t{before}reputation {reputation}\n"


def _address(value: str) -> str:
    return f"{value}\tIntel::SUBNET" if is_network(value) else f"{value.removesuffix('/32')}\tIntel::ADDR"


#: A value with its type, as Zeek has them.
_SHOWN: Final[dict[IndicatorType, Callable[[str], str]]] = {
    IndicatorType.IP: _address,
    IndicatorType.DOMAIN: "{}\tIntel::DOMAIN".format,
    IndicatorType.HASH: "{}\tIntel::FILE_HASH".format,
    IndicatorType.URL: lambda url: f"{without_scheme(url)}\tIntel::URL",
}

FORMAT: Final = Format(
    name="zeek",
    extension="intel",
    description="a file for the Intelligence Framework of Zeek",
    media="text/tab-separated-values; charset=utf-8",
    kinds=(IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL, IndicatorType.HASH),
    write=write,
    write_all=write_all,
    delta=by_line(write),
    detail=Detail.ENTRY,
    refusals=(
        NOT_OF_THE_WEB,
        # Zeek's reader of tables would take it for the beginning of a character in hex.
        Refusal("with a backslash in it", lambda url: "\\" in url, (IndicatorType.URL,)),
    ),
)
