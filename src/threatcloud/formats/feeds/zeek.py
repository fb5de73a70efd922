"""A file for the Intelligence Framework of Zeek: columns between tabs, with what is known of an entry in words."""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.address import is_network
from threatcloud.domain.feed import Detail, FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal
from threatcloud.formats.feeds.snapshot import Snapshot
from threatcloud.formats.feeds.web_urls import NOT_OF_THE_WEB, without_scheme

_HEAD: Final = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n"
_TYPES: Final = {
    IndicatorType.DOMAIN: "Intel::DOMAIN",
    IndicatorType.HASH: "Intel::FILE_HASH",
    IndicatorType.URL: "Intel::URL",
}


def write(snapshot: Snapshot) -> bytes:
    """A line for each entry; URLs without their scheme, as Zeek sees them."""
    return write_all((snapshot,))


def write_all(snapshots: Sequence[Snapshot]) -> bytes:
    """The entries of several lists."""
    return "".join([_HEAD, *(_line(item.kind, entry) for item in snapshots for entry in item.entries)]).encode()


def _line(kind: IndicatorType, entry: FeedEntry) -> str:
    value = without_scheme(entry.value) if kind is IndicatorType.URL else entry.value
    said = _TYPES.get(kind) or ("Intel::SUBNET" if is_network(value) else "Intel::ADDR")
    address = value.removesuffix("/32") if said == "Intel::ADDR" else value
    words = f"{entry.category}, reputation {entry.reputation}" if entry.category else f"reputation {entry.reputation}"
    return f"{address}\t{said}\tThreat Cloud\t{words}\n"


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
