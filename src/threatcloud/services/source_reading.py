"""A fetched file, read by the process that reads imports: every format that ``threat-cloud import`` knows.

What it makes is kept in a file until it is known how much that is: a list is taken up as a whole, or not at all.
"""

import asyncio
import struct
import sys
import zipfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from threatcloud.domain.errors import DomainError
from threatcloud.domain.polled import Terms

#: The process that reads, and how it speaks: a head with two lengths, a frame as JSON, a body of prepared rows.
READING: Final = (sys.executable, "-m", "threatcloud.http.bulk.reading")
_HEAD: Final = struct.Struct(">II")
MAX_VALUES: Final = 2_000_000
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_READ_S: Final = 600.0
_PIECE_BYTES: Final = 1024 * 1024


class Unreadable(DomainError):
    """What was fetched cannot be read; the message says why."""

    code = "unreadable"


class _Frame(msgspec.Struct):
    """What of a frame matters here."""

    values: int = 0
    rejects: list[object] = []
    done: bool = False
    error: str | None = None


class Reading(NamedTuple):
    """What a file holds: chunks in a file of their own, how many values, and how many lines were rejected."""

    chunks: Path
    values: int
    rejected: int


async def read_source(path: Path, run: str, source: str, terms: Terms, screening: Mapping[str, str]) -> Reading:
    """Reads a file into chunks beside it; Unreadable when it is nothing that can be read to its end, or too much."""
    await asyncio.to_thread(_unzip, path)
    job = {
        "file": str(path),
        "source": source,
        "run": run,
        "reports": False,
        "screening": screening,
        "format": terms.format,
        "type": terms.type,
        "category": terms.category,
        "severity": terms.severity,
        "confidence": terms.confidence,
    }
    process = await asyncio.create_subprocess_exec(
        *READING, msgspec.json.encode(job).decode(), stdin=DEVNULL, stdout=PIPE, start_new_session=True
    )
    assert process.stdout is not None
    chunks = path.with_name("chunks")
    try:
        with chunks.open("wb") as out:
            async with asyncio.timeout(_READ_S):
                return Reading(chunks, *await _take(process.stdout, out))
    except TimeoutError:
        raise Unreadable(f"it was not read within {_READ_S:g} s") from None
    except asyncio.IncompleteReadError:
        raise Unreadable("the reading of it broke off") from None
    finally:
        if process.returncode is None:
            process.kill()
        while await process.stdout.read(_PIECE_BYTES):
            pass  # to asyncio a process has not ended while its output lies unread
        await process.wait()


async def _take(stream: asyncio.StreamReader, out: BinaryIO) -> tuple[int, int]:
    values = rejected = size = 0
    decode = msgspec.json.Decoder(_Frame).decode
    while True:
        head_bytes, body_bytes = _HEAD.unpack(await stream.readexactly(_HEAD.size))
        if head_bytes + body_bytes > _MAX_FRAME_BYTES:
            raise Unreadable("it holds a value that is too long")
        frame = decode(await stream.readexactly(head_bytes))
        body = await stream.readexactly(body_bytes)
        if frame.error is not None:
            raise Unreadable(frame.error)
        values, rejected, size = values + frame.values, rejected + len(frame.rejects), size + len(body)
        if values > MAX_VALUES or size > MAX_UNPACKED_BYTES:
            raise Unreadable(f"it holds over {MAX_VALUES:,} values, or {MAX_UNPACKED_BYTES:,} bytes")
        if body:
            out.write(_HEAD.pack(len(body), 0) + body)
        if frame.done:
            return values, rejected


def chunks_in(path: Path) -> Iterator[bytes]:
    """The chunks, one after the other."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            yield file.read(_HEAD.unpack(head)[0])


def _unzip(path: Path) -> None:
    """Puts the one file of a zip archive in its place; what is none stays as it is."""
    if not zipfile.is_zipfile(path):
        return
    unpacked = path.with_name("unpacked")
    try:
        with closing(zipfile.ZipFile(path)) as archive:
            names = [item for item in archive.infolist() if not item.is_dir()]
            if len(names) != 1:
                raise Unreadable(f"the archive holds {len(names)} files, and not one")
            with archive.open(names[0]) as member, unpacked.open("wb") as out:
                size = 0
                while piece := member.read(_PIECE_BYTES):
                    size += len(piece)
                    if size > MAX_UNPACKED_BYTES:
                        raise Unreadable(f"unpacked it is over {MAX_UNPACKED_BYTES:,} bytes")
                    out.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable(f"the archive is damaged, or packed in a way that is not read: {error}") from error
    unpacked.replace(path)
