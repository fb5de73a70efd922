"""Fills a store the way the server does: listings and reports through ``services/recording.py``, then correlation.

Nothing is written beside the services, so every counter, rollup and list is what it would be after as many requests.
It is fast because all reports of some thousand values go in one unit of work, values in the order in which they
appeared, so that a unit touches few pages of the rollups.

    python -m bench.fill DATABASE 100k
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import history
from bench.history import Seen
from bench.sizes import SIZES, Size
from bench.values import origin, values
from threatcloud.bootstrap import clock
from threatcloud.config import load_settings
from threatcloud.domain.evidence import Listing
from threatcloud.domain.indicator import Indicator, IndicatorType, InvalidIndicator, detect, indicator_key
from threatcloud.domain.report import CATEGORIES, Report, Role, Severity
from threatcloud.footprint import tune_collector
from threatcloud.services.correlating import Correlator
from threatcloud.services.loading import make_screener
from threatcloud.services.pacing import Pace
from threatcloud.services.publishing import Publisher
from threatcloud.services.recording import Listed, Prepared, record_listings, record_reports
from threatcloud.services.screening import Screened, Screener
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store
from threatcloud.storage.store import Store

SOURCE = "feed:bench"
#: Of a store's size, such a part of each other kind is added, so that charts by type and correlation have work.
OTHERS = {"domains": 20, "urls": 40, "hashes": 40}
_CHUNK_VALUES = 4_000
_DELTA_VALUES = 5_000


class Filled(msgspec.Struct, frozen=True):
    """What a filled store holds, and how long it took; ``version`` is the feed's before the last values came."""

    size: str
    indicators: int
    sightings: int
    values: str
    filled_at: float
    version: str
    filled_s: float
    correlated_s: float
    megabytes: int


class _Told(NamedTuple):
    """A chunk on its way in: what the bulk source lists, and what was reported of it."""

    listed: list[tuple[Indicator, bytes, Screened]]
    said: list[tuple[tuple[str, Role], Prepared]]


def fill(path: Path, size: Size) -> Filled:
    """Makes the database and fills it."""
    return asyncio.run(_fill(path, size))


async def _fill(path: Path, size: Size) -> Filled:
    before = values("ips", 0, size.indicators)
    after = values("ips", size.indicators, delta_values(size))
    others = [value for kind, part in OTHERS.items() for value in values(kind, 0, size.indicators // part)]
    store = open_store(path, clock)
    try:
        filling = Filling(store, Names(), make_screener(load_settings({}, {})))
        await store.read(filling.names.load)
        tune_collector()
        started_s = time.perf_counter()
        await filling.add(before, size.sightings, "addresses")
        await filling.add(others, 0, "other values")
        filled_s = time.perf_counter() - started_s
        rate = (filling.done.values + filling.done.sightings) / filled_s
        print(
            f"{filling.done.values:,} listings and {filling.done.sightings:,} sightings: {rate:,.0f} rows/s",
            file=sys.stderr,
        )
        publisher = Publisher(store, clock)
        await publisher.start()
        assert publisher.release is not None
        version = publisher.release.version
        await filling.add(after, 0, "a day's change")
        correlated_s = await filling.correlate()
        await publisher.start()
        await publisher.renew({IndicatorType.IP, IndicatorType.DOMAIN})
    finally:
        store.close()
    done = filling.done
    return Filled(
        size.name,
        done.values,
        done.sightings,
        origin("ips", size.indicators),
        time.time(),
        version,
        filled_s,
        correlated_s,
        path.stat().st_size >> 20,
    )


def delta_values(size: Size) -> int:
    """How many values enter the lists after the version from which deltas are asked."""
    return min(_DELTA_VALUES, size.indicators // 2)


class _Done(NamedTuple):
    """What was stored so far."""

    values: int = 0
    sightings: int = 0


class Filling:
    """Adds values to an open store."""

    def __init__(self, store: Store, names: Names, screener: Screener) -> None:
        self._store = store
        self.names = names
        self._screener = screener
        self.done = _Done()

    async def add(self, texts: Sequence[str], sightings: int, what: str) -> None:
        """Stores the values, listed by one source, with so many sightings made up for them."""
        started_s = time.perf_counter()
        waiting: asyncio.Task[_Done] | None = None
        taken = 0
        for chunk in _chunks(texts, sightings, clock()):
            told = self._prepare(chunk)
            if waiting is not None:  # the writer works while the next chunk is prepared
                self._note(await waiting)
            waiting = asyncio.create_task(self._store.write(partial(self._record, told=told), bulk=True))
            await asyncio.sleep(0)
            taken += len(chunk)
            _progress(what, taken, len(texts), started_s)
        if waiting is not None:
            self._note(await waiting)
        print(file=sys.stderr)

    def _note(self, more: _Done) -> None:
        self.done = _Done(self.done.values + more.values, self.done.sightings + more.sightings)

    def _prepare(self, chunk: Sequence[tuple[str, list[Seen]]]) -> _Told:
        told = _Told([], [])
        for text, seen in chunk:
            with suppress(InvalidIndicator):
                indicator = detect(text)
                key, screened = indicator_key(*indicator), self._screener.screen(indicator, False)
                told.listed.append((indicator, key, screened))
                for item in seen:
                    report = Report(indicator, key, False, item.source, item.observed_at, *item.said)
                    told.said.append((item.reporter, Prepared(report, screened)))
        return told

    def _record(self, tx: Transaction, told: _Told) -> _Done:
        voices = {voice: self.names.ensure_reporter(tx, *voice) for voice in history.REPORTERS}
        feed = self.names.ensure_reporter(tx, SOURCE, Role.FEED)
        listings = {
            category: Listing(feed.pk, SOURCE, tx.now, tx.now, None, category, Severity.HIGH, 0.9)
            for category in CATEGORIES
        }
        listed = [Listed(*item, listings[CATEGORIES[item[1][0] % len(CATEGORIES)]]) for item in told.listed]
        recorded, _ = record_listings(tx, self.names, SOURCE, listed)
        if told.said:
            record_reports(tx, self.names, [(voices[voice], prepared) for voice, prepared in told.said])
        return _Done(sum(item.is_new for item in recorded.values()), len(told.said))

    async def correlate(self) -> float:
        """Lets correlation catch up; gives the seconds it took."""
        started_s = time.perf_counter()
        print("correlation ...", end="", file=sys.stderr, flush=True)
        await Correlator(self._store, self._screener, Pace()).run()
        took_s = time.perf_counter() - started_s
        print(f" {took_s:.1f} s", file=sys.stderr)
        return took_s


def _chunks(texts: Sequence[str], sightings: int, now: int) -> Iterator[list[tuple[str, list[Seen]]]]:
    """Some thousand values at a time, with what is made up of each."""
    told = zip(texts, history.past(len(texts), sightings, now), strict=True)
    while chunk := list(itertools.islice(told, _CHUNK_VALUES)):
        yield chunk


def _progress(what: str, done: int, total: int, started_s: float) -> None:
    rate = done / (time.perf_counter() - started_s)
    print(f"\r{what}: {done:,} of {total:,}, {rate:,.0f} a second ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(msgspec.json.encode(fill(Path(sys.argv[1]), SIZES[sys.argv[2]])).decode())
