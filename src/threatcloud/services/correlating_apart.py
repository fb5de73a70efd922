"""Steps of correlation in a process of their own: what starts it, gives it its orders and ends it.

The process has a connection of its own and commits while the writer of this one waits for it. It ends with the other
end of its pipe, however that ends, and a step that was under way then leaves nothing.
"""

import asyncio
import pickle
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import IO, Final, NamedTuple

import msgspec

from threatcloud.config import Settings
from threatcloud.domain.errors import Busy
from threatcloud.services.correlating import Stepped
from threatcloud.storage.sqlite_store import WritingStore

COMMAND: Final = (sys.executable, "-P", "-m", "threatcloud.correlator")


class Order(NamedTuple):
    """What the process is to do: a step over so many changes, committed at this time in UTC milliseconds."""

    most: int
    now: int


class CorrelatorProcess:
    """The process that correlates for one server: started by the first step, and again after ``end``."""

    def __init__(self, settings: Settings, store: WritingStore) -> None:
        self._settings = settings
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    async def step(self, most: int) -> Stepped:
        """See ``StepsApart.step``."""
        process = self._process or await self._begin()
        try:
            return await self._store.write_apart(partial(_carry_out, process, most))
        except Busy:
            await self.end()
            raise

    async def _begin(self) -> subprocess.Popen[bytes]:
        starting = asyncio.create_task(asyncio.to_thread(self._start))
        try:
            self._process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._process = await starting  # or nobody would end it
            raise
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
        try:
            _tell(process, pickle.dumps(self._settings))
        except Busy:
            _end(process)
            raise
        return process

    async def end(self) -> None:
        """See ``StepsApart.end``."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(_end, process)


def _carry_out(process: subprocess.Popen[bytes], most: int, now: int) -> Stepped:
    _tell(process, msgspec.json.encode(Order(most, now)) + b"\n")
    answer = _pipe(process.stdout).readline()
    if not answer.endswith(b"\n"):
        raise Busy("the process that correlates ended early; its last words are in the log")
    return msgspec.json.decode(answer, type=Stepped)


def _tell(process: subprocess.Popen[bytes], words: bytes) -> None:
    pipe = _pipe(process.stdin)
    try:
        pipe.write(words)
        pipe.flush()
    except BrokenPipeError:
        raise Busy("the process that correlates does not run; its last words are in the log") from None


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with suppress(BrokenPipeError):  # of what it died too early to be told
        _pipe(process.stdin).close()
    _pipe(process.stdout).close()
