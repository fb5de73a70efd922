"""The reading process as whoever starts it sees it: frames with their bodies, until the file ends."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import msgspec

from threatcloud.domain.errors import DomainError
from threatcloud.services.bulk.frames import HEAD, Frame, ReadJob

#: The reader is this far ahead of the storing at most, beside what the pipe itself holds.
AHEAD_BYTES: Final = 512 * 1024
_decode: Final = msgspec.json.Decoder(Frame).decode


class BrokeOff(DomainError):
    """The reading process ended before it said so."""

    code = "broke_off"


class FrameTooLong(DomainError):
    """A frame is longer than whoever reads it takes."""

    code = "frame_too_long"


@asynccontextmanager
async def reading(job: ReadJob) -> AsyncIterator[Process]:
    """The process that reads; it is gone when the context ends."""
    with _unheard_by_children():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "threatcloud.http.bulk.reading",
            msgspec.json.encode(job).decode(),
            stdout=PIPE,
            limit=AHEAD_BYTES,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        assert process.stdout is not None
        while await process.stdout.read(AHEAD_BYTES):
            pass  # to asyncio a process has not ended while its output lies unread
        await process.wait()


@contextmanager
def _unheard_by_children() -> Iterator[None]:
    """A terminal sends Ctrl-C to both processes, and it is the one that stores that decides when to stop."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which signals never reach
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def frames(
    process: Process, stop: asyncio.Event | None = None, most_bytes: int | None = None
) -> AsyncIterator[tuple[Frame, bytes]]:
    """What the process has read, until its last frame or until ``stop``; BrokeOff when there is no last frame,
    FrameTooLong when one is over ``most_bytes``."""
    assert process.stdout is not None
    is_stopped = stop.is_set if stop is not None else lambda: False
    while not is_stopped():
        try:
            head_bytes, body_bytes = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
            if most_bytes is not None and head_bytes + body_bytes > most_bytes:
                raise FrameTooLong("the file holds a value that is too long")
            frame = _decode(await process.stdout.readexactly(head_bytes))
            body = await process.stdout.readexactly(body_bytes)
        except asyncio.IncompleteReadError as error:
            if is_stopped():
                return
            raise BrokeOff("the reading of the file broke off; run the import again") from error
        if is_stopped():
            return  # what the reader made of being interrupted
        yield frame, body
        if frame.done or frame.error is not None:
            return
