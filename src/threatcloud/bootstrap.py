"""The composition root: settings become a store, services, jobs and applications, in one place."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, NamedTuple

from starlette.types import ASGIApp

from threatcloud.config import SettingError, Settings
from threatcloud.domain.access import ALL_SCOPES
from threatcloud.domain.address import Network
from threatcloud.domain.errors import Busy
from threatcloud.domain.network_map import MAP_BYTES
from threatcloud.domain.report import Role
from threatcloud.footprint import give_back_forever, tune_collector
from threatcloud.http.app import Gateway, make_app, make_local_app, make_metrics_app
from threatcloud.http.context import Services
from threatcloud.http.kept import KeptAnswers
from threatcloud.http.local_server import serve_local_socket, serve_loopback_port, socket_path
from threatcloud.http.rate_limit import TABLE_BYTES, RateLimiter, salt_table
from threatcloud.http.readers import Readers, Start
from threatcloud.http.relay import HomeProtocol, make_home_app
from threatcloud.http.routes import ENDPOINTS
from threatcloud.http.shared_limits import SharedLimiter
from threatcloud.jobs import Job, JobRunner
from threatcloud.outbound.client import Outbound
from threatcloud.services.access import LOCAL_OPERATOR, KeyDesk, KeyRing
from threatcloud.services.agents import Agents
from threatcloud.services.allowing import AllowDesk
from threatcloud.services.analytics import Analytics
from threatcloud.services.auditing import Auditing
from threatcloud.services.bouncing import Bouncing
from threatcloud.services.campaigns import Campaigns
from threatcloud.services.charts import Charts
from threatcloud.services.correlating import Correlator
from threatcloud.services.correlating_apart import CorrelatorProcess
from threatcloud.services.delivering import Delivering
from threatcloud.services.deltas import Deltas
from threatcloud.services.erasure import Erasure
from threatcloud.services.feeds import IndicatorFeed
from threatcloud.services.forgetting import Forgetting
from threatcloud.services.holding import Holding
from threatcloud.services.imports import Importing
from threatcloud.services.loading import LateScreener, make_screener
from threatcloud.services.lookup import Lookup
from threatcloud.services.maintenance import Maintenance
from threatcloud.services.misp_search import MispSearch
from threatcloud.services.pacing import Pace
from threatcloud.services.publishing import SAVE_EVERY_S, Publisher
from threatcloud.services.readiness import Readiness
from threatcloud.services.refreshing import RefreshLoop
from threatcloud.services.rendering import Renderer
from threatcloud.services.replaying import Replaying
from threatcloud.services.reporting import Reporting
from threatcloud.services.retention import Keeping, Retention
from threatcloud.services.rules import Rules
from threatcloud.services.screening import Screener, may_list
from threatcloud.services.secrets import Secret, load_secret
from threatcloud.services.sharing import agree_on_secret
from threatcloud.services.sources import Sources
from threatcloud.services.stream import Hub
from threatcloud.services.taxii import Taxii
from threatcloud.services.trapping import Trapping
from threatcloud.services.webhooks import WebhookDesk
from threatcloud.services.withdrawal import Withdrawing
from threatcloud.storage import keys
from threatcloud.storage.allowlist import CurrentAllowlist
from threatcloud.storage.board import BOARD_BYTES, board_in
from threatcloud.storage.driver import Connection
from threatcloud.storage.memory import Memory, own_memory, shared_memory
from threatcloud.storage.names import Names
from threatcloud.storage.opening import open_store
from threatcloud.storage.sqlite_store import ReadingStore, WritingStore
from threatcloud.storage.store import Store

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_TRY_AGAIN_S: Final = 0.1
_HOME_SOCKET: Final = ".home.sock"
#: With room for each part to begin on a line of its own.
_MEMORY_BYTES: Final = BOARD_BYTES + MAP_BYTES + TABLE_BYTES + 256


def domain_network(network: IPv4Network | IPv6Network) -> Network:
    """A network of a setting as the domain has it."""
    return Network(network.version, int(network.network_address), network.prefixlen)


def clock() -> int:
    """The current time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Parts(NamedTuple):
    """What the processes of one server have in common in memory."""

    board: memoryview
    networks: memoryview
    limits: memoryview


def parts_of(memory: Memory) -> Parts:
    """The parts of the memory of a server."""
    return Parts(board_in(memory.part(BOARD_BYTES)), memory.part(MAP_BYTES), memory.part(TABLE_BYTES))


@dataclass(frozen=True, slots=True)
class Node:
    """One opened system: its services, its jobs, and the memory it may share with other processes."""

    services: Services
    jobs: JobRunner
    maintenance: Maintenance
    delivering: Delivering
    memory: Memory

    def close(self) -> None:
        """Writes what waits and closes the store."""
        self.services.store.close()
        self.memory.close()

    def local_app(self) -> ASGIApp:
        """The application of the local socket, for this process to call itself."""
        return make_local_app(self.services)


class _Base(NamedTuple):
    """What services are made over."""

    store: Store
    names: Names
    ring: KeyRing
    secret: Secret
    screener: Screener
    limiter: RateLimiter
    memory: Memory
    started_s: float


async def open_node(settings: Settings, screener: Screener | None = None) -> Node:
    """Opens the database and makes every service over it; the caller closes it. The screener is loaded unless given.

    Raises what ``open_store``, ``load_secret`` and ``agree_on_secret`` raise.
    """
    settings.own_path.parent.mkdir(parents=True, exist_ok=True)
    own_secret = None if settings.database_url else load_secret(settings.secret_path)
    memory = (shared_memory if settings.workers > 1 else own_memory)(_MEMORY_BYTES)
    parts = parts_of(memory)
    salt_table(parts.limits)
    names = Names(parts.networks)
    try:
        store = open_store(
            settings.place, clock, parts.board, names, settings.database_pool, settings.database_read_url
        )
    except BaseException:
        memory.close()
        raise
    try:
        secret = own_secret or await agree_on_secret(store, settings.secret_file)
        await store.read(names.load)
        ring = KeyRing(secret, settings.api_keys)
        await store.read(ring.load)
        store.listen(_key_listener(ring, store, asyncio.get_running_loop()))
        limiter = RateLimiter(parts.limits)
        screener = screener or make_screener(settings)
        base = _Base(store, names, ring, secret, screener, limiter, memory, time.monotonic())
        node = _assemble(settings, base)
        if store.leads:  # what ended or was cut short while nothing ran, before anybody looks
            await node.services.allowlist.tend()
        return node
    except BaseException:
        store.close()
        memory.close()
        raise


class ReadingNode(NamedTuple):
    """The services of a process that only reads, and what reads anew what it keeps in memory beside the database."""

    services: Services
    reload: Callable[[Connection], None]


async def open_reader(settings: Settings, memory: Memory, started_s: float) -> ReadingNode:
    """Opens the database to read, over the memory of the process that writes, which started then."""
    secret = load_secret(settings.secret_path)
    parts = parts_of(memory)
    names = Names(parts.networks)
    store = ReadingStore(settings.db_path, parts.board, read_only=True, on_begin=names.follow)
    ring = KeyRing(secret, settings.api_keys)
    screener = LateScreener(settings)
    assert screener.attack is not None  # loaded before anybody waits for it

    def reload(db: Connection) -> None:
        ring.load(db)
        names.reload(db)

    base = _Base(store, names, ring, secret, screener, RateLimiter(parts.limits), memory, started_s)
    return ReadingNode(_assemble(settings, base).services, reload)


def make_readers(node: Node) -> Readers | None:
    """The processes that only read beside this one; None where it is to be alone."""
    settings, descriptor = node.services.settings, node.memory.descriptor
    if descriptor is None:
        return None
    home = socket_path(settings.own_path, _HOME_SOCKET)
    started_s = node.services.started_s
    return Readers(
        settings.workers - 1, descriptor, lambda sockets: Start(settings, descriptor, sockets, home, started_s)
    )


def _key_listener(ring: KeyRing, store: Store, loop: asyncio.AbstractEventLoop) -> Callable[[set[str]], None]:
    """Reloads the keys once a commit has changed them, before whoever made the change is answered."""
    tasks: set[asyncio.Task[None]] = set()

    async def load() -> None:
        while True:
            try:
                return await ring.reload(store)
            except Busy:  # until then a key that was revoked elsewhere would go on
                await asyncio.sleep(_TRY_AGAIN_S)

    def reload() -> None:
        task = loop.create_task(load())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def listener(topics: set[str]) -> None:
        if keys.TOPIC in topics:
            loop.call_soon_threadsafe(reload)

    return listener


def _assemble(settings: Settings, base: _Base) -> Node:
    store, names, ring, secret, screener = base[:5]
    queries = store.queries
    desk = KeyDesk(store, secret, clock, ring)
    audit = secret.audit
    publisher = Publisher(store, clock)
    renderer = Renderer(store, publisher, clock, judge=lambda db: may_list(screener, CurrentAllowlist().current(db)))
    auditing = Auditing(store, audit, clock)
    holding = Holding(store, audit)
    maintenance = Maintenance(store, names, holding, clock)
    pace = Pace()
    apart = CorrelatorProcess(settings, store) if isinstance(store, WritingStore) else None
    correlator = Correlator(store, screener, pace, apart)
    reporting = Reporting(store, names, screener, audit, clock, pace)
    keeping = Keeping(settings.retention_days, settings.purge_grace_days)
    withdrawing = Withdrawing(store, names, screener, desk, audit, keeping)
    retention = Retention(store, names, keeping, holding, clock)
    allowlist = AllowDesk(store, names, screener, audit, clock)
    outbound = Outbound([domain_network(item) for item in settings.outbound_allow])
    delivering = Delivering(store, names, secret, outbound, clock)
    importing = Importing(store, names, audit, clock, pace)
    folder = settings.db_path.absolute().parent
    screening = {
        **settings.screening_files,
        "db_path": str(settings.db_path.absolute()),
    }  # with what is kept beside it
    sources = Sources(store, names, importing, holding, outbound, audit, screening, folder, clock)
    forgetting = Forgetting(store, settings.sightings_kept_months, clock)
    table = _jobs(
        publisher, auditing, maintenance, correlator, allowlist, retention, withdrawing, delivering, sources, forgetting
    )
    runner = JobRunner(table, store, clock)
    services = Services(
        settings=settings,
        clock=clock,
        store=store,
        ring=ring,
        keys=desk,
        screener=screener,
        allowlist=allowlist,
        reporting=reporting,
        taxii=Taxii(queries, names, reporting),
        misp=MispSearch(queries, names),
        trapping=Trapping(store, names, screener, secret, correlator.match, clock),
        lookup=Lookup(queries, names, clock),
        analytics=Analytics(queries, clock),
        charts=Charts(queries, screener, clock),
        publisher=publisher,
        renderer=renderer,
        bouncing=Bouncing(store, publisher, renderer, clock),
        deltas=Deltas(store, publisher, renderer),
        feeds=IndicatorFeed(queries, names, clock),
        hub=Hub(store, names, ring),
        holding=holding,
        agents=Agents(store, publisher, clock),
        rules=Rules(store, audit, clock),
        campaigns=Campaigns(store, names, screener, audit, clock),
        auditing=auditing,
        importing=importing,
        sources=sources,
        replaying=Replaying(store, names, pace),
        erasure=Erasure(store, names, publisher, audit),
        withdrawing=withdrawing,
        readiness=Readiness(store, publisher, screener),
        jobs=runner.figures,
        webhooks=WebhookDesk(store, secret, outbound, delivering),
        limiter=base.limiter,
        pages=KeptAnswers(store),
        shared_limiter=SharedLimiter(settings.redis_url, secret.limits) if settings.redis_url else None,
        endpoints=ENDPOINTS,
        started_s=base.started_s,
    )
    return Node(services, runner, maintenance, delivering, base.memory)


def _jobs(
    publisher: Publisher,
    auditing: Auditing,
    maintenance: Maintenance,
    correlator: Correlator,
    allowlist: AllowDesk,
    retention: Retention,
    withdrawing: Withdrawing,
    delivering: Delivering,
    sources: Sources,
    forgetting: Forgetting,
) -> tuple[Job, ...]:
    """The job table: name, interval and time-out in seconds, function."""

    async def save() -> str:
        saved = await publisher.save()
        return f"{saved} lists stored" if saved else ""

    async def flush() -> str:
        entered = await auditing.flush()
        return f"{entered} entries" if entered else ""

    return (
        Job("audit-reads", _MINUTE_S, 30.0, flush, of_each_node=True),
        Job("save-feeds", float(SAVE_EVERY_S), _MINUTE_S, save),
        Job("correlate", 2.0, _HOUR_S, correlator.run),
        Job("expire", 1.0, _MINUTE_S, maintenance.expire),
        Job("allowlist", 1.0, _HOUR_S, allowlist.tend),
        Job("decay", _HOUR_S, _HOUR_S, maintenance.decay),
        Job("forget", _HOUR_S, _MINUTE_S, maintenance.forget),
        Job("retention", _HOUR_S, _HOUR_S, retention.retain),
        Job("prune", _HOUR_S, _HOUR_S, retention.prune),
        Job("withdraw", 5.0, _HOUR_S, withdrawing.resume),
        Job("webhooks", 1.0, _MINUTE_S, delivering.run),
        Job("forget-deliveries", _HOUR_S, _HOUR_S, delivering.prune),
        Job("poll-sources", 2.0, _MINUTE_S, sources.run),
        Job("measure-sources", _HOUR_S, _HOUR_S, sources.measure),
        Job("months", _HOUR_S, _HOUR_S, forgetting.run),
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
    return settings.own_path.with_name("first-key.txt")


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


@asynccontextmanager
async def _serve_readers(services: Services, readers: Readers | None) -> AsyncIterator[None]:
    """Answers what readers hand on, until the last has ended."""
    if readers is None:
        yield
        return
    path = socket_path(services.settings.own_path, _HOME_SOCKET)
    async with serve_local_socket(make_home_app(services), path, HomeProtocol):
        try:
            yield
        finally:
            await readers.end()


def make_server_app(node: Node, readers: Readers | None = None) -> ASGIApp:
    """The application of a server, whose lifespan publishes, runs the jobs, and drains the writer at the end."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        services = node.services
        tune_collector()
        refresh = RefreshLoop(services.publisher, services.store)
        path = socket_path(services.settings.own_path)
        async with (
            serve_local_socket(node.local_app(), path),
            serve_loopback_port(make_metrics_app(services), services.settings.metrics_port),
            _serve_readers(services, readers),
            asyncio.TaskGroup() as group,
        ):
            beside = (refresh.run(), node.jobs.run_forever(), give_back_forever())
            running = [group.create_task(work) for work in beside]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
        await node.delivering.stop()
        await services.sources.stop()
        await services.auditing.flush()
        await services.publisher.save()
        if services.shared_limiter is not None:
            await services.shared_limiter.close()

    return make_app(Gateway(node.services), lifespan)
