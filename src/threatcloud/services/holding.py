"""Hold-back: what time alone takes off a list leaves after each round of upkeep, unless that would halve a large list.

Such a list is held: all of it stands, also over restarts, until an operator confirms, or until so much has come back
that it is no longer halved. What anything but time takes off leaves a held list at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

import structlog

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.holding import HELD_TYPES, Hold, judged, list_name
from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage import fading, feeds, ledger
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.fading import Standing
from threatcloud.storage.store import Store

_KINDS: Final = {list_name(kind): kind for kind in HELD_TYPES}
_log = structlog.get_logger("holding")


class ListState(NamedTuple):
    """A default list: its entries; and while it is held, since when and how many a confirmation would leave."""

    name: str
    entries: int
    held_at: int | None
    would_have: int | None


class Holding:
    """Decides when what is fading leaves."""

    def __init__(self, store: Store, audit_secret: bytes) -> None:
        self._store = store
        self._audit_secret = audit_secret
        self._rounds = 0
        #: How many entries are held back, by list.
        self.held_back: dict[str, int] = dict.fromkeys(_KINDS, 0)

    @asynccontextmanager
    async def upkeep(self) -> AsyncIterator[None]:
        """A round of what takes entries off by time; when the last of those under way has ended, they are settled."""
        self._rounds += 1
        try:
            yield
        finally:
            self._rounds -= 1
        if not self._rounds:
            await self.settle()

    async def settle(self) -> None:
        """Has all that is fading leave, except from lists that are held."""
        for kind in await self._store.read(fading.to_settle):
            stands, known = await self._store.scan(partial(_stands, kind=kind))
            if known is not None and known.is_held and judged(known, known.since, *stands) == known:
                self._note(kind, known, stands)
                continue
            work = partial(self._settle, kind=kind, stands=stands)
            hold = await self._store.write(work)
            if hold is not None:
                self._report(kind, known, hold, stands)

    def _settle(self, tx: Transaction, kind: IndicatorType, stands: Standing) -> Hold | None:
        """The hold as it is now; None when more has faded since it was counted: then the next round settles it."""
        if fading.count(tx.db, kind) != stands.fading:
            return None
        hold = judged(fading.find_hold(tx.db, kind), tx.now, *stands)
        fading.put_hold(tx, kind, hold)
        if not hold.is_held:
            _let_go(tx, kind)
        return hold

    def _report(self, kind: IndicatorType, before: Hold | None, hold: Hold, stands: Standing) -> None:
        name, was_held = list_name(kind), before is not None and before.is_held
        self._note(kind, hold, stands)
        if hold.is_held and not was_held:
            _log.warning(
                "feed held",
                feed=name,
                entries=stands.entries,
                would_have=stands.entries - stands.fading,
                next_step=f"look at what happened, then: threat-cloud feed confirm {name}",
            )
        elif was_held and not hold.is_held:
            _log.warning("feed no longer held: enough has come back", feed=name)

    def _note(self, kind: IndicatorType, hold: Hold, stands: Standing) -> None:
        self.held_back[list_name(kind)] = stands.fading if hold.is_held else 0

    async def confirm(self, name: str, by: Caller) -> ListState:
        """Has all that a held list holds back leave now; NotFound for no list of ours, Conflict when it is not held."""
        kind = _KINDS.get(name)
        if kind is None:
            raise NotFound(f"there is no feed {name!r} that could be held; there are {', '.join(_KINDS)}")
        left = await self._store.write(partial(self._confirm, kind=kind, by=by))
        self.held_back[name] = 0
        _log.warning("feed confirmed", feed=name, entries=left.entries)
        return left

    def _confirm(self, tx: Transaction, kind: IndicatorType, by: Caller) -> ListState:
        stands, known = _stands(tx.db, kind)
        name = list_name(kind)
        if known is None or not known.is_held:
            raise Conflict(f"{name} is not held")
        left = stands.entries - stands.fading
        fading.put_hold(tx, kind, Hold(tx.now, left))
        _let_go(tx, kind)
        details = {"feed": name, "before": stands.entries, "after": left}
        ledger.append(tx, self._audit_secret, ledger.Act("update", "feed", by.mask, by.address, details))
        return ListState(name, left, None, None)

    async def lists(self) -> list[ListState]:
        """Every default list, in a fixed order."""
        return await self._store.scan(lambda db: [_state(db, kind) for kind in HELD_TYPES])


def _stands(db: Connection, kind: IndicatorType) -> tuple[Standing, Hold | None]:
    return fading.standing(db, kind), fading.find_hold(db, kind)


def _state(db: Connection, kind: IndicatorType) -> ListState:
    stands, hold = _stands(db, kind)
    is_held = hold is not None and hold.is_held
    left = stands.entries - stands.fading
    return ListState(list_name(kind), stands.entries, hold.held_at if hold else None, left if is_held else None)


def _let_go(tx: Transaction, kind: IndicatorType) -> None:
    fading.let_go(tx, kind)
    tx.announce(feeds.feed_topic(kind))
