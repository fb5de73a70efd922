"""Sources: lists of others that are fetched regularly, taken up as a whole, and judged by what they bring.

What a source drops ends with it: its listing does, and the indicator itself where nobody else says anything of it.
A list that doubles, halves or empties within a day is not taken up until an operator confirms it, or until it is again
as it was: what was taken up last stands meanwhile.
"""

import asyncio
import hashlib
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog

from threatcloud.domain.access import ALL_SCOPES, Caller
from threatcloud.domain.errors import Conflict, DomainError, NotFound, invalid
from threatcloud.domain.outbound import OutboundRefused
from threatcloud.domain.polled import RENEW_MS, Figures, Known, Terms, taken_up, wait_ms, why_held
from threatcloud.domain.report import Role
from threatcloud.outbound.client import Limits, Order, Outbound, Unreachable
from threatcloud.services.holding import Holding
from threatcloud.services.imports import ImportChunk, Importing
from threatcloud.services.recording import reassess
from threatcloud.services.source_reading import Reading, chunks_in, read_source
from threatcloud.storage import ledger, polled
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.polled import PolledSource
from threatcloud.storage.store import Clock, Store

MAX_SOURCES: Final = 500
MAX_FETCHED_BYTES: Final = 64 * 1024 * 1024
_LIMITS: Final = Limits(total_s=120.0, connect_s=10.0, answer_bytes=MAX_FETCHED_BYTES)
#: Lists that are read at the same time: each has a process of its own.
_AT_ONCE: Final = 2
_SLICE_ROWS: Final = 5_000
_UNIT_ROWS: Final = 250
_MEASURED_ROWS: Final = 50_000
#: What fetched files lie in while they are read.
_FOLDERS: Final = ".source-"
_decode_chunk: Final = msgspec.json.Decoder(ImportChunk).decode
_log = structlog.get_logger("sources")


class Sources:
    """Keeps the sources. What they do without being asked is in the ledger under no key."""

    def __init__(
        self,
        store: Store,
        names: Names,
        importing: Importing,
        holding: Holding,
        outbound: Outbound,
        audit_secret: bytes,
        screening: Mapping[str, str],
        folder: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._names = names
        self._importing = importing
        self._holding = holding
        self._outbound = outbound
        self._audit_secret = audit_secret
        self._screening = screening
        self._folder = folder
        self._clock = clock
        self._chance = random.Random()  # noqa: S311 - spreads polls
        self._running: dict[int, asyncio.Task[str]] = {}
        self._is_clean = False

    async def add(self, name: str, url: str, terms: Terms, by: Caller) -> PolledSource:
        """A new source, polled soon; InvalidInput for a URL that can never be fetched, Conflict for a name that is
        taken, or when there are too many."""
        try:
            found = self._outbound.check(url)
        except OutboundRefused as error:
            raise invalid("url", error.message) from None

        def work(tx: Transaction) -> PolledSource:
            if polled.find(tx.db, name) is not None:
                raise Conflict(f"there is a source {name} already; remove it first, or give this one another name")
            if len(polled.all_sources(tx.db)) >= MAX_SOURCES:
                raise Conflict(f"there are {MAX_SOURCES} sources already; remove one first")
            polled.add(tx, PolledSource(0, name, found.url, terms, Known(), Figures(), tx.now, tx.now, by.mask))
            self._enter(tx, "create", name, found.url, by)
            return _stored(tx, name)

        return await self._store.write(work)

    async def list(self) -> list[PolledSource]:
        """Every source, by name."""
        return [item for item in await self._store.read(polled.all_sources) if item.removed_at is None]

    async def remove(self, name: str, by: Caller) -> PolledSource:
        """Removes a source; what it lists ends soon after. NotFound when there is none."""

        def work(tx: Transaction) -> PolledSource:
            source = _stored(tx, name)
            polled.want_removed(tx, source.pk)
            self._enter(tx, "delete", name, source.url, by)
            return source

        return await self._store.write(work)

    async def confirm(self, name: str, by: Caller) -> PolledSource:
        """Has a held list taken up as it is at the next poll, which is now; NotFound, Conflict when it is not held."""

        def work(tx: Transaction) -> None:
            source = _stored(tx, name)
            if source.known.held_since is None:
                raise Conflict(f"{name} is not held")
            known = source.known._replace(confirmed=True, etag="", modified="", digest="")
            polled.put_known(tx, source.pk, known, tx.now)
            self._enter(tx, "update", name, source.url, by, confirmed=source.known.held_entries)

        await self._store.write(work)
        return await self.poll(name)

    async def poll(self, name: str) -> PolledSource:
        """Polls a source now, or waits for the poll that is under way; NotFound when there is none."""
        source = await self._store.read(partial(polled.find, name=name))
        if source is None or source.removed_at is not None:
            raise _no_source(name)
        await asyncio.shield(self._task(source))
        self._running.pop(source.pk, None)
        found = await self._store.read(partial(polled.find, name=name))
        if found is None:
            raise _no_source(name)
        return found

    def _task(self, source: PolledSource) -> asyncio.Task[str]:
        task = self._running.get(source.pk)
        if task is None or task.done():
            task = self._running[source.pk] = asyncio.create_task(self._poll(source))
        return task

    async def run(self) -> str:
        """A round: begins the polls that are due, those that waited longest first, a few at a time; says what came of
        those that have ended."""
        if not self._is_clean:
            self._is_clean = True
            await asyncio.to_thread(self._clear_folders)
        ended = [pk for pk, task in self._running.items() if task.done()]
        said = [self._running.pop(pk).result() for pk in ended]
        now = self._clock()
        due = [item for item in await self._store.read(polled.all_sources) if item.due_at <= now]
        due = sorted((item for item in due if item.pk not in self._running), key=lambda item: item.due_at)
        for source in due[: max(0, _AT_ONCE - len(self._running))]:
            self._task(source)
        return "; ".join(text for text in said if text)

    def _clear_folders(self) -> None:
        """Removes what a kill left."""
        for folder in self._folder.glob(f"{_FOLDERS}*"):
            if not folder.name.startswith(_own_folders()):
                shutil.rmtree(folder, ignore_errors=True)

    async def stop(self) -> None:
        """Breaks off the polls under way: what is stored stays, and the next poll does all of it."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _poll(self, source: PolledSource) -> str:
        if source.removed_at is not None:
            return await self._end(source)
        now = self._clock()
        with tempfile.TemporaryDirectory(prefix=_own_folders(), dir=self._folder) as folder:
            try:
                known, said = await self._fetched(source, Path(folder), now)
            except (DomainError, OSError) as error:
                reason = error.message if isinstance(error, DomainError) else str(error)
                known = source.known._replace(failures=source.known.failures + 1, problem=reason)
                said = f"{source.name}: {reason}"
        known = known._replace(checked_at=now)
        wait = wait_ms(source.terms.every_ms, known.failures, self._chance.random())
        await self._store.write(partial(_note, source=source, known=known, wait=wait))
        return said

    async def _fetched(self, source: PolledSource, folder: Path, now: int) -> tuple[Known, str]:
        """What is known after a fetch, and what it did in words."""
        known = source.known
        is_old = now - known.applied_at >= RENEW_MS
        conditions = {} if is_old else {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
        sent = {"Accept-Encoding": "gzip", **{name: value for name, value in conditions.items() if value}}
        path, digest = folder / "fetched", hashlib.sha256()
        with path.open("wb") as file:

            def take(piece: bytes) -> None:
                digest.update(piece)
                file.write(piece)

            reply = await self._outbound.send(Order("GET", source.url, sent, follows=True), _LIMITS, take)
        if reply.status == 304:
            return known._replace(answered_at=now, failures=0, problem=None), ""
        if reply.status != 200:
            raise Unreachable(f"answered {reply.status}")
        known = known._replace(
            answered_at=now,
            failures=0,
            problem=None,
            etag=reply.headers.get("etag", ""),
            modified=reply.headers.get("last-modified", ""),
        )
        if digest.hexdigest() == known.digest and not is_old:
            return known, ""
        return await self._read(source, known._replace(digest=digest.hexdigest()), path, now)

    async def _read(self, source: PolledSource, known: Known, path: Path, now: int) -> tuple[Known, str]:
        run = f"poll_{secrets.token_hex(8)}"
        reading = await read_source(path, run, source.name, source.terms, self._screening)
        if reading.rejected and not reading.values:
            raise Unreachable(f"none of its {reading.rejected:,} lines could be read; choose another format")
        changed = known.changed_at if known.digest == source.known.digest and known.changed_at else now
        known = known._replace(changed_at=changed)
        why = why_held(known, reading.values)
        if why is not None:
            since = known.held_since or now
            if known.held_since is None:
                next_step = f"look at it, then: threat-cloud source confirm {source.name}"
                _log.warning("source held", source=source.name, why=why, next_step=next_step)
            held = known._replace(held_since=since, held_entries=reading.values, held_why=why, etag="", modified="")
            return held._replace(digest=""), f"{source.name}: held: {why}"
        new, dropped = await self._take_up(source, run, reading)
        known = taken_up(known, now, reading.values)
        known = known._replace(rejected=reading.rejected, new=new, dropped=dropped)
        return known, f"{source.name}: {reading.values} entries, {new} new, {dropped} dropped"

    async def _take_up(self, source: PolledSource, run: str, reading: Reading) -> tuple[int, int]:
        """Stores a list; how many values are new on it, and how many it no longer has."""
        await self._importing.begin(run, source.name, _ITSELF)
        began = await self._store.write(lambda tx: tx.now)
        new = 0
        for body in chunks_in(reading.chunks):
            counts = await self._importing.store(_decode_chunk(body))
            new += counts.new + counts.updated
        dropped = await self._end_listings(source.name, began)
        summary = {"source": source.name, "values": reading.values, "new": new, "dropped": dropped}
        await self._importing.finish(run, summary, _ITSELF)
        return new, dropped

    async def _end_listings(self, name: str, before: int) -> int:
        """Ends what a source has not confirmed since a time; what leaves the lists by that may be held."""
        ended, after_pk = 0, 0
        source = await self._store.write(partial(_source_pk, names=self._names, name=name))
        async with self._holding.upkeep():
            while True:
                read = partial(polled.dropped, source=source, before=before, after_pk=after_pk, rows=_SLICE_ROWS)
                last, keys = await self._store.scan(read)
                if last is None:
                    return ended
                for first in range(0, len(keys), _UNIT_ROWS):
                    some = keys[first : first + _UNIT_ROWS]
                    await self._store.write(partial(self._end_some, source=source, before=before, keys=some), bulk=True)
                ended, after_pk = ended + len(keys), last

    def _end_some(self, tx: Transaction, source: int, before: int, keys: Sequence[bytes]) -> None:
        polled.end_listings(tx, source, before, keys)
        reassess(tx, self._names, keys)

    async def _end(self, source: PolledSource) -> str:
        """Ends all that a removed source lists, then forgets it."""
        before = await self._store.write(lambda tx: tx.now)
        ended = await self._end_listings(source.name, before + 1)
        await self._store.write(lambda tx: polled.remove(tx, source.pk))
        return f"{source.name} removed, {ended} listings ended"

    async def measure(self) -> str:
        """Finds anew what each source is worth beside the others; says of how many."""
        sources = await self.list()
        if not sources:
            return ""
        sums: dict[int, Figures] = {}
        after_pk = 0
        while True:
            last, found = await self._store.scan(partial(polled.measure, after_pk=after_pk, rows=_MEASURED_ROWS))
            if last is None:
                break
            for pk, figures in found.items():
                sums[pk] = Figures(*map(sum, zip(sums.get(pk, Figures()), figures, strict=True)))
            after_pk = last

        def work(tx: Transaction) -> None:
            for item in sources:
                pk = _source_pk(tx, self._names, item.name)
                polled.put_figures(tx, item.pk, sums.get(pk, Figures()))

        await self._store.write(work)
        return f"{len(sources)} sources measured"

    def _enter(self, tx: Transaction, action: str, name: str, url: str, by: Caller, **more: object) -> None:
        details = {"source": name, "url": url, **more}
        ledger.append(tx, self._audit_secret, ledger.Act(action, "source", by.mask, by.address, details))


#: Who polls.
_ITSELF: Final = Caller("local", Role.OPERATOR, ALL_SCOPES, "", "")


def _own_folders() -> str:
    """How the folders of this process begin."""
    return f"{_FOLDERS}{os.getpid()}-"


def _note(tx: Transaction, source: PolledSource, known: Known, wait: int) -> None:
    """Notes what came of a poll; what an operator confirmed meanwhile is for the next one, at once."""
    current = polled.find(tx.db, source.name)
    if current is not None and current.known.confirmed and not source.known.confirmed:
        known, wait = known._replace(confirmed=True, etag="", modified="", digest=""), 0
    polled.put_known(tx, source.pk, known, tx.now + wait)


def _source_pk(tx: Transaction, names: Names, name: str) -> int:
    names.ensure_sources(tx, (name,))
    return names.source_pk(name)


def _stored(tx: Transaction, name: str) -> PolledSource:
    source = polled.find(tx.db, name)
    if source is None or source.removed_at is not None:
        raise _no_source(name)
    return source


def _no_source(name: str) -> NotFound:
    return NotFound(f"there is no source {name}; see: threat-cloud source list")
