"""What the default lists gained and lost between two versions, in the formats of those who load them.

The text of a delta between two given versions never changes its members, so it is kept, and whoever has it may keep it.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from threatcloud.domain.errors import Gone, invalid
from threatcloud.domain.feed import Detail, FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds import Format, check, check_all, check_delta
from threatcloud.formats.feeds.order import Order, Part, bare_lines
from threatcloud.services.publishing import IDENTITY, Published, Publisher
from threatcloud.services.rendering import Renderer
from threatcloud.storage import feeds
from threatcloud.storage.driver import Connection
from threatcloud.storage.feeds import Membership, Release
from threatcloud.storage.store import Store

_WAY_OUT: Final = "load the whole list, whose X-Feed-Version names a version"
#: What a list was may have been a little longer than what it is.
_NEARLY: Final = 0.9


class Between(NamedTuple):
    """A delta, and the versions it lies between."""

    since: str
    to: str
    published: Published


class Deltas:
    """Reads the log of changes."""

    def __init__(self, store: Store, publisher: Publisher, renderer: Renderer) -> None:
        self._store = store
        self._publisher = publisher
        self._renderer = renderer

    async def get(
        self,
        kinds: Sequence[IndicatorType],
        format_: Format,
        since: str,
        to: str | None = None,
        *,
        is_all: bool = False,
    ) -> Between:
        """What changed in the default lists of these types from one version to another, or to the present one.

        Raises Gone for a version that is unknown or too old and where the format takes no list so long, InvalidInput
        when the format cannot say it.
        """
        for kind in kinds:
            if is_all:
                check_all(format_)
            else:
                check(format_, kind, aggregate=False)
        needs_lists = check_delta(format_).needs_lists
        await self._publisher.start()
        before = await self._publisher.known_release(since)
        after = self._publisher.release if to is None else await self._publisher.known_release(to)
        if before is None or after is None:
            raise Gone(f"there is no delta since {since if before is None else to}; {_WAY_OUT}")
        if after.seq < before.seq:
            raise invalid("since", "is a later version than the other")
        said = [kind for kind in kinds if kind in format_.kinds]
        await self._check_limits(said, format_)

        async def render() -> Published:
            pieces = await self._store.scan(
                lambda db: [_pieces(db, kind, before, after, format_.detail, needs_lists) for kind in said]
            )
            parts, lines, entries = [], [], 0
            for kind, pair in zip(said, pieces, strict=True):
                for piece in pair:
                    parts.append(Part(kind, after.at, len(piece)))
                    lines.append(piece)
                    entries += piece.count(b"\n")
            order = Order(format_.name, tuple(parts), versions=(before.version, after.version))
            return await self._renderer.carry_out(order, b"".join(lines), entries, after.at)

        key = ("delta", tuple(said), format_, before.version, after.version)
        return Between(before.version, after.version, await self._publisher.shelf.get(key, render))

    async def _check_limits(self, kinds: Sequence[IndicatorType], format_: Format) -> None:
        """Gone where a list is so long that whoever reads the format has only a part of it."""
        for kind in kinds:
            most, most_bytes = format_.limits.get(kind), format_.most_bytes
            if most is None and most_bytes is None:
                continue
            known = await self._publisher.get(FeedList(kind))
            size = len(known.bodies[IDENTITY])
            if known.entries > _NEARLY * (most or inf) or size > _NEARLY * (most_bytes or inf):
                raise Gone(f"{kind}-blocklist is longer than {format_.name} takes, so no delta makes it; {_WAY_OUT}")


def _pieces(
    db: Connection, kind: IndicatorType, before: Release, after: Release, detail: Detail, needs_lists: bool
) -> tuple[bytes, bytes]:
    """Lines of what was added to the list of a type, and of what was removed; or of the whole lists of both times."""
    if needs_lists:
        return _lists(db, kind, before, after)
    added, removed = _of_type(feeds.changes_between(db, before.seq, after.seq, netted=False), kind)
    gone = bare_lines(detail, removed, iso(after.at))
    if detail is Detail.VALUE:
        return bare_lines(detail, added, ""), gone
    return feeds.entry_lines(db, kind, added, detail), gone


def _lists(db: Connection, kind: IndicatorType, before: Release, after: Release) -> tuple[bytes, bytes]:
    """The lines of a default list as of one version, and as of an earlier one."""
    known = feeds.render_list(db, *FeedList(kind)).lines.decode().split("\n")[:-1]
    now = feeds.last_change(db)
    then = _without(known, _of_type(feeds.changes_between(db, after.seq, now), kind))
    earlier = _without(then, _of_type(feeds.changes_between(db, before.seq, after.seq), kind))
    return bare_lines(Detail.VALUE, then, ""), bare_lines(Detail.VALUE, earlier, "")


def _without(values: list[str], changes: tuple[list[str], list[str]]) -> list[str]:
    """What a list was before it changed."""
    added, removed = set(changes[0]), changes[1]
    return [value for value in values if value not in added] + removed


def _of_type(changes: Membership, kind: IndicatorType) -> tuple[list[str], list[str]]:
    added, removed = ([value for type_, value in values if type_ == kind] for values in changes)
    return added, removed
