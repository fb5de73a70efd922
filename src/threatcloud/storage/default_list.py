"""The default list of a type: rendered as a whole, or what became of its members since it was."""

from collections.abc import Iterator
from typing import NamedTuple

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.list_text import Entry, Head, ListText, Members, joined
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.storage import feeds
from threatcloud.storage.driver import Connection
from threatcloud.storage.feeds import LISTED, NAMED_CHANGES, UNLISTED


class Changes(NamedTuple):
    """Who came to a list and who left it, net."""

    added: list[Entry]
    removed: list[Entry]


class Rendered(NamedTuple):
    """A list, and the last change that is in it."""

    text: ListText
    seq: int


def render(db: Connection, head: Head) -> Rendered:
    """The list as a whole, worst first, under this head."""
    return Rendered(joined(head, _parts(db, head.kind)), feeds.last_change(db))


def _parts(db: Connection, kind: IndicatorType) -> Iterator[tuple[int, bytes, Members]]:
    for reputation in range(BLOCK_REPUTATION + 1):
        body = feeds.render_list(db, kind, reputation, None, hosts_only=False, min_reputation=reputation)
        if body.lines:
            yield reputation, body.lines, body.members


def changes_since(db: Connection, kind: IndicatorType, after_seq: int, most: int) -> Changes | None:
    """What changed after a change, oldest first; None when those are more than so many, or cannot all be told."""
    rows = db.rows(
        "SELECT c.indicator, c.change, coalesce(i.type, d.type), coalesce(i.value, d.value), "
        f"coalesce(f.reputation, i.reputation, 0) FROM {NAMED_CHANGES} "
        "LEFT JOIN fading f ON f.indicator = c.indicator WHERE c.seq > ? ORDER BY c.seq LIMIT ?",
        (after_seq, most + 1),
    )
    if len(rows) > most or any(value is None for _, _, _, value, _ in rows):
        return None
    first: dict[int, str] = {}
    last: dict[int, tuple[str, Entry]] = {}
    for pk, change, code, value, reputation in rows:
        if code == kind.code and change in {LISTED, UNLISTED}:
            first.setdefault(pk, change)
            last[pk] = change, Entry(pk, value, reputation)
    net = [entry for pk, (change, entry) in last.items() if first[pk] == change]
    return Changes(
        added=[entry for entry in net if last[entry.pk][0] == LISTED],
        removed=[entry for entry in net if last[entry.pk][0] == UNLISTED],
    )
