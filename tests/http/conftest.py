"""A real server for black-box tests: its own database, its own thread and event loop, real sockets."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import structlog
import uvloop

from tests.engines import Engine, Place
from threatcloud.bootstrap import make_server_app, open_node
from threatcloud.config import Settings, load_settings
from threatcloud.http.serve import Server
from threatcloud.services.loading import make_screener
from threatcloud.services.screening import Screener

OPERATOR: Final = "opskey-0123456789abcdef"
READER: Final = "readonly-0123456789abcdef"
FEEDS_ONLY: Final = "feedsonly-0123456789abcdef"
WRITER: Final = "writeonly-0123456789abcdef"
AGENT: Final = "agentkey-0123456789abcdef"
HONEYPOT: Final = "honeypot-0123456789abcdef"
COMMUNITY: Final = tuple(f"community{number}-0123456789abcdef" for number in range(4))
ENTRIES: Final = (
    f"{OPERATOR}:read+write+audit+admin",
    f"{READER}:read",
    f"{FEEDS_ONLY}:feeds",
    f"{WRITER}:write",
    f"{AGENT}:read+write@agent",
    f"{HONEYPOT}:read+write@honeypot",
    *(f"{key}:write@community" for key in COMMUNITY),
)
MANY: Final = "1000000"
DEFAULTS: Final = {
    "TC_PORT": "0",
    "TC_API_KEYS": ",".join(ENTRIES),
    "TC_RATE_LIMIT_READ": MANY,
    "TC_RATE_LIMIT_WRITE": MANY,
    "TC_RATE_LIMIT_FEED": MANY,
    "TC_RATE_LIMIT_ANONYMOUS": MANY,
}
START_S: Final = 30.0
STOP_S: Final = 20.0

structlog.configure(
    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
)


class Api(httpx.Client):
    """A client of one server that sends one key (or none)."""

    def __init__(self, url: str, key: str | None = OPERATOR, headers: Mapping[str, str] | None = None) -> None:
        authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        sent = {**authorization, **(headers or {})}
        # Nothing is verified because nothing is TLS: to load the certificates takes longer than most tests.
        super().__init__(base_url=url, headers=sent, trust_env=False, verify=False, timeout=30)

    def report(self, *items: Mapping[str, Any]) -> Any:
        """Reports and gives the answer's data; ``items`` as ``item`` makes them."""
        return ok(self.post("/api/threats", json={"threats": list(items)}), 201)

    def sight(self, value: str, source: str = "manual", **more: Any) -> Any:
        """Records a sighting and gives the answer's data."""
        return ok(self.post("/api/sightings", json={"value": value, "source": source, **more}), 201)

    def detail(self, value: str) -> Any:
        """Everything about a known indicator."""
        return ok(self.get(f"/api/iocs/{encoded(value)}"))

    def blocked(self, kind: str = "ip", **params: Any) -> list[str]:
        """The values of a blocklist."""
        answer = self.get(f"/api/feeds/{kind}-blocklist", params=params)
        assert answer.status_code == 200, answer.text
        return [line for line in answer.text.splitlines() if not line.startswith("#")]


class LiveServer:
    """A server that answers from the moment this exists until ``stop``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._clients: list[Api] = []
        self._server: Server | None = None
        url: Future[str] = Future()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="server")
        self._done = self._pool.submit(self._run, url)
        self._done.add_done_callback(lambda done: _pass_on(done, url))
        self.url = url.result(START_S)

    def _run(self, url: Future[str]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(url))

    async def _serve(self, url: Future[str]) -> None:
        node = await open_node(self.settings, _screener(self.settings))
        app: Any = make_server_app(node)
        self._server = Server(app, host=self.settings.host, port=self.settings.port, on_started=url.set_result)
        try:
            await self._server.serve(self._server._sockets)
        finally:
            node.close()

    def client(self, key: str | None = OPERATOR, headers: Mapping[str, str] | None = None) -> Api:
        """A new client, closed with the server."""
        client = Api(self.url, key, headers)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """Stops as on SIGTERM: requests in flight are answered, the writer drains."""
        for client in self._clients:
            client.close()
        if self._server is not None:
            self._server.should_exit = True
        self._done.result(STOP_S)
        self._pool.shutdown()


_screeners: Final[dict[object, Screener]] = {}


def _screener(settings: Settings) -> Screener:
    """One for each choice of lists: nothing changes them, and to read them takes longer than most tests."""
    files = settings.benign_lists, settings.attack_file, settings.geo_db, settings.asn_db
    known = _screeners.get(files)
    if known is None:
        known = _screeners[files] = make_screener(settings)
    return Screener(known.guard, known.locator, known.attack)


def _pass_on(done: Future[None], url: Future[str]) -> None:
    """A server that failed before it answered: whoever waits for its URL gets the error."""
    error = done.exception()
    if error is not None and not url.done():
        url.set_exception(error)


Start = Callable[..., LiveServer]


def _settings(folder: Path, place: Place, changes: Mapping[str, str]) -> Settings:
    where = {"TC_DB_PATH": str(folder / "threat-cloud.db")}
    if not isinstance(place, Path):
        where["TC_DATABASE_URL"] = place
    return load_settings(flags={}, environ={**DEFAULTS, **where, **changes}, folder=folder)


def serve_in(folder: Path, engine: Engine, changes: Mapping[str, str]) -> LiveServer:
    """A running server of its own folder and database with changed settings; the caller stops it."""
    return LiveServer(_settings(folder, engine.place(folder.name), changes))


@pytest.fixture
def start(engine: Engine, tmp_path: Path) -> Iterator[Start]:
    """``start(TC_PUBLIC_READ="true")`` starts a server with changed settings; the database is the same each time."""
    running: list[LiveServer] = []

    def start_one(**changes: str) -> LiveServer:
        running.append(serve_in(tmp_path, engine, changes))
        return running[-1]

    yield start_one
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def server(module_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all cheap tests of a module; each uses values of its own."""
    live = serve_in(tmp_path_factory.mktemp("server"), module_engine, {})
    yield live
    live.stop()


@pytest.fixture(scope="module")
def api(server: LiveServer) -> Api:
    """The operator's client of the module's server."""
    return server.client()


_numbers: Final = itertools.count(1)


def fresh_ip() -> str:
    """A global address that no test has used and no benign list knows."""
    high, low = divmod(next(_numbers), 250)
    return f"91.240.{high}.{low + 1}"


def fresh_domain() -> str:
    """A domain name that no test has used."""
    return f"bad-{next(_numbers)}.xyz"


def item(value: str | None = None, kind: str = "ip", source: str = "manual", **more: Any) -> dict[str, Any]:
    """A report that, from an operator, puts its indicator on a blocklist."""
    said = {"type": kind, "value": fresh_ip() if value is None else value, "source": source}
    return {**said, "severity": "high", "confidence": 0.9, **more}


def encoded(value: str) -> str:
    """The value as one path segment."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in value.encode())


def ok(answer: httpx.Response, status: int = 200) -> Any:
    """The data of an answer that must be good."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["ok"] is True
    return body["data"]


def refused(answer: httpx.Response, status: int, code: str) -> Any:
    """The failure envelope of an answer that must be a refusal of this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"ok", "error", "code", "details", "requestId"}
    assert body["ok"] is False
    assert body["code"] == code
    assert body["error"]
    assert body["requestId"] == answer.headers["x-request-id"]
    return body


def bad_fields(answer: httpx.Response) -> list[str]:
    """The fields a 400 names."""
    details = refused(answer, 400, "invalid")["details"]
    assert all(detail["reason"] for detail in details)
    return [detail["field"] for detail in details]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something becomes true in this time; looked at twenty times a second."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
