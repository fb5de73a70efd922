"""An app that needs no task of its own until it waits.

Most answers come from memory or from one point read on the event loop and never wait for anything. To make a task for
such a request, schedule it and account for its end took 8 of 80 us. So an app that says it is ``eager`` is run as soon
as its request is there, and becomes a task where it first waits. What it does before that has no current task: it must
not ask for one (``asyncio.timeout``, task groups).
"""

from collections.abc import Coroutine, Generator
from typing import Any


def is_eager(app: object) -> bool:
    """Whether the app says that it can be run so."""
    return getattr(app, "eager", False) is True


def run_until_it_waits(running: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None] | None:
    """Runs a coroutine to its end, and gives None, or to where it waits, and gives the rest of it, for a task."""
    try:
        awaited = running.send(None)
    except StopIteration:
        return None
    return _finish(running, awaited)


async def _finish(running: Coroutine[Any, Any, None], awaited: Any) -> None:
    await _Rest(running, awaited)


class _Rest:
    """A coroutine that has begun, and what it waits for."""

    def __init__(self, running: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._running = running
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        """Hands on what it waits for, and what comes of that, as ``await`` does (PEP 380)."""
        running, awaited = self._running, self._awaited
        while True:
            try:
                got = yield awaited
            except BaseException as error:  # noqa: BLE001 - not hidden: it is raised where the coroutine waits
                raised: BaseException | None = error
            else:
                raised = None
            try:
                awaited = running.send(got) if raised is None else running.throw(raised)
            except StopIteration:
                return
