"""What an input is packed in: gzip, zstd, or a zip archive of one file. Unpacked piece by piece, up to a limit.

Memory is bounded whatever the input: what one slice of compressed data can unpack to. So is the work: what unpacks
to more than the limit is a bomb or a mistake, and ends there.
"""

import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Protocol, cast

import zstandard

from threatcloud.formats.readers.found import MAX_LINE_BYTES, SourceError

MAX_UNPACKED_BYTES = 64 * 1024**3
MAGIC_BYTES = 8
# A block never holds more than a line may: only a line that began in an earlier block can be too long.
BLOCK_BYTES = MAX_LINE_BYTES


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


# How much is unpacked at once bounds the memory: gzip grows at most 1,032 times, zstd 32,768 times.
_DECODERS: tuple[tuple[bytes, int, Callable[[], _Decoder]], ...] = (
    (b"\x1f\x8b", 8192, lambda: zlib.decompressobj(wbits=31)),
    (b"\x28\xb5\x2f\xfd", 512, lambda: zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()),
)
_ZIP = b"PK\x03\x04"
_UNREADABLE = (
    (re.compile(rb"\xfd7zXZ"), "is packed with xz: unpack it first, or pack it with gzip or zstd"),
    (re.compile(rb"BZh[1-9]1AY&"), "is packed with bzip2: unpack it first, or pack it with gzip or zstd"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "is text in UTF-16: convert it to UTF-8 first"),
)


def check_magic(name: str, head: bytes) -> None:
    """Raises `SourceError` for what is in a packing or an encoding that is not read."""
    for pattern, problem in _UNREADABLE:
        if pattern.match(head):
            raise SourceError(f"{name} {problem}")


def is_zip(head: bytes) -> bool:
    """Whether it begins like a zip archive."""
    return head.startswith(_ZIP)


def zip_blocks(name: str, file: io.BufferedIOBase, max_bytes: int) -> Iterator[bytes]:
    """The content of the one file in a zip archive. Raises `SourceError` at once where there is not one."""
    try:
        archive = zipfile.ZipFile(cast("IO[bytes]", file))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceError(f"{name} is a damaged zip archive: {error}") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        count = len(members)
        raise SourceError(
            f"{name} holds {count} files, as a zip archive of {count} files: unpack it first, and import the files"
        )
    if members[0].flag_bits & 1:
        raise SourceError(f"{name} is a zip archive with a password: unpack it first")
    return _limited(name, _member_blocks(name, archive, members[0]), max_bytes)


def unpacked(name: str, head: bytes, stored: Iterable[bytes], max_bytes: int, at: Callable[[], int]) -> Iterator[bytes]:
    """The content of what begins with `head` and is stored as these blocks; `at` tells how far they are read.

    Raises `SourceError` after all that came before, where it is damaged, ends too early or grows beyond `max_bytes`.
    """
    for magic, slice_bytes, new_decoder in _DECODERS:
        if head.startswith(magic):
            slices = itertools.chain.from_iterable(_sliced(block, slice_bytes) for block in stored)
            return _limited(name, _told(name, _unpacked(slices, new_decoder), at), max_bytes)
    return _limited(name, iter(stored), max_bytes)


def _member_blocks(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as content:
            while block := content.read(BLOCK_BYTES):
                yield block
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
        raise SourceError(f"{name} is a damaged zip archive: {error}") from error


def _told(name: str, blocks: Iterator[bytes], at: Callable[[], int]) -> Iterator[bytes]:
    try:
        yield from blocks
    except (zlib.error, zstandard.ZstdError) as error:
        raise SourceError(f"{name} is damaged before byte {at()}: {error}") from error
    except EOFError as error:
        raise SourceError(f"{name} ends too early, at byte {at()}: fetch it again") from error


def _limited(name: str, blocks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    left_bytes = max_bytes
    for block in blocks:
        left_bytes -= len(block)
        if left_bytes < 0:
            raise SourceError(f"{name} holds more than the {max_bytes:,} bytes that are read of one input: split it")
        yield block


def _unpacked(slices: Iterable[bytes], new_decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    decoder: _Decoder | None = None
    for packed in slices:
        rest = packed
        # Members may follow each other; zeros fill up the block of a tape or disk.
        while rest := rest if decoder else rest.lstrip(b"\0"):
            decoder = decoder or new_decoder()
            yield from _sliced(decoder.decompress(rest), BLOCK_BYTES)
            rest, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if decoder:
        raise EOFError


def _sliced(data: bytes, size_bytes: int) -> Iterator[bytes]:
    return (data[at : at + size_bytes] for at in range(0, len(data), size_bytes))
