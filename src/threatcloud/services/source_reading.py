"""A fetched file, read by the process that reads imports: every format that ``threat-cloud import`` knows.

What it makes is kept in a file until it is known how much that is: a list is taken up as a whole, or not at all.
"""

import asyncio
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from threatcloud.domain.errors import DomainError
from threatcloud.domain.polled import Terms
from threatcloud.services.bulk.apart import BrokeOff, FrameTooLong, frames, reading
from threatcloud.services.bulk.frames import ReadJob

MAX_VALUES: Final = 2_000_000
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_READ_S: Final = 600.0
_LENGTH: Final = struct.Struct(">I")


class Unreadable(DomainError):
    """What was fetched cannot be read; the message says why."""

    code = "unreadable"


class Reading(NamedTuple):
    """What a file holds: chunks in a file of their own, how many values, and how many lines were rejected."""

    chunks: Path
    values: int
    rejected: int


async def read_source(path: Path, run: str, source: str, terms: Terms, screening: Mapping[str, str]) -> Reading:
    """Reads a file into chunks beside it; Unreadable when it is nothing that can be read to its end, or too much."""
    job = ReadJob(
        file=str(path),
        source=source,
        run=run,
        reports=False,
        screening=dict(screening),
        format=terms.format,
        type=terms.type,
        category=terms.category,
        severity=terms.severity,
        confidence=terms.confidence,
        max_bytes=MAX_UNPACKED_BYTES,
    )
    chunks = path.with_name("chunks")
    try:
        with chunks.open("wb") as out:
            async with asyncio.timeout(_READ_S):
                return Reading(chunks, *await _take(job, out))
    except TimeoutError:
        raise Unreadable(f"it was not read within {_READ_S:g} s") from None
    except FrameTooLong:
        raise Unreadable("it holds a value that is too long") from None
    except BrokeOff:
        raise Unreadable("the reading of it broke off") from None


async def _take(job: ReadJob, out: BinaryIO) -> tuple[int, int]:
    values = rejected = size = 0
    async with reading(job) as process:
        async for frame, body in frames(process, most_bytes=_MAX_FRAME_BYTES):
            if frame.error is not None:
                raise Unreadable(frame.error.replace(job.file, "the file"))
            values, rejected, size = values + frame.values, rejected + len(frame.rejects), size + len(body)
            if values > MAX_VALUES or size > MAX_UNPACKED_BYTES:
                raise Unreadable(f"it holds over {MAX_VALUES:,} values, or {MAX_UNPACKED_BYTES:,} bytes")
            if body:
                out.write(_LENGTH.pack(len(body)) + body)
    return values, rejected


def chunks_in(path: Path) -> Iterator[bytes]:
    """The chunks, one after the other."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield file.read(_LENGTH.unpack(head)[0])
