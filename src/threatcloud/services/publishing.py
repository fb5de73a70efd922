"""Publication: a list is rendered once after a change, compressed once when it is first asked for, served from memory.

The lists everybody loads are rendered anew within a second of a change; other selections when they are next asked for.
A list whose members are the same keeps its bytes, its time and its ETag, though scores behind it have moved.
"""

import asyncio
import gzip
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import zstandard

from threatcloud.domain.feed import FeedList, is_version, next_version, plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import SECOND_MS
from threatcloud.services.kept_list import KeptList
from threatcloud.services.shelf import Shelf
from threatcloud.storage import feeds, rules
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.feeds import ListBody, Release, SavedSnapshot
from threatcloud.storage.store import Clock, Store

DEFAULT_LISTS: Final = (FeedList(IndicatorType.IP), FeedList(IndicatorType.DOMAIN))
SAVE_EVERY_S: Final = 60
MAX_OTHER_LISTS: Final = 24
MAX_OTHER_BYTES: Final = 64 * 1024 * 1024
MAX_SHELVED: Final = 100
MAX_SHELVED_BYTES: Final = 48 * 1024 * 1024
MAX_RENDERINGS: Final = 50
MAX_RENDERED_BYTES: Final = 96 * 1024 * 1024
IDENTITY: Final = "identity"
_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    # A million addresses: 5.5 MB in 0.22 s, where the next levels take half as long again for a twentieth less.
    "gzip": lambda text: gzip.compress(text, 2, mtime=0),
    # 5.0 MB in 0.05 s; level 3 takes 0.18 s and saves nothing.
    "zstd": lambda text: zstandard.ZstdCompressor(level=1).compress(text),
}
CODINGS: Final = (IDENTITY, *_ENCODERS)


class Published(NamedTuple):
    """A rendered list in the codings that were asked for. ``modified_s`` differs between any two versions of a list."""

    generated_at: int
    modified_s: int
    entries: int
    fingerprint: str
    digest: str
    bodies: dict[str, bytes]
    #: Entries that a limit of the format cut off, and values that it cannot say, by reason.
    truncated: int = 0
    left_out: Mapping[str, int] = MappingProxyType({})
    #: Addresses in it that nobody listed.
    collateral: int = 0

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
        self._kept = {wanted: KeptList(store, wanted.type) for wanted in DEFAULT_LISTS}
        self._other: OrderedDict[FeedList, Published] = OrderedDict()
        self._stale: set[FeedList] = set()
        self._building: dict[FeedList, asyncio.Lock] = {}
        self._unsaved: set[FeedList] = set()
        self._encoding = asyncio.Lock()
        self._release: Release | None = None
        self._refreshing = asyncio.Lock()
        self._is_started = False
        #: When it was last said that lists may have changed, and since when one has waited to be looked at.
        self._changed_s = 0.0
        self._waits_since_s: float | None = None
        #: Deltas and packages: everybody who follows asks for the same few.
        self.shelf: Shelf[Published] = Shelf(MAX_SHELVED, MAX_SHELVED_BYTES)
        #: Lists in other formats, which may be long; apart, so that they do not push out what agents ask for.
        self.renderings: Shelf[Published] = Shelf(MAX_RENDERINGS, MAX_RENDERED_BYTES)

    async def start(self) -> None:
        """Takes up the saved bodies and renders what has changed since; at once when that was done before.

        Whoever needs the default lists calls this first and waits: a server answers other requests meanwhile.
        """
        if self._is_started:
            return
        async with self._refreshing:
            if not self._is_started:
                await self._take_up()
                if self._store.leads or self._release is None:
                    await self._refresh({wanted.type for wanted in DEFAULT_LISTS})
                self._is_started = True

    @property
    def is_started(self) -> bool:
        """Whether the default lists are there to be served."""
        return self._is_started

    async def _take_up(self) -> None:
        """What was stored and is not here yet, by a node that rendered it or before a restart."""
        known = {wanted: (published.generated_at, published.fingerprint) for wanted, published in self._default.items()}

        def read(db: Connection) -> tuple[Release | None, list[tuple[FeedList, SavedSnapshot | None]]]:
            moved = [
                (wanted, feeds.load_snapshot(db, _name(wanted)))
                for wanted in DEFAULT_LISTS
                if feeds.snapshot_time(db, _name(wanted)) != known.get(wanted)
            ]
            return feeds.newest_release(db), moved

        release, moved = await self._store.scan(read)
        fresh = {wanted: await asyncio.to_thread(_unpack, saved) for wanted, saved in moved if saved is not None}
        for wanted in fresh:
            self._kept[wanted].forget()
        # At once: who got the list from before with the version of now would never hear of what lies between.
        self._release = release
        self._default |= fresh

    async def get(self, wanted: FeedList) -> Published:
        """The list as it stands now, rendered first where nobody has asked for it since it changed."""
        await self.start()
        known = self._default.get(wanted) or self._other.get(wanted)
        if known is not None and wanted not in self._stale:
            return known
        async with self._building.setdefault(wanted, asyncio.Lock()):
            known = self._other.get(wanted)
            if known is not None and wanted not in self._stale:
                return known
            self._stale.discard(wanted)
            try:
                published = await self._render(wanted, known)
            except BaseException:  # whoever asked may have hung up
                self._stale.add(wanted)
                raise
            self._keep_other(wanted, published)
            return published

    async def body(self, published: Published, coding: str) -> bytes:
        """The list in a coding, compressed in a thread the first time: under a bulk import versions come and go."""
        known = published.bodies.get(coding)
        if known is None:
            async with self._encoding:
                known = published.bodies.get(coding)
                if known is None:
                    known = await asyncio.to_thread(_ENCODERS[coding], published.bodies[IDENTITY])
                    published.bodies[coding] = known
        return known

    async def known_release(self, version: str) -> Release | None:
        """The release of a version; None when it is none, or too old."""
        return await self._store.read(lambda db: feeds.find_release(db, version)) if is_version(version) else None

    async def renew(self, kinds: set[IndicatorType]) -> None:
        """Renders lists of these types anew and stores every default list: of older bodies nothing is left."""
        self.forget()
        await self.start()
        async with self._refreshing:
            await self._refresh(kinds)
        self._unsaved |= self._default.keys()
        await self.save()

    def forget(self) -> None:
        """Lets go of what was rendered for who asked: something in it was erased."""
        self.shelf.clear()
        self.renderings.clear()
        for kept in self._kept.values():
            kept.forget()
        self._stale |= {*self._other, *self._building}

    async def refresh(self, kinds: set[IndicatorType]) -> int:
        """Renders the default lists of these types anew, and of those whose members changed since the last release,
        then enters the next release; gives how many lists changed.

        The release ends at the change that was the last before rendering: a list may hold a little more than its
        release says, never less, so that a delta from it loses nothing. Of several nodes one renders, and the others
        take up what it has stored.
        """
        await self.start()
        async with self._refreshing:
            began_s = time.monotonic()
            if self._store.is_shared:
                await self._take_up()
            changed = await self._refresh(kinds) if self._store.leads else 0
            self._waits_since_s = began_s if self._changed_s > began_s else None
            return changed

    async def _refresh(self, kinds: set[IndicatorType]) -> int:
        after = self._release.seq if self._release else 0
        (seq, more), rules_at = await self._store.scan(
            lambda db: (feeds.changed_since(db, after), rules.last_change(db))
        )
        self.mark_stale(more)
        fresh: dict[FeedList, Published] = {}
        for wanted in DEFAULT_LISTS:
            if wanted.type not in kinds | more:
                continue
            known = self._default.get(wanted)
            published = await self._renew(wanted, known, whole=wanted.type in kinds)
            if published is not known:
                fresh[wanted] = published
        await self._release_lists(fresh, seq, rules_at)
        return len(fresh)

    def note_change(self) -> None:
        """Notes that lists may have changed: from now on they wait to be looked at."""
        self._changed_s = time.monotonic()
        self._waits_since_s = self._waits_since_s or self._changed_s

    def waiting_s(self) -> float:
        """For how long what may have changed lists has waited to be published; 0 when nothing does."""
        return time.monotonic() - self._waits_since_s if self._waits_since_s else 0.0

    async def _saved(self, wanted: FeedList, known: Published) -> SavedSnapshot:
        body = await self.body(known, "zstd")
        return SavedSnapshot(_name(wanted), known.generated_at, known.entries, known.fingerprint, body)

    def mark_stale(self, kinds: set[IndicatorType]) -> None:
        """Notes that lists of these types have changed: those that are no default are rendered when asked for."""
        self._stale |= {wanted for wanted in (*self._other, *self._building) if wanted.type in kinds}

    async def save(self) -> int:
        """Stores the default bodies that changed since they were stored; gives how many."""
        due, self._unsaved = self._unsaved, set()
        for wanted in due:
            await self._store.write(partial(_store_lists, lists=[await self._saved(wanted, self._default[wanted])]))
        return len(due)

    def figures(self) -> dict[str, Published]:
        """The default lists by name, for metrics."""
        return {_name(wanted): published for wanted, published in self._default.items()}

    async def version(self) -> str:
        """The version of the newest release, empty before the first."""
        await self.start()
        return self._release.version if self._release else ""

    @property
    def release(self) -> Release | None:
        """The newest release of the agent package; None before the start."""
        return self._release

    async def _renew(self, wanted: FeedList, known: Published | None, *, whole: bool) -> Published:
        """A default list as it stands now."""
        text = await self._kept[wanted].read(_later(known, self._clock()), whole=whole)
        entries, fingerprint = text.members.entries, text.members.fingerprint
        if known is not None and known.fingerprint == fingerprint:
            return known
        return await asyncio.to_thread(publish, text.text, entries, fingerprint, text.head.at)

    async def _render(self, wanted: FeedList, known: Published | None) -> Published:
        # A default list is stored by the node that leads: to agree on its time here would store an empty one.
        now, is_agreed = self._clock(), self._store.is_shared and wanted not in DEFAULT_LISTS

        def read(db: Connection) -> tuple[ListBody, tuple[int, str] | None]:
            body = feeds.render_list(db, *wanted)
            return body, feeds.snapshot_time(db, _name(wanted)) if is_agreed else None

        body, agreed = await self._store.scan(read)
        if known is not None and known.fingerprint == body.fingerprint:
            return known
        generated_at = _later(known, now)
        if is_agreed:
            if agreed is None or agreed[1] != body.fingerprint:
                agreed = await self._store.write(partial(_agree, wanted=wanted, body=body, at=generated_at))
            generated_at = agreed[0]
        return await asyncio.to_thread(_pack, wanted, body, generated_at)

    def _keep_other(self, wanted: FeedList, published: Published) -> None:
        self._other[wanted] = published
        self._other.move_to_end(wanted)
        while len(self._other) > MAX_OTHER_LISTS or sum(p.size for p in self._other.values()) > MAX_OTHER_BYTES:
            oldest, _ = self._other.popitem(last=False)
            self._stale.discard(oldest)
            self._building.pop(oldest, None)

    async def _release_lists(self, fresh: dict[FeedList, Published], seq: int, rules_at: int) -> None:
        """Serves these lists from now on, with the version that names them: nobody sees the one without the other."""
        unsaved = self._unsaved | fresh.keys()
        try:
            known = self._release
            if known is None or known.seq < seq or known.rules_at < rules_at:
                lists: list[SavedSnapshot] = []
                if self._store.is_shared:  # together, so that every node has the lists of its version
                    served = self._default | fresh
                    lists = [await self._saved(wanted, served[wanted]) for wanted in unsaved]
                self._release = await self._store.write(partial(_add_release, lists=lists, seq=seq, rules_at=rules_at))
                unsaved = set() if lists else unsaved
        finally:  # where no release can be entered, too: on a full disk, say
            self._default |= fresh
            self._unsaved = unsaved


def _later(known: Published | None, now: int) -> int:
    """The time of a list that is not the known one: another second."""
    return max(now, (known.modified_s + 1) * SECOND_MS) if known else now


def _name(wanted: FeedList) -> str:
    name = f"{wanted.type.value}-blocklist"
    if wanted in DEFAULT_LISTS:
        return name
    return f"{name} {wanted.max_reputation} {wanted.category or '*'} {'hosts' if wanted.hosts_only else 'all'}"


def _add_release(tx: Transaction, lists: Sequence[SavedSnapshot], seq: int, rules_at: int) -> Release:
    """Enters the next release, with what it brings."""
    _store_lists(tx, lists)
    last = feeds.newest_release(tx.db)
    release = Release(next_version(last.version if last else None, tx.now), seq, tx.now, rules_at)
    feeds.add_release(tx, release)
    tx.announce(feeds.PUBLISHED)
    return release


def _store_lists(tx: Transaction, lists: Sequence[SavedSnapshot]) -> None:
    """Stores rendered lists, and has other nodes take them up."""
    for saved in lists:
        feeds.save_snapshot(tx, saved)
        tx.announce(feeds.PUBLISHED)


def _agree(tx: Transaction, wanted: FeedList, body: ListBody, at: int) -> tuple[int, str]:
    """The time of a list that nodes render for themselves, the same on all: that of the first to render it as it is."""
    agreed = feeds.snapshot_time(tx.db, _name(wanted))
    if agreed is not None and agreed[1] == body.fingerprint:
        return agreed
    if agreed is not None:
        at = max(at, agreed[0] + SECOND_MS)
    feeds.save_snapshot(tx, SavedSnapshot(_name(wanted), at, body.entries, body.fingerprint, b""))
    return at, body.fingerprint


def _pack(wanted: FeedList, body: ListBody, generated_at: int) -> Published:
    text = plain_header(wanted.type, generated_at, body.entries) + body.lines
    return publish(text, body.entries, body.fingerprint, generated_at)


def publish(text: bytes, entries: int, fingerprint: str, generated_at: int) -> Published:
    """A body as it is published, in no coding yet."""
    digest = hashlib.sha256(text).hexdigest()[:32]
    return Published(generated_at, generated_at // SECOND_MS, entries, fingerprint, digest, {IDENTITY: text})


def _unpack(saved: SavedSnapshot) -> Published:
    text = zstandard.ZstdDecompressor().decompress(saved.body_zstd)
    published = publish(text, saved.entries, saved.fingerprint, saved.generated_at)
    published.bodies["zstd"] = saved.body_zstd
    return published
