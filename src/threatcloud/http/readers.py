"""The processes that only read: started by the one that writes, watched, and started again when one ends."""

import asyncio
import pickle
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from threatcloud.config import Settings
from threatcloud.http.protocol import ServerLimits
from threatcloud.http.serve import CannotListen

_log = structlog.get_logger("readers")
_COMMAND: Final = (sys.executable, "-P", "-m", "threatcloud.reader")
#: Said by a reader on its standard output once it answers.
READY: Final = b"+"
_SHORTEST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
#: One that ends sooner than this is started again later each time.
_SOON_S: Final = 10.0
#: Beyond what a stop lets requests take.
_SPARE_S: Final = 5.0


class Start(NamedTuple):
    """What a reader is told at its start: by the pipe that is its standard input, since there are keys among it.

    The pipe stays open as long as the process that writes lives, however that ends; a reader ends with it.
    """

    settings: Settings
    memory: int
    sockets: list[int]
    home: Path
    started_s: float


class Readers:
    """The readers of one server: ``Helpers`` of its ``Server``. ``start_of``: what one with some sockets is told."""

    def __init__(self, count: int, memory: int, start_of: Callable[[list[int]], Start]) -> None:
        self._count = count
        self._memory = memory
        self._start_of = start_of
        self._listen: Callable[[], list[socket.socket]] = list
        self._running: set[Process] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self, listen: Callable[[], list[socket.socket]]) -> None:
        """Starts all and returns when they answer; CannotListen when one ends instead."""
        self._listen = listen
        processes = await asyncio.gather(*(self._spawn() for _ in range(self._count)))
        loop = asyncio.get_running_loop()
        self._keepers = [loop.create_task(self._keep(process)) for process in processes]

    def stop(self) -> None:
        """Asks all to end once what they owe is answered, and starts none again."""
        self._is_stopping = True
        for process in self._running:
            with suppress(ProcessLookupError):
                process.terminate()

    async def end(self) -> None:
        """Returns when all have ended; those that take too long are killed."""
        self.stop()
        try:
            async with asyncio.timeout(ServerLimits().stop_grace_s + _SPARE_S):
                await asyncio.gather(*(process.wait() for process in self._running))
        except TimeoutError:
            _log.error("reading processes do not stop and are killed", pids=[item.pid for item in self._running])
            for process in self._running:
                with suppress(ProcessLookupError):
                    process.kill()
        for keeper in self._keepers:
            keeper.cancel()  # it may wait for long to start one again
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _spawn(self) -> Process:
        """A reader that answers."""
        sockets = self._listen()
        descriptors = [sock.fileno() for sock in sockets]
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                pass_fds=(*descriptors, self._memory),
                start_new_session=True,  # Ctrl-C is for the process that writes, which tells the others
            )
        finally:
            for sock in sockets:
                sock.close()
        self._running.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(self._start_of(descriptors)))
        if await process.stdout.read(len(READY)) != READY:
            code = await self._wait(process)
            raise CannotListen(f"A reading process ended with {code} before it answered; the log above says why.")
        if self._is_stopping:
            process.terminate()
        return process

    async def _wait(self, process: Process) -> int:
        code = await process.wait()
        self._running.discard(process)
        return code

    async def _keep(self, process: Process) -> None:
        """Sees to it that there is a process in the place of this one."""
        pause_s, since_s = _SHORTEST_PAUSE_S, time.monotonic()
        while True:
            code = await self._wait(process)
            if self._is_stopping:
                return
            if time.monotonic() - since_s > _SOON_S:
                pause_s = _SHORTEST_PAUSE_S
            _log.warning("a reading process ended and is started again", pid=process.pid, code=code, in_s=pause_s)
            again = await self._again(pause_s)
            if again is None:
                return
            process, pause_s, since_s = again, min(2 * pause_s, _LONGEST_PAUSE_S), time.monotonic()

    async def _again(self, pause_s: float) -> Process | None:
        """A reader that answers, however often it takes to start one; None when the server stops meanwhile."""
        while True:
            await asyncio.sleep(pause_s)
            if self._is_stopping:
                return None
            try:
                return await self._spawn()
            except (CannotListen, OSError) as error:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                _log.error("a reading process cannot be started", problem=str(error), again_in_s=pause_s)
