"""A real Redis (or Valkey) for tests, which can be killed, stopped for a while and started again."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.http.conftest import within

_PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")
_START_S: Final = 10.0


class RedisServer:
    """A server on a socket of its own, with nothing on the disk; skips where the program is absent."""

    def __init__(self) -> None:
        if _PROGRAM is None:
            pytest.skip("redis-server is not installed")
        self._folder = tempfile.TemporaryDirectory(prefix="tc-redis-")  # a short path: sockets have no long ones
        self._socket = Path(self._folder.name) / "s"
        self.url = f"unix://{self._socket}"
        self.start()

    def start(self) -> None:
        """Starts it, empty."""
        self._socket.unlink(missing_ok=True)
        assert _PROGRAM is not None
        command = [_PROGRAM, "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, cwd=self._folder.name, stdout=subprocess.DEVNULL)
        assert within(_START_S, self._socket.exists)

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Has it take connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends that."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Leaves nothing of it."""
        self.kill()
        self._folder.cleanup()
