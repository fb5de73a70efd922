"""A PostgreSQL server that a test may crash and start again."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.engines import INITDB, SETTINGS, binaries, server_user, wait_for_server

#: Ends the server when the test ends, however that is.
_KEEPER = '"$@" & read -r _; kill -QUIT $!; wait'


class OwnPostgres:
    """A server in a folder of its own; a standby of another where that is given."""

    def __init__(self, programs: Path, folder: Path, primary: "OwnPostgres | None" = None) -> None:
        self._programs = programs
        self._folder = folder
        self._keeper: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://test@/postgres?host={folder}"
        make = [str(programs / "initdb"), "-D", str(folder / "data"), *INITDB]
        if primary is not None:
            make = [str(programs / "pg_basebackup"), "-D", str(folder / "data"), "-R", "-c", "fast", "-d", primary.url]
        with self._log() as log:
            subprocess.run(make, user=server_user(), cwd=folder, stdout=log, stderr=log, check=True)

    def _log(self) -> IO[bytes]:
        return (self._folder / "log").open("ab")

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        settings = (f"--{setting}" for setting in SETTINGS)
        run = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder), *settings]
        with self._log() as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", *run],
                user=server_user(),
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        wait_for_server(self.url, self._folder / "log")

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not been ended since."""
        return self._keeper is not None

    def crash(self, number: int = signal.SIGQUIT) -> None:
        """Has all its processes end at once, with nothing put in order."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, number)
        self.end()

    def end(self) -> None:
        """Ends it."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None


@contextmanager
def own_postgres(primary: OwnPostgres | None = None) -> Iterator[OwnPostgres]:
    """A server that runs."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="tc-pg-"))
    shutil.chown(folder, server_user())
    server = OwnPostgres(programs, folder, primary)
    server.start()
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder)
