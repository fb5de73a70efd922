"""Lists to be rendered, as one process can tell another: what to make of them, and their lines from the database."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import msgspec

from threatcloud.domain.feed import Detail
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format
from threatcloud.formats.feeds.changes import Change, Versions
from threatcloud.formats.feeds.format import Format, Rendering, render, render_all, render_delta
from threatcloud.formats.feeds.snapshot import Columns, Snapshot

#: What a line without the fields of an entry is: no value of any type.
_BROKEN: Final = {
    Detail.ENTRY: ["", "100", "", "", ""],
    Detail.FULL: ["", "100", "", "", "", "0", "", "", "", ""],
}
#: All bytes but those that fields and lines end with.
_OF_FIELDS: Final = bytes(set(range(256)) - set(b"\t\n"))
#: Reputations and percentages, quicker than to read each.
_NUMBERS: Final = {str(number): number for number in range(101)}
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
    if top is not None:
        lines = b"".join(line + b"\n" for line in lines.split(b"\n", top)[:top] if line)
    if format_.detail is Detail.VALUE:
        return Snapshot(part.kind, part.generated_at, lines.decode().split("\n")[:-1])
    columns = _columns(lines, _BROKEN[format_.detail])
    values, reputations, categories, *times = columns[:5]
    shown: list[Sequence[object]] = [values, _numbers(reputations), _words(categories), *times]
    if format_.detail is Detail.ENTRY:
        return Snapshot(part.kind, part.generated_at, values, Columns(shown))
    confidence, updated_at, expires_at, tlp, techniques = columns[5:]
    shown += _numbers(confidence), updated_at, _words(expires_at), _words(tlp), list(map(_strings, techniques))
    return Snapshot(part.kind, part.generated_at, values, full=Columns(shown))


def _columns(lines: bytes, broken: Sequence[str]) -> list[list[str]]:
    """The fields of lines by column; those of ``broken`` where a line has more of them, or less."""
    count, tabs = lines.count(b"\n"), b"\t" * (len(broken) - 1)
    text = lines.decode()
    if lines.translate(None, _OF_FIELDS) != (tabs + b"\n") * count:
        rows = [line.split("\t") for line in text.split("\n")[:-1]]
        text = "".join("\t".join(row if len(row) == len(broken) else broken) + "\n" for row in rows)
    fields = text.replace("\n", "\t").split("\t")
    return [fields[column : count * len(broken) : len(broken)] for column in range(len(broken))]


def _numbers(texts: Sequence[str]) -> list[int]:
    return list(map(_NUMBERS.__getitem__, texts))


def _words(texts: Sequence[str]) -> list[str | None]:
    """Words, of which a million are the same few; None for an empty one."""
    known: dict[str, str] = {}
    return [known.setdefault(text, text) or None for text in texts]


def bare_lines(detail: Detail, values: Sequence[str], at: str) -> bytes:
    """Lines of values of which no more is known than that they left at a time."""
    rests = {Detail.VALUE: "", Detail.ENTRY: f"\t100\t\t{at}\t{at}", Detail.FULL: f"\t100\t\t{at}\t{at}\t0\t{at}\t\t\t"}
    return "".join(f"{value}{rests[detail]}\n" for value in values).encode()


@lru_cache(maxsize=1_000)  # most have the same few
def _strings(array: str) -> tuple[str, ...]:
    """The texts of an array in JSON; none where it is no array."""
    if not array:
        return ()
    try:
        return tuple(item for item in _techniques(array) if isinstance(item, str))
    except msgspec.DecodeError:
        return ()
