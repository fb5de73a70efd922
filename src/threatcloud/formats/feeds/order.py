"""Lists to be rendered, as one process can tell another: what to make of them, and their lines from the database."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail, FeedEntry, FullEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format
from threatcloud.formats.feeds.changes import Change, Versions
from threatcloud.formats.feeds.format import Format, Rendering, render, render_all, render_delta
from threatcloud.formats.feeds.snapshot import Snapshot

_FIELDS: Final = {Detail.ENTRY: len(FeedEntry._fields), Detail.FULL: len(FullEntry._fields)}
#: What a line without the fields of an entry is: no value of any type.
_BROKEN: Final = {
    Detail.ENTRY: ["", "100", "", "", ""],
    Detail.FULL: ["", "100", "", "", "", "0", "", "", "", ""],
}
_techniques: Final = msgspec.json.Decoder(list[object]).decode


class Part(msgspec.Struct, frozen=True):
    """A list: of which type, of which time, and how many bytes its lines are."""

    kind: IndicatorType
    generated_at: int
    size_bytes: int


class Order(msgspec.Struct, frozen=True):
    """Which format to render lists in, only the ``top`` worst entries of each, and networks joined.

    ``is_all``: they are lists of several types, to be written in one text. With ``versions`` it is a delta, and the
    parts are pairs: what was added to a list, and what was removed.
    """

    format: str
    parts: tuple[Part, ...]
    top: int | None = None
    aggregate: bool = False
    is_all: bool = False
    versions: tuple[str, str] | None = None
    #: How many addresses are in the lines that nobody listed, for the format to say.
    collateral: int = 0


def carry_out(order: Order, lines: bytes) -> Rendering:
    """Renders the lines of lists: values, or the fields of entries with tabs between them, as the format asks for."""
    format_ = find_format(order.format)
    snapshots, begins = [], 0
    for part in order.parts:
        ends = begins + part.size_bytes
        snapshots.append(snapshot_of(format_, part, lines[begins:ends], order.top))
        begins = ends
    if order.versions is not None:
        changes = [Change(*pair) for pair in zip(snapshots[::2], snapshots[1::2], strict=True)]
        return render_delta(format_, changes, Versions(*order.versions))
    if order.is_all:
        return render_all(format_, snapshots)
    whole = replace(snapshots[0], collateral=order.collateral)
    return render(format_, whole, aggregate=order.aggregate)


def snapshot_of(format_: Format, part: Part, lines: bytes, top: int | None = None) -> Snapshot:
    """The list that lines are of, only its ``top`` worst entries, with the detail that a format asks for."""
    whole = lines.removesuffix(b"\n").decode()
    texts = whole.split("\n", -1 if top is None else top)[:top] if whole else []
    if format_.detail is Detail.VALUE:
        return Snapshot(part.kind, part.generated_at, texts)
    count = _FIELDS[format_.detail]
    rows = [text.split("\t") for text in texts]
    if any(len(fields) != count for fields in rows):
        rows = [fields if len(fields) == count else _BROKEN[format_.detail] for fields in rows]
    values = [fields[0] for fields in rows]
    if format_.detail is Detail.ENTRY:
        entries = [
            FeedEntry(value, int(reputation), category or None, first_seen, last_seen)
            for value, reputation, category, first_seen, last_seen in rows
        ]
        return Snapshot(part.kind, part.generated_at, values, entries)
    return Snapshot(part.kind, part.generated_at, values, full=[_full(fields) for fields in rows])


def bare_lines(detail: Detail, values: Sequence[str], at: str) -> bytes:
    """Lines of values of which no more is known than that they left at a time."""
    rests = {Detail.VALUE: "", Detail.ENTRY: f"\t100\t\t{at}\t{at}", Detail.FULL: f"\t100\t\t{at}\t{at}\t0\t{at}\t\t\t"}
    return "".join(f"{value}{rests[detail]}\n" for value in values).encode()


def _full(fields: list[str]) -> FullEntry:
    value, reputation, category, first_seen, last_seen, confidence, updated_at, expires_at, tlp, techniques = fields
    return FullEntry(
        value,
        int(reputation),
        category or None,
        first_seen,
        last_seen,
        int(confidence),
        updated_at,
        expires_at or None,
        tlp or None,
        _strings(techniques) if techniques else (),
    )


@lru_cache(maxsize=1_000)  # most have the same few
def _strings(array: str) -> tuple[str, ...]:
    """The texts of an array in JSON; none where it is no array."""
    try:
        return tuple(item for item in _techniques(array) if isinstance(item, str))
    except msgspec.DecodeError:
        return ()
