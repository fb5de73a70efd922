"""Bulk input (a file, standard input or an open binary file; plain, gzip, zstd or zip), as lines or as bytes.

Nothing in the input can stop the reading of what follows it, except a compressed stream that is damaged. Memory is
bounded whatever the input.
"""

import io
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Never, Self

from threatcloud.formats.readers.found import Line, SourceError
from threatcloud.formats.readers.head import HEAD_BYTES, Head
from threatcloud.formats.readers.lines import lines_of
from threatcloud.formats.readers.packing import (
    BLOCK_BYTES,
    MAGIC_BYTES,
    MAX_UNPACKED_BYTES,
    check_magic,
    is_zip,
    unpacked,
    zip_blocks,
)


class Source:
    """One input. Iterating gives its lines, once: text without its line end, or the `Reject` of a line that is no
    text; the n-th item is line n. `blocks` gives its bytes, as often as wanted.

    `bytes_read` of `bytes_total` tells how far it is, both of the file as it lies on disk; `bytes_total` is None for
    a pipe. `lines_read` counts the lines gone by. Iteration raises `SourceError` after the last good line when the
    input is damaged or ends too early; a last line cut short by that is not given.
    """

    def __init__(self, name: str, file: io.RawIOBase | io.BufferedIOBase, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
        self.name = name
        self.bytes_read = 0
        self.bytes_total = _size_bytes(file)
        self.lines_read = 0
        self._max_bytes = max_bytes
        self._raw = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
        self._begins_at = 0 if self.bytes_total is None else self._raw.tell()
        self._copy: io.BufferedIOBase | None = None
        self._error: SourceError | None = None
        self._is_begun = False
        self._held: list[bytes] = []
        self._rest = self._opened()
        self._lines: Iterator[Line] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._raw.close()
        if self._copy is not None:
            self._copy.close()

    def __iter__(self) -> Iterator[Line]:
        if self._lines is None:
            self._lines = lines_of(self.blocks())
        return self._lines

    def head(self) -> Head:
        """The beginning; what is read afterwards begins there all the same."""
        size_bytes = sum(map(len, self._held))
        is_whole = False
        while size_bytes < HEAD_BYTES and not is_whole:
            try:
                block = next(self._rest, None)
            except SourceError as error:
                self._rest, block = map(_fail, (error,)), None
            if block is None:
                is_whole = True
            else:
                self._held.append(block)
                size_bytes += len(block)
        return Head(b"".join(self._held), is_whole=is_whole)

    def keep(self) -> None:
        """Sees to it that `blocks` can be asked for more than once: what is no file is copied to a temporary one."""
        if self.bytes_total is not None or self._copy is not None:
            return
        copy = self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source
        try:
            for block in self.blocks():
                copy.write(block)
        except SourceError as error:
            self._error = error

    def blocks(self) -> Iterator[bytes]:
        """What the input holds, unpacked, from its beginning. Raises `SourceError` after all that came before.

        Before it is asked a second time, `keep` must have been.
        """
        if self._is_begun:
            self._begin_again()
        self._is_begun = True
        held, self._held = self._held, []
        return self._counted(itertools.chain(held, self._rest))

    def _begin_again(self) -> None:
        if self._copy is not None:
            self._copy.seek(0)
            self._rest = self._copied(self._copy)
            return
        self._raw.seek(self._begins_at)
        self.bytes_read = 0
        self._rest = self._opened()

    def _opened(self) -> Iterator[bytes]:
        head = self._raw.read(MAGIC_BYTES)
        check_magic(self.name, head)
        if not is_zip(head):
            return unpacked(self.name, head, self._stored(head), self._max_bytes, lambda: self.bytes_read)
        if self.bytes_total is None:
            raise SourceError(f"{self.name} is a zip archive, which is read as a file only: unpack it first")
        self._raw.seek(self._begins_at)
        return self._noted(zip_blocks(self.name, self._raw, self._max_bytes))

    def _stored(self, head: bytes) -> Iterator[bytes]:
        block = head
        while block:
            self.bytes_read += len(block)
            yield block
            try:
                block = self._raw.read1(BLOCK_BYTES)
            except OSError as error:
                raise SourceError(f"{self.name}: {error.strerror} at byte {self.bytes_read}") from error

    def _noted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Those of an archive, whose end is its table of contents."""
        for block in blocks:
            self.bytes_read = max(self.bytes_read, self._raw.tell() - self._begins_at)
            yield block
        self.bytes_read = self.bytes_total or 0

    def _copied(self, copy: io.BufferedIOBase) -> Iterator[bytes]:
        while block := copy.read(BLOCK_BYTES):
            yield block
        if self._error is not None:
            raise self._error

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        self.lines_read = ends = 0
        for block in blocks:
            ends += block.count(b"\n")
            self.lines_read = ends + (not block.endswith(b"\n"))
            yield block


def open_source(path: str | Path, max_bytes: int = MAX_UNPACKED_BYTES) -> Source:
    """The file at `path`, or standard input for `-`; gzip, zstd and zip are known by their first bytes. At most
    `max_bytes` of what it holds are read.

    Raises `SourceError` when it cannot be opened, or is in a packing or encoding that is not read.
    """
    standard = str(path) == "-"
    name = "standard input" if standard else str(path)
    try:
        file = io.FileIO(0, closefd=False) if standard else io.FileIO(path)
    except OSError as error:
        raise SourceError(f"cannot open {name}: {error.strerror}") from error
    try:
        return Source(name, file, max_bytes)
    except OSError as error:
        file.close()
        raise SourceError(f"cannot read {name}: {error.strerror}") from error
    except SourceError:
        file.close()
        raise


def _size_bytes(file: io.RawIOBase | io.BufferedIOBase) -> int | None:
    """How much there is to read, of what can be read again; None of a pipe."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # no file of the system's, but one in memory
        here = file.tell()
        size_bytes = file.seek(0, os.SEEK_END) - here
        file.seek(here)
        return size_bytes
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _fail(error: SourceError) -> Never:
    raise error
