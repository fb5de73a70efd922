"""Whether this server can serve: what a proxy wants to know before it sends requests here."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Final

from threatcloud.domain.errors import Busy
from threatcloud.services.publishing import Publisher
from threatcloud.services.screening import Screener
from threatcloud.storage import probe
from threatcloud.storage.driver import StorageUnavailable
from threatcloud.storage.store import Store

#: An answer is given to all who ask within this time: nobody can keep the writer busy by asking.
_FRESH_S: Final = 1.0
#: Longer than any group of units holds the writer, shorter than probes wait.
_PATIENCE_S: Final = 2.0
_AGAIN_S: Final = 0.05


class NotReady(Busy):
    """The server runs and cannot serve now; the message says why."""

    code = "not_ready"


class Readiness:
    """Looks at the store, the published lists and the benign lists."""

    def __init__(self, store: Store, publisher: Publisher, screener: Screener, patience_s: float = _PATIENCE_S) -> None:
        self._store = store
        self._publisher = publisher
        self._screener = screener
        self._patience_s = patience_s
        self._looking: asyncio.Task[list[str]] | None = None
        self._looked_s = 0.0
        self._writing: asyncio.Task[str] | None = None

    async def check(self) -> None:
        """Returns where the server can serve, as of a second ago at most; raises NotReady with every reason."""
        now_s = time.monotonic()
        if self._looking is None or (self._looking.done() and now_s - self._looked_s > _FRESH_S):
            self._looked_s = now_s
            self._looking = asyncio.get_running_loop().create_task(self._look())
        problems = await asyncio.shield(self._looking)  # whoever asked first may hang up
        if problems:
            raise NotReady("; ".join(problems))

    async def _look(self) -> list[str]:
        """Every reason not to serve."""
        if self._writing is None or self._writing.done():  # else the last one still waits: it is not sent another
            self._writing = asyncio.get_running_loop().create_task(self._write())
        answers = await asyncio.gather(
            self._within(self._read(), "the database did not answer"),
            self._within(asyncio.shield(self._writing), "the database took no commit"),
        )
        problems = list(answers)
        if not self._publisher.is_started:
            problems.append("the lists are not rendered yet")
        if self._screener.missing_lists:
            problems.append(f"benign lists are missing: {', '.join(self._screener.missing_lists)}")
        return [problem for problem in problems if problem]

    async def _within(self, answer: Awaitable[str], late: str) -> str:
        try:
            async with asyncio.timeout(self._patience_s):
                return await answer
        except TimeoutError:
            return f"{late} within {self._patience_s:g} s"

    async def _read(self) -> str:
        try:
            await self._store.read(probe.read)
        except StorageUnavailable as error:
            return error.message
        return ""

    async def _write(self) -> str:
        """What is wrong with the writer. That others fill its queue is not: it has room again in a moment."""
        while True:
            try:
                await self._store.write(probe.write)
            except StorageUnavailable as error:
                return error.message
            except Busy:
                await asyncio.sleep(_AGAIN_S)
            else:
                return ""
