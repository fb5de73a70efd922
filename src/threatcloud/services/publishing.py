"""Publication: lists are rendered once after a change, compressed once, and served from memory.

The lists everybody loads are rendered anew within a second of a change; other selections when they are next asked for.
A list whose members are the same keeps its bytes, its time and its ETag, though scores behind it have moved.
"""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from functools import partial
from typing import Final, NamedTuple

import structlog
import zstandard

from threatcloud.domain.feed import FeedList, next_version, plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import SECOND_MS
from threatcloud.storage import feeds
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.feeds import ListBody, Release, SavedSnapshot
from threatcloud.storage.store import Clock, Store

DEFAULT_LISTS: Final = (FeedList(IndicatorType.IP), FeedList(IndicatorType.DOMAIN))
REFRESH_S: Final = 0.5
SAVE_EVERY_S: Final = 60
MAX_OTHER_LISTS: Final = 24
MAX_OTHER_BYTES: Final = 64 * 1024 * 1024
_GZIP_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3

_log = structlog.get_logger("publishing")


class Published(NamedTuple):
    """A rendered list in every coding it is served in. ``modified_s`` differs between any two versions of a list."""

    generated_at: int
    modified_s: int
    entries: int
    fingerprint: str
    digest: str
    bodies: dict[str, bytes]

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return sum(map(len, self.bodies.values()))


class Publisher:
    """Keeps the published lists."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._default: dict[FeedList, Published] = {}
        self._other: OrderedDict[FeedList, Published] = OrderedDict()
        self._stale: set[FeedList] = set()
        self._building: dict[FeedList, asyncio.Lock] = {}
        self._unsaved: set[FeedList] = set()
        self._release: Release | None = None
        self.refreshed_at = 0

    async def start(self) -> None:
        """Takes up the saved bodies and renders what has changed since."""
        for saved in await self._store.scan(feeds.load_snapshots):
            for wanted in DEFAULT_LISTS:
                if saved.name == _name(wanted):
                    self._default[wanted] = _unpack(saved)
        await self.refresh(DEFAULT_LISTS)

    async def get(self, wanted: FeedList) -> Published:
        """The list as it stands now, rendered first where nobody has asked for it since it changed."""
        known = self._default.get(wanted) or self._other.get(wanted)
        if known is not None and (wanted.is_default or wanted not in self._stale):
            return known
        async with self._building.setdefault(wanted, asyncio.Lock()):
            known = self._other.get(wanted)
            if known is not None and wanted not in self._stale:
                return known
            self._stale.discard(wanted)
            published = await self._render(wanted, known)
            self._keep_other(wanted, published)
            return published

    async def refresh(self, lists: tuple[FeedList, ...]) -> int:
        """Renders default lists anew and enters a release when anything published changed; gives how many changed."""
        changed = 0
        for wanted in lists:
            known = self._default.get(wanted)
            published = await self._render(wanted, known)
            if published is not known:
                self._default[wanted] = published
                self._unsaved.add(wanted)
                changed += 1
        await self._enter_release()
        self.refreshed_at = self._clock()
        return changed

    def mark_stale(self, kinds: set[IndicatorType]) -> tuple[FeedList, ...]:
        """Notes that lists of these types have changed; gives the default ones, which are to be refreshed now."""
        self._stale |= {wanted for wanted in self._other if wanted.type in kinds}
        return tuple(wanted for wanted in DEFAULT_LISTS if wanted.type in kinds)

    async def save(self) -> int:
        """Stores the default bodies that changed since they were stored; gives how many."""
        due, self._unsaved = self._unsaved, set()
        for wanted in due:
            body = self._default[wanted]
            saved = SavedSnapshot(_name(wanted), body.generated_at, body.entries, body.fingerprint, body.bodies["zstd"])
            await self._store.write(partial(feeds.save_snapshot, snapshot=saved))
        return len(due)

    def figures(self) -> dict[str, Published]:
        """The default lists by name, for metrics."""
        return {_name(wanted): published for wanted, published in self._default.items()}

    @property
    def release(self) -> Release | None:
        """The newest release of the agent package."""
        return self._release

    async def _render(self, wanted: FeedList, known: Published | None) -> Published:
        now = self._clock()

        def read(db: Connection) -> Published:
            body = feeds.render_list(db, wanted.type, wanted.max_reputation, wanted.category, wanted.hosts_only)
            if known is not None and known.fingerprint == body.fingerprint:
                return known
            return _pack(wanted, body, now, known)

        return await self._store.scan(read)

    def _keep_other(self, wanted: FeedList, published: Published) -> None:
        self._other[wanted] = published
        self._other.move_to_end(wanted)
        while len(self._other) > MAX_OTHER_LISTS or sum(p.size for p in self._other.values()) > MAX_OTHER_BYTES:
            oldest, _ = self._other.popitem(last=False)
            self._stale.discard(oldest)
            self._building.pop(oldest, None)

    async def _enter_release(self) -> None:
        seq = await self._store.read(feeds.last_change)
        newest = self._release or await self._store.read(feeds.newest_release)
        if newest is not None and newest.seq >= seq:
            self._release = newest
            return

        def work(tx: Transaction) -> Release:
            last = feeds.newest_release(tx.db)
            release = Release(next_version(last.version if last else None, tx.now), seq, tx.now)
            feeds.add_release(tx, release)
            return release

        self._release = await self._store.write(work)


class RefreshLoop:
    """Listens for commits that touch feeds and has the publisher refresh, at most every half second."""

    def __init__(self, publisher: Publisher, store: Store) -> None:
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._due: set[IndicatorType] = set()
        self._wake = asyncio.Event()
        store.listen(self._committed)

    def _committed(self, topics: set[str]) -> None:
        kinds = {kind for kind in IndicatorType if feeds.feed_topic(kind) in topics}
        if kinds:
            self._loop.call_soon_threadsafe(self._note, kinds)

    def _note(self, kinds: set[IndicatorType]) -> None:
        self._due |= kinds
        self._publisher.mark_stale(kinds)
        self._wake.set()

    async def run(self) -> None:
        """Refreshes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            kinds, self._due = self._due, set()
            changed = await self._publisher.refresh(self._publisher.mark_stale(kinds))
            _log.debug("published", lists=changed)
            await asyncio.sleep(REFRESH_S)


def _name(wanted: FeedList) -> str:
    return f"{wanted.type.value}-blocklist"


def _pack(wanted: FeedList, body: ListBody, now: int, before: Published | None) -> Published:
    text = plain_header(wanted.type, now, body.entries) + body.lines
    modified_s = max(now // SECOND_MS, before.modified_s + 1 if before else 0)
    return _published(text, body.entries, body.fingerprint, now, modified_s)


def _published(text: bytes, entries: int, fingerprint: str, generated_at: int, modified_s: int) -> Published:
    bodies = {
        "identity": text,
        "gzip": gzip.compress(text, _GZIP_LEVEL, mtime=0),
        "zstd": zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(text),
    }
    digest = hashlib.sha256(text).hexdigest()[:32]
    return Published(generated_at, modified_s, entries, fingerprint, digest, bodies)


def _unpack(saved: SavedSnapshot) -> Published:
    text = zstandard.ZstdDecompressor().decompress(saved.body_zstd)
    return _published(text, saved.entries, saved.fingerprint, saved.generated_at, saved.generated_at // SECOND_MS)
