"""The composition root: settings become a store, services, jobs and applications, in one place."""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.types import ASGIApp

from threatcloud.config import SettingError, Settings
from threatcloud.domain.access import ALL_SCOPES
from threatcloud.domain.report import Role
from threatcloud.enrich.attack import load_attack
from threatcloud.enrich.geo import load_locator
from threatcloud.enrich.guard import load_guard
from threatcloud.http.app import make_app, make_local_app, make_metrics_app
from threatcloud.http.context import Services
from threatcloud.http.local_server import serve_local_socket, serve_loopback_port, socket_path
from threatcloud.http.routes import ENDPOINTS
from threatcloud.jobs import Job, JobRunner
from threatcloud.services.access import LOCAL_OPERATOR, KeyDesk, KeyRing
from threatcloud.services.agents import Agents
from threatcloud.services.allowing import AllowDesk
from threatcloud.services.analytics import Analytics
from threatcloud.services.auditing import Auditing
from threatcloud.services.campaigns import Campaigns
from threatcloud.services.charts import Charts
from threatcloud.services.correlating import Correlator
from threatcloud.services.erasure import Erasure
from threatcloud.services.feeds import IndicatorFeed
from threatcloud.services.holding import Holding
from threatcloud.services.imports import Importing
from threatcloud.services.lookup import Lookup
from threatcloud.services.maintenance import Maintenance
from threatcloud.services.pacing import Pace
from threatcloud.services.publishing import SAVE_EVERY_S, Publisher, RefreshLoop
from threatcloud.services.replaying import Replaying
from threatcloud.services.reporting import Reporting
from threatcloud.services.retention import Keeping, Retention
from threatcloud.services.rules import Rules
from threatcloud.services.screening import Screener
from threatcloud.services.secrets import Secret, load_secret
from threatcloud.services.trapping import Trapping
from threatcloud.services.withdrawal import Withdrawing
from threatcloud.storage import keys
from threatcloud.storage.names import Names
from threatcloud.storage.store import Store, open_store

_log = structlog.get_logger("bootstrap")
_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0


def clock() -> int:
    """The current time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def make_screener(settings: Settings) -> Screener:
    """The guard, the locator and ATT&CK, from packaged data and the operator's files; what is missing is logged.

    Where there is a database, the benign lists are kept beside it: making them takes most of a second.
    """
    own = sorted(settings.benign_lists.glob("*.txt")) if settings.benign_lists else []
    kept = settings.db_path.with_name(f"{settings.db_path.name}.benign") if settings.db_path.exists() else None
    loaded = load_guard(own, kept=kept)
    if loaded.missing:
        _log.warning("degraded: benign lists are missing", lists=loaded.missing)
    for problem in loaded.problems:
        _log.warning("own benign list", problem=problem)
    attack = load_attack(settings.attack_file)
    if attack.problem:
        _log.warning("degraded: no ATT&CK names", problem=attack.problem)
    return Screener(loaded.guard, load_locator(settings.geo_db, settings.asn_db), attack)


class LateScreener(Screener):
    """A screener that is loaded when it is first asked: most commands of the command line never need it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        vars(self).update(vars(make_screener(self._settings)))
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Node:
    """One opened system: its services, its jobs, and what refreshes its feeds."""

    services: Services
    jobs: JobRunner
    maintenance: Maintenance

    def close(self) -> None:
        """Writes what waits and closes the store."""
        self.services.store.close()

    def local_app(self) -> ASGIApp:
        """The application of the local socket, for this process to call itself."""
        return make_local_app(self.services)


async def open_node(settings: Settings, screener: Screener | None = None) -> Node:
    """Opens the database and makes every service over it; the caller closes it. The screener is loaded unless given.

    Raises what ``open_store`` and ``load_secret`` raise.
    """
    secret = load_secret(settings.secret_path)
    store = open_store(settings.db_path, clock)
    try:
        names = Names()
        await store.read(names.load)
        ring = KeyRing(secret, settings.api_keys)
        await store.read(ring.load)
        store.listen(_key_listener(ring, store, asyncio.get_running_loop()))
        desk = KeyDesk(store, secret, clock, ring)
        node = _assemble(settings, store, names, ring, desk, secret, screener or make_screener(settings))
        await node.services.allowlist.tend()  # what ended or was cut short while nothing ran, before anybody looks
        return node
    except BaseException:
        store.close()
        raise


def _key_listener(ring: KeyRing, store: Store, loop: asyncio.AbstractEventLoop) -> Callable[[set[str]], None]:
    """Reloads the keys once a commit has changed them, before whoever made the change is answered."""
    tasks: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(store.read(ring.load))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def listener(topics: set[str]) -> None:
        if keys.TOPIC in topics:
            loop.call_soon_threadsafe(reload)

    return listener


def _assemble(
    settings: Settings,
    store: Store,
    names: Names,
    ring: KeyRing,
    desk: KeyDesk,
    secret: Secret,
    screener: Screener,
) -> Node:
    audit = secret.audit
    publisher = Publisher(store, clock)
    auditing = Auditing(store, audit, clock)
    holding = Holding(store, audit)
    maintenance = Maintenance(store, names, holding, clock)
    pace = Pace()
    correlator = Correlator(store, screener, pace)
    keeping = Keeping(settings.retention_days, settings.purge_grace_days)
    withdrawing = Withdrawing(store, names, screener, desk, audit, keeping)
    retention = Retention(store, names, keeping, holding, clock)
    allowlist = AllowDesk(store, names, screener, audit, clock)
    table = _jobs(publisher, auditing, maintenance, correlator, allowlist, retention, withdrawing)
    runner = JobRunner(table, store, clock)
    services = Services(
        settings=settings,
        clock=clock,
        store=store,
        ring=ring,
        keys=desk,
        screener=screener,
        allowlist=allowlist,
        reporting=Reporting(store, names, screener, audit, clock),
        trapping=Trapping(store, names, screener, secret, correlator.match, clock),
        lookup=Lookup(store, names, clock),
        analytics=Analytics(store, clock),
        charts=Charts(store, screener, clock),
        publisher=publisher,
        feeds=IndicatorFeed(store, names, clock),
        holding=holding,
        agents=Agents(store, publisher, clock),
        rules=Rules(store, audit, clock),
        campaigns=Campaigns(store, names, screener, audit, clock),
        auditing=auditing,
        importing=Importing(store, names, audit, clock, pace),
        replaying=Replaying(store, names, pace),
        erasure=Erasure(store, names, publisher, audit),
        withdrawing=withdrawing,
        job_runs=lambda: list(runner.last_runs.values()),
        endpoints=ENDPOINTS,
    )
    return Node(services, runner, maintenance)


def _jobs(
    publisher: Publisher,
    auditing: Auditing,
    maintenance: Maintenance,
    correlator: Correlator,
    allowlist: AllowDesk,
    retention: Retention,
    withdrawing: Withdrawing,
) -> tuple[Job, ...]:
    """The job table: name, interval and time-out in seconds, function."""

    async def save() -> str:
        saved = await publisher.save()
        return f"{saved} lists stored" if saved else ""

    async def flush() -> str:
        entered = await auditing.flush()
        return f"{entered} entries" if entered else ""

    return (
        Job("audit-reads", _MINUTE_S, 30.0, flush),
        Job("save-feeds", float(SAVE_EVERY_S), _MINUTE_S, save),
        Job("correlate", 2.0, _HOUR_S, correlator.run),
        Job("expire", 1.0, _MINUTE_S, maintenance.expire),
        Job("allowlist", 1.0, _HOUR_S, allowlist.tend),
        Job("decay", _HOUR_S, _HOUR_S, maintenance.decay),
        Job("forget", _HOUR_S, _MINUTE_S, maintenance.forget),
        Job("retention", _HOUR_S, _HOUR_S, retention.retain),
        Job("prune", _HOUR_S, _HOUR_S, retention.prune),
        Job("withdraw", 5.0, _HOUR_S, withdrawing.resume),
    )


def check_exposure(settings: Settings, ring: KeyRing) -> None:
    """Refuses to listen beyond this machine while nobody could authenticate."""
    if not settings.is_loopback and not ring.has_any(clock()):
        raise SettingError(
            f"TC_HOST: got {settings.host!r}, which other machines can reach, and there is no API key; make one first: "
            "threat-cloud key create NAME --scope read --scope write, or set TC_API_KEYS"
        )


async def first_key(node: Node) -> str | None:
    """A key with every scope where there is none at all, else None."""
    if node.services.ring.has_any(clock()):
        return None
    new = await node.services.keys.create("first", ALL_SCOPES, Role.OPERATOR, None, LOCAL_OPERATOR)
    return new.key


def first_key_path(settings: Settings) -> Path:
    """Where the key made at first start is left when there is no terminal to show it on."""
    return settings.db_path.with_name("first-key.txt")


def announce_key(key: str, settings: Settings) -> Path | None:
    """Shows the key on a terminal, once; elsewhere leaves it in a file only its owner can read and gives its path."""
    if sys.stderr.isatty():
        return None
    path = first_key_path(settings)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return path


def tune_collector() -> None:
    """What was loaded stays, and batches make many objects but no cycles: a rare collection saves 15 % of an import."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def make_server_app(node: Node) -> ASGIApp:
    """The application of a server, whose lifespan publishes, runs the jobs, and drains the writer at the end."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        services = node.services
        tune_collector()
        refresh = RefreshLoop(services.publisher, services.store)
        path = socket_path(services.settings.db_path)
        async with (
            serve_local_socket(node.local_app(), path),
            serve_loopback_port(make_metrics_app(services), services.settings.metrics_port),
            asyncio.TaskGroup() as group,
        ):
            running = [group.create_task(refresh.run()), group.create_task(node.jobs.run_forever())]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
        await services.auditing.flush()
        await services.publisher.save()

    return make_app(node.services, lifespan)
