"""What a feed format is: what it can say, and a pure function from a published list to its text.

Whatever a value may be, a format is only given what is its own canonical form, in printable ASCII and no longer than a
value may be: so no value can end a line, a quotation or a comment. What else a syntax cannot say, its format refuses.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import accumulate, islice
from typing import Final, NamedTuple

from threatcloud.domain.aggregation import aggregated
from threatcloud.domain.canonical import MAX_VALUE_BYTES
from threatcloud.domain.canonical.ids import plain_hash
from threatcloud.domain.canonical.name import plain_name
from threatcloud.domain.errors import invalid
from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, canonical
from threatcloud.formats.feeds.changes import Change, Delta, Versions
from threatcloud.formats.feeds.snapshot import Snapshot

TEXT: Final = "text/plain; charset=utf-8"
MALFORMED: Final = "malformed"
_BATCH: Final = 500


class Refusal(NamedTuple):
    """What a format leaves out: in words, the values it is about, and of which types where not of all."""

    reason: str
    refuses: Callable[[str], object]
    kinds: Collection[IndicatorType] = tuple(IndicatorType)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Format:
    """A format. ``write`` gives the text of a list of one of the ``kinds``.

    ``detail``: what it needs of each value. ``write_all`` gives the text of lists of several types in one, where it can
    say them, ``delta`` what changed, where it can say that. ``refusals`` say what it leaves out, ``limits`` how many
    entries whoever reads it takes, by type, and ``most_bytes`` how long a file may be that has a value on each line.
    """

    name: str
    extension: str
    description: str
    media: str = TEXT
    kinds: Collection[IndicatorType]
    write: Callable[[Snapshot], bytes]
    write_all: Callable[[Sequence[Snapshot]], bytes] | None = None
    delta: Delta | None = None
    detail: Detail = Detail.VALUE
    refusals: tuple[Refusal, ...] = ()
    limits: Mapping[IndicatorType, int] = field(default_factory=dict)
    most_bytes: int | None = None


class Rendering(NamedTuple):
    """The text of a list, how many entries are in it, how many a limit cut off, and what was left out by reason."""

    body: bytes
    entries: int
    truncated: int
    left_out: dict[str, int]


def check(format_: Format, kind: IndicatorType, *, aggregate: bool) -> None:
    """Raises InvalidInput where a format cannot say values of a type, or not as joined networks."""
    if kind not in format_.kinds:
        can = " and ".join(f"{other}-blocklist" for other in format_.kinds)
        raise invalid("format", f"{format_.name} cannot say what is in {kind}-blocklist; it is for {can}")
    if aggregate and (kind is not IndicatorType.IP or format_.detail):
        raise invalid("aggregate", "goes with addresses, in a format that says nothing else of them")


def render(format_: Format, snapshot: Snapshot, *, aggregate: bool = False) -> Rendering:
    """The list in a format; InvalidInput when it cannot be.

    ``aggregate``: addresses and networks are joined to the fewest networks that hold exactly the same.
    """
    check(format_, snapshot.kind, aggregate=aggregate)
    left_out: dict[str, int] = {}
    shown, truncated = _shown(format_, snapshot, left_out, aggregate=aggregate)
    return Rendering(format_.write(shown), len(shown.values), truncated, left_out)


def check_all(format_: Format) -> None:
    """Raises InvalidInput where a format cannot say values of all types in one file."""
    if format_.write_all is None:
        can = " and ".join(f"{kind}-blocklist" for kind in format_.kinds)
        raise invalid("format", f"{format_.name} cannot say all types in one file; it is for {can}")


def render_all(format_: Format, snapshots: Sequence[Snapshot]) -> Rendering:
    """Lists of several types in one text; InvalidInput when they cannot be. Types that the format cannot say are not
    in it; what is cut off and left out is counted over all."""
    check_all(format_)
    assert format_.write_all is not None
    left_out: dict[str, int] = {}
    found = [_shown(format_, snapshot, left_out) for snapshot in snapshots if snapshot.kind in format_.kinds]
    shown = [snapshot for snapshot, _ in found]
    entries = sum(len(snapshot.values) for snapshot in shown)
    return Rendering(format_.write_all(shown), entries, sum(truncated for _, truncated in found), left_out)


def check_delta(format_: Format) -> Delta:
    """How a format writes changes; InvalidInput where it cannot."""
    if format_.delta is None:
        raise invalid("since", f"{format_.name} has no deltas; load the whole list")
    return format_.delta


def render_delta(format_: Format, changes: Sequence[Change], versions: Versions) -> Rendering:
    """What lists gained and lost, in a format; InvalidInput when it cannot say that."""
    delta = check_delta(format_)
    left_out: dict[str, int] = {}
    shown = [
        Change(_said(format_, change.added, left_out), _said(format_, change.removed, left_out)) for change in changes
    ]
    entries = sum(len(change.added.values) + len(change.removed.values) for change in shown)
    return Rendering(delta.write(shown, versions), entries, 0, left_out)


def _shown(
    format_: Format, snapshot: Snapshot, left_out: dict[str, int], *, aggregate: bool = False
) -> tuple[Snapshot, int]:
    """What a format shows of a list, and how many entries a limit cuts off; counts what is left out by reason."""
    said = _said(format_, snapshot, left_out)
    if aggregate:
        said = replace(said, values=aggregated(said.values))
    shown = said.first(_most(format_, said))
    return shown, len(said.values) - len(shown.values)


def _said(format_: Format, snapshot: Snapshot, left_out: dict[str, int]) -> Snapshot:
    """What a format can say of a list; counts what is left out by reason."""
    said = snapshot.where(_well_formed(snapshot.kind, snapshot.values))
    _count(left_out, MALFORMED, len(snapshot.values) - len(said.values))
    for reason, refuses, kinds in format_.refusals:
        if snapshot.kind in kinds:
            before = len(said.values)
            said = said.where([not refused for refused in map(refuses, said.values)])
            _count(left_out, reason, before - len(said.values))
    return said


def _most(format_: Format, snapshot: Snapshot) -> int:
    """How many entries of a list whoever reads the format takes."""
    most = format_.limits.get(snapshot.kind, len(snapshot.values))
    if format_.most_bytes is None:
        return most
    ends = list(accumulate(len(value) + 1 for value in snapshot.values[:most]))
    return bisect_right(ends, format_.most_bytes)


def _count(left_out: dict[str, int], reason: str, count: int) -> None:
    if count:
        left_out[reason] = left_out.get(reason, 0) + count


def lines(values: Sequence[str], before: str = "", after: str = "") -> bytes:
    """A line for each value, between two texts that are the same in all."""
    return (before + f"{after}\n{before}".join(values) + f"{after}\n").encode() if values else b""


def joined(pieces: Iterable[str], between: str = "", around: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    """Texts one after the other, with another between them, and bytes around all. They are made and encoded some
    hundred at a time: a million would leave the caches of the processor, and take up the room of the whole again."""
    found, rest = BytesIO(), iter(pieces)
    found.write(around[0])
    separator = ""
    while batch := list(islice(rest, _BATCH)):
        found.write((separator + between.join(batch)).encode())
        separator = between
    found.write(around[1])
    return found.getvalue()


def _well_formed(kind: IndicatorType, values: Sequence[str]) -> list[object]:
    """For each value something true where it is its own canonical form. Most are told by a pattern, at once."""
    is_plain, is_canonical = _PLAIN[kind], _IS_WELL_FORMED[kind]
    found: list[object] = list(map(is_plain, values))
    return found if all(found) else [match or is_canonical(value) for match, value in zip(found, values, strict=True)]


def _is_ip(value: str) -> bool:
    try:
        return canonical(IndicatorType.IP, value).value == value
    except InvalidIndicator:
        return False


_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_is_url: Final = re.compile(rf"(?=.{{1,{MAX_VALUE_BYTES}}}\Z)[a-z][a-z0-9+.-]*:[!-~]+").fullmatch
#: Canonical values as they mostly are.
_PLAIN: Final = {
    IndicatorType.IP: re.compile(rf"{_OCTET}\.{_OCTET}\.(?!0\.0\Z){_OCTET}\.{_OCTET}").fullmatch,
    IndicatorType.DOMAIN: re.compile(r"[a-z0-9]{1,63}(?:\.[a-z0-9]{1,63}){0,2}\.[a-z]{2,63}").fullmatch,
    IndicatorType.HASH: re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}").fullmatch,
    IndicatorType.URL: _is_url,
}
_IS_WELL_FORMED: Final[dict[IndicatorType, Callable[[str], object]]] = {
    IndicatorType.IP: _is_ip,
    IndicatorType.DOMAIN: lambda value: plain_name(value) == value,
    IndicatorType.HASH: lambda value: plain_hash(value) == value,
    IndicatorType.URL: _is_url,
}
#: The types there are lists of.
LISTED_KINDS: Final = tuple(_IS_WELL_FORMED)
