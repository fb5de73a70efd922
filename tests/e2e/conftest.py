"""The command line as its users run it: in a folder of its own, with nothing inherited but the search path."""

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest

from threatcloud.cli import main

COMMAND = (sys.executable, "-m", "threatcloud")
PATIENCE_S = 60.0
NOTHING: Mapping[str, str] = MappingProxyType({})


class Place:
    """A folder with at most one database, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "data" / "threat-cloud.db"
        self.environ = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": "200", "HOME": str(folder)}
        self.url = ""
        self._started: list[subprocess.Popen[bytes]] = []

    def run(
        self, *args: str, code: int = 0, stdin: bytes = b"", environ: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[bytes]":
        """Runs a command to its end, which must have the exit code."""
        done = subprocess.run(
            (*COMMAND, *args),
            cwd=self.folder,
            env={**self.environ, **environ},
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return _checked(done, code)

    def call(
        self, *args: str, code: int = 0, environ: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[bytes]":
        """As ``run``, for commands that leave the work to a server: without the second a new process takes to start."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with (
            mock.patch.dict(os.environ, {**self.environ, **environ}, clear=True),
            mock.patch.object(sys, "argv", ["threat-cloud", *args]),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        said = (stream.buffer.getvalue() for stream in (out, err))
        return _checked(subprocess.CompletedProcess(args, int(ended.value.code or 0), *said), code)

    def json(self, *args: str, environ: Mapping[str, str] = NOTHING) -> Any:
        """What a command prints with ``--json``; in this process where a server runs."""
        run = self.call if self.has_server else self.run
        return json.loads(run(*args, "--json", environ=environ).stdout)

    @property
    def has_server(self) -> bool:
        """Whether a server of this place runs."""
        return self.database.with_name(self.database.name + ".sock").exists()

    def start(
        self, *args: str, stderr: int = subprocess.PIPE, environ: Mapping[str, str] = NOTHING
    ) -> "subprocess.Popen[bytes]":
        """Starts a command."""
        process = subprocess.Popen(
            (*COMMAND, *args),
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        self._started.append(process)
        return process

    def serve(self, *args: str, environ: Mapping[str, str] = NOTHING) -> "Server":
        """Starts a server on a free port and waits until it listens."""
        server = Server(self.start("serve", "--port", "0", *args, environ=environ))
        self.url = server.url
        return server

    def write(self, name: str, content: str | bytes) -> str:
        """Makes a file here; gives its name."""
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def rows(self) -> int:
        """How many indicators the database holds; 0 where there is none yet."""
        with contextlib.suppress(sqlite3.OperationalError):
            uri = f"{self.database.as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
                return int(db.execute("SELECT count(*) FROM indicator").fetchone()[0])
        return 0

    def wait_for_rows(self, rows: int) -> None:
        """Waits until the database holds at least so many indicators."""
        give_up_at_s = time.monotonic() + PATIENCE_S
        while self.rows() < rows:
            assert time.monotonic() < give_up_at_s, "nothing was stored"
            time.sleep(0.05)

    def end(self) -> None:
        """Ends what still runs."""
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


def _checked(done: "subprocess.CompletedProcess[bytes]", code: int) -> "subprocess.CompletedProcess[bytes]":
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    return done


class Server:
    """A server that listens; ``banner`` is what it printed."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.banner = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.banner += line.decode()
            if "/api/feeds/" in self.banner:
                break
        assert "listens on" in self.banner, process.stderr.read() if process.stderr else ""
        self.url = self.banner.partition("listens on ")[2].split()[0]

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(PATIENCE_S)

    def send(self, number: int) -> None:
        """Sends the signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal; gives the exit code."""
        self.send(number)
        return self.wait()


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    places: list[Place] = []

    def make(name: str) -> Place:
        folder = tmp_path / name
        folder.mkdir()
        places.append(Place(folder))
        return places[-1]

    yield make
    for place in places:
        place.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place with a running server for all tests of a module, each with values of its own."""
    found = Place(tmp_path_factory.mktemp("served"))
    found.serve()
    yield found
    found.end()


@pytest.fixture
def place(make_place: Callable[[str], Place]) -> Place:
    return make_place("here")
