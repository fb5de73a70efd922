"""A list to be rendered, as one process can tell another: what to make of it, and its lines from the database."""

from typing import Final

import msgspec

from threatcloud.domain.feed import FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format
from threatcloud.formats.feeds.format import Rendering, Snapshot, render

#: What a line without the fields of an entry is: no value of any type.
_BROKEN: Final = FeedEntry("", 100, None, "", "")


class Order(msgspec.Struct, frozen=True):
    """Which format to render a list of a type in, only its ``top`` worst entries, and networks joined."""

    format: str
    kind: IndicatorType
    generated_at: int
    top: int | None = None
    aggregate: bool = False


def carry_out(order: Order, lines: bytes) -> Rendering:
    """Renders the lines of a list: values, or for a detailed format the fields of entries with tabs between them."""
    format_ = find_format(order.format)
    whole = lines.removesuffix(b"\n").decode()
    texts = whole.split("\n", -1 if order.top is None else order.top)[: order.top] if whole else []
    entries = [_entry(text) for text in texts] if format_.is_detailed else []
    values = [entry.value for entry in entries] if format_.is_detailed else texts
    return render(format_, Snapshot(order.kind, order.generated_at, values, entries), aggregate=order.aggregate)


def _entry(text: str) -> FeedEntry:
    fields = text.split("\t")
    if len(fields) != len(FeedEntry._fields):
        return _BROKEN
    value, reputation, category, first_seen, last_seen = fields
    return FeedEntry(value, int(reputation), category or None, first_seen, last_seen)
