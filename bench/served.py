"""The store of one size with its server: what every measurement is given."""

import http.client
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from bench import machine, processes
from bench.figures import NotMeasured
from bench.fill import Filled, delta_values
from bench.sizes import SIZES
from bench.values import values
from threatcloud.domain.indicator import IndicatorType

KEY = "bench-key-0123456789"
_PER_CONNECTION = {"date", "connection", "transfer-encoding"}
_LIMITS = ("READ", "WRITE", "FEED")
_QUIET_S = 3
#: What a server uses while nothing but its timers runs.
_IDLE_CPU_S = 0.15
_PIECE_BYTES = 1 << 20


class Effort(NamedTuple):
    """How much is spent on a figure: rounds, and seconds of load in each."""

    rounds: int
    seconds: float


class Answer(NamedTuple):
    """One answer of the server, without what every server sets itself."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A database of its own in a folder, and the server over it, started when it is first needed."""

    def __init__(self, folder: Path, filled: Filled, effort: Effort) -> None:
        self.folder = folder
        self.filled = filled
        self.effort = effort
        self.database = folder / "bench.db"
        self.port = processes.free_port()
        self._running = ExitStack()
        self._pid: int | None = None
        self._folders = 0
        size = SIZES[filled.size]
        self._taken = {"ips": size.indicators + delta_values(size)}

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the server, and of a command line that speaks to it: everything on, limits out of reach."""
        return {
            "TC_DB_PATH": str(self.database),
            "TC_API_KEYS": f"{KEY}:read+write+audit+admin",
            "TC_PORT": str(self.port),
            "TC_LOG_LEVEL": "warning",
            **{f"TC_RATE_LIMIT_{name}": "1000000" for name in _LIMITS},
        }

    @property
    def pid(self) -> int:
        """The server's process, at rest when it had to be started."""
        if self._pid is None:
            self.start()
            self.rest()
        assert self._pid is not None
        return self._pid

    def start(self, *, workers: int = 1, core: str | None = processes.SERVER_CORE) -> float:
        """Starts the server; gives the seconds until it answered."""
        started_s = time.perf_counter()
        serve = processes.serving(
            ["-m", "threatcloud", "serve", "--workers", str(workers)], self.port, self.environment, core
        )
        self._pid = self._running.enter_context(serve)
        return time.perf_counter() - started_s

    def stop(self) -> None:
        """Stops the server, if it runs."""
        self._running.close()
        self._pid = None

    def rest(self, *, most_s: float = 1800) -> None:
        """Returns once the server has done what was left to do (correlation, lists) and idles, and the system has the
        whole database in memory, as where one has run for long: some machines take out what was not read for a while.
        """
        pid, until_s = self.pid, time.monotonic() + most_s
        while time.monotonic() < until_s:
            before_s = machine.cpu_s(pid)
            time.sleep(_QUIET_S)
            if machine.cpu_s(pid) - before_s < _IDLE_CPU_S:
                self._read_through()
                return
        raise NotMeasured("the server does not come to rest")

    def _read_through(self) -> None:
        with self.database.open("rb") as file:
            while file.read(_PIECE_BYTES):
                pass

    def memory(self) -> dict[str, float]:
        """Memory of the server in MB, by name; nothing while none runs."""
        return {f"{name} MB": value for name, value in machine.memory_mb(self._pid).items()} if self._pid else {}

    def new_folder(self) -> Path:
        """An empty folder for one measurement."""
        self._folders += 1
        folder = self.folder / f"row{self._folders}"
        folder.mkdir()
        return folder

    def query(self, sql: str, *params: Any) -> list[Any]:
        """Rows of the database, read beside the server."""
        connection = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close()

    def known(self, count: int) -> list[str]:
        """Stored addresses, from all over the table, always the same ones."""
        step = max(1, self.filled.indicators // count)
        sql = "SELECT value FROM indicator WHERE pk % ? = 0 AND type = ? LIMIT ?"
        rows = self.query(sql, step, IndicatorType.IP.code, count)
        return [value for (value,) in rows]

    def fresh(self, count: int, kind: str = "ips") -> list[str]:
        """Values that are not stored and were not given before."""
        start = self._taken.get(kind, self.filled.indicators)
        self._taken[kind] = start + count
        return values(kind, start, count)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None) -> Answer:
        """One answer of the server."""
        _ = self.pid
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, path, body, headers=sent)
        found = connection.getresponse()
        own = {name.lower(): value for name, value in found.getheaders() if name.lower() not in _PER_CONNECTION}
        answer = Answer(found.status, own, found.read())
        connection.close()
        return answer
