"""Correlation of a whole store from nothing, and of some new values then, in a process of its own.

    python -m bench.correlating DATABASE VALUES

changes the database: all that correlation found before is forgotten. Indicators are timed apart from what
sightings say of them, of which the newest will do.
"""

import asyncio
import json
import shutil
import sys
from pathlib import Path

from bench import processes
from bench.figures import Figures
from bench.fill import Filling
from bench.served import Site
from threatcloud.bootstrap import clock
from threatcloud.config import load_settings
from threatcloud.footprint import tune_collector
from threatcloud.services.loading import make_screener
from threatcloud.storage.correlation import Place, keep_place, place
from threatcloud.storage.driver import Transaction
from threatcloud.storage.facts import last_sighting
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store

NEW = 10_000
_SIGHTINGS = 500_000
#: All that follows from comparing, and how far it got.
_TABLES = (
    "feature",
    "feature_name",
    "campaign",
    "campaign_member",
    "campaign_event",
    "campaign_ban",
    "correlation_due",
)


def measure(site: Site) -> Figures:
    """The seconds of both, on a copy and on the server's core, with no server running."""
    site.stop()
    copy = site.new_folder() / "copy.db"
    shutil.copyfile(site.database, copy)
    fresh = copy.with_name("fresh.txt")
    fresh.write_text("\n".join(site.fresh(NEW)), "utf-8")
    arguments = ["-m", "bench.correlating", str(copy), str(fresh)]
    told: Figures = json.loads(processes.output_of(processes.pinned(processes.SERVER_CORE, arguments)))
    copy.unlink()
    return told


async def _correlate(path: Path, fresh: list[str]) -> Figures:
    store = open_store(path, clock)
    try:
        await store.write(_forget)
        filling = Filling(store, Names(), make_screener(load_settings({}, {})))
        await store.read(filling.names.load)
        tune_collector()
        indicators_s = await filling.correlate()
        sightings = await store.write(_forget_sightings)
        sightings_s = await filling.correlate()
        await filling.add(fresh, 0, "new values")
        new_s = await filling.correlate()
        return {"indicators s": indicators_s, "sightings/s": sightings / sightings_s, "10k new s": new_s}
    finally:
        store.close()


def _forget(tx: Transaction) -> None:
    """Has all indicators, and no sighting, before it."""
    for table in _TABLES:
        tx.db.run(f"DELETE FROM {table}")
    keep_place(tx, Place(sighting=last_sighting(tx.db)))


def _forget_sightings(tx: Transaction) -> int:
    """Has the newest sightings before it again; gives how many."""
    last = last_sighting(tx.db)
    count = min(_SIGHTINGS, last)
    keep_place(tx, place(tx.db)._replace(sighting=last - count))
    return count


if __name__ == "__main__":
    values = Path(sys.argv[2]).read_text("utf-8").split()
    print(json.dumps(asyncio.run(_correlate(Path(sys.argv[1]), values))))
