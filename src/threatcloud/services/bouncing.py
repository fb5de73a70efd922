"""The blocklist of addresses for CrowdSec's bouncers, who ask again and again what is new and what is over.

A bouncer says nothing of what it has received, so an answer may be lost without anybody knowing. Therefore what was
told is told again: an answer begins at a release that a bouncer was told long enough ago. Each change is in at least
two answers, and in all of the next ten minutes; whatever is told twice changes nothing, since decisions are sets.

Decisions end by themselves where nobody renews them. Whoever was told all that stands longer ago than half of their
duration is told all of it anew.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from threatcloud.domain.address import WIDTHS, Network, covering
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.times import DAY_MS, MINUTE_MS
from threatcloud.formats.compat import crowdsec
from threatcloud.formats.compat.crowdsec import ALL, Decision, Selection
from threatcloud.formats.feeds import find_format
from threatcloud.services.publishing import IDENTITY, Published, Publisher, publish
from threatcloud.services.rendering import Renderer, Shape
from threatcloud.storage import bouncers, feed_log, feeds, indicators
from threatcloud.storage.bouncers import Told
from threatcloud.storage.driver import Connection
from threatcloud.storage.feeds import Release
from threatcloud.storage.store import Clock, Store

AGAIN_MS: Final = 10 * MINUTE_MS
RENEW_MS: Final = crowdsec.DURATION_MS // 2
FORGET_MS: Final = 30 * DAY_MS
_LIST: Final = FeedList(IndicatorType.IP)
_SHAPE: Final = Shape(find_format("crowdsec"))


class Bouncing:
    """Answers bouncers."""

    def __init__(self, store: Store, publisher: Publisher, renderer: Renderer, clock: Clock) -> None:
        self._store = store
        self._publisher = publisher
        self._renderer = renderer
        self._clock = clock

    async def decisions(self, wanted: Selection) -> Published:
        """All decisions that are wanted, as JSON."""
        if wanted == ALL:
            return await self._renderer.get(_LIST, _SHAPE)
        return await self._renderer.derived(_LIST, _SHAPE, ("crowdsec", wanted), crowdsec.narrowed(wanted))

    async def on(self, network: Network, value: str) -> list[Decision]:
        """The decisions that hold for an address or network (and its canonical value): its own, and those around it."""
        around = covering(value, range(WIDTHS[network.version]))
        keys = [indicator_key(*Indicator(IndicatorType.IP, each)) for each in (*around, value)]
        found = await self._store.read(lambda db: feeds.standing_among(db, keys))
        return [crowdsec.decision(*each) for each in sorted(found)]

    async def stream(self, name: str | None, startup: bool, wanted: Selection) -> Published:
        """What is new and what is over for a bouncer, as JSON; all there is at its start.

        None is a bouncer that nobody knows again: it is always told all.
        """
        await self._publisher.start()
        # The release first: a list may hold a little more than it says, never less.
        release = self._publisher.release
        assert release is not None
        now = self._clock()
        told = None if name is None else await self._store.read(lambda db: bouncers.find(db, name))
        since = None
        if told is not None and not startup and now < told.whole_at + RENEW_MS:
            since = await self._publisher.known_release(told.older)
        if since is None or told is None:
            answer = await self._whole(release, wanted)
            after = Told(release.version, release.version, now, now)
        else:
            answer = await self._changes(since, release, wanted)
            after = _moved(told, release, now)
        if name is not None and after != told:
            await self._store.write(partial(bouncers.keep, name=name, told=after, forget_before=now - FORGET_MS))
        return answer

    async def _whole(self, release: Release, wanted: Selection) -> Published:
        """All that stands, and what is over as far back as is known."""
        standing = await self.decisions(wanted)

        async def make() -> Published:
            over, _ = await self._store.scan(lambda db: _between(db, feed_log.floor(db).seq, release.seq))
            body = crowdsec.stream(crowdsec.encoded(over, wanted), standing.bodies[IDENTITY])
            return publish(body, standing.entries, release.version, standing.generated_at)

        key = ("bouncer", "", release.version, wanted, standing.digest)
        return await self._publisher.renderings.get(key, make)

    async def _changes(self, since: Release, release: Release, wanted: Selection) -> Published:
        async def make() -> Published:
            over, new = await self._store.scan(lambda db: _between(db, since.seq, release.seq))
            body = crowdsec.stream(crowdsec.encoded(over, wanted), crowdsec.encoded(new, wanted))
            return publish(body, len(over) + len(new), release.version, release.at)

        return await self._publisher.shelf.get(("bouncer", since.version, release.version, wanted), make)


def _moved(told: Told, release: Release, now: int) -> Told:
    """Where the answer after this one begins."""
    if told.older == told.newer == release.version or now < told.newer_at + AGAIN_MS:
        return told
    return Told(told.newer, release.version, now, told.whole_at)


def _between(db: Connection, after_seq: int, to_seq: int) -> tuple[list[Decision], list[Decision]]:
    """What is over and what is new between two changes."""
    changes = feeds.changes_between(db, after_seq, to_seq, netted=False)
    over = _of_ip(changes.removed)
    new = _of_ip(changes.added)
    keys = {value: indicator_key(IndicatorType.IP, value) for value in new}
    said = indicators.briefs(db, sorted(keys.values()))
    categories = {value: said[key][4] for value, key in keys.items() if key in said}
    return (
        [crowdsec.decision(value, None, over=True) for value in over],
        [crowdsec.decision(value, categories.get(value)) for value in new],
    )


def _of_ip(changes: Sequence[tuple[str, str]]) -> list[str]:
    return [value for kind, value in changes if kind == IndicatorType.IP]
