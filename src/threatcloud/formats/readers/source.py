"""Bulk input as lines of text (plain, gzip or zstd; a file or standard input), and what a reader makes of it.

Nothing in the input can stop the reading of what follows it, except a compressed stream that is damaged: a
line that is no text is a `Reject`, a line without end is dropped as it arrives. Memory is bounded whatever
the input: one block, one line, and what one slice of compressed data can unpack to.
"""

import io
import itertools
import os
import re
import stat
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Never, Protocol, Self

import zstandard

from threatcloud.domain.errors import DomainError

MAX_LINE_BYTES = 64 * 1024

Fields = Mapping[str, object]
"""The fields of an item of `POST /api/threats` but `type` and `value`, by their names there, unvalidated."""

Columns = Mapping[str, str]
"""The operator's choice: field name → name of the column (or JSON key) it stands in, or its number from 1."""

NO_COLUMNS: Columns = MappingProxyType({})

REPORT_FIELDS = ("source", "category", "severity", "confidence", "timestamp", "expiresAt", "tlp")
METADATA_FIELDS = ("tags", "ports", "protocols", "country", "asn", "malwareFamily", "mitreIds", "attempts")


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_EXCERPT_CHARS = 120
_MAGIC_BYTES = 8
# A block never holds more than a line may: only a line that began in an earlier block can be too long.
_BLOCK_BYTES = MAX_LINE_BYTES
# How much is unpacked at once bounds the memory: gzip grows at most 1,032 times, zstd 32,768 times.
_DECODERS: tuple[tuple[bytes, int, Callable[[], _Decoder]], ...] = (
    (b"\x1f\x8b", 8192, lambda: zlib.decompressobj(wbits=31)),
    (b"\x28\xb5\x2f\xfd", 512, lambda: zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()),
)
_UNREADABLE = (
    (re.compile(rb"\xfd7zXZ"), "is packed with xz: unpack it first, or pack it with gzip or zstd"),
    (re.compile(rb"BZh[1-9]1AY&"), "is packed with bzip2: unpack it first, or pack it with gzip or zstd"),
    (re.compile(rb"PK\x03\x04"), "is a zip archive: unpack it first, and import the files in it"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "is text in UTF-16: convert it to UTF-8 first"),
)
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n"))


class Row(NamedTuple):
    """One indicator as the input spells it, unvalidated.

    `type` is None when it is not told; of a table it is one of the six types, of JSON Lines what stands there.
    """

    line: int
    value: str
    type: str | None = None
    fields: Fields | None = None


class Reject(NamedTuple):
    """A line that is not taken: its number from 1, its beginning, `line`, `value` or `type`, and why."""

    line: int
    text: str
    field: str
    reason: str


Line = str | Reject


class SourceError(DomainError):
    """The input cannot be read, or not to its end; the message names it and says what to do."""

    code = "bad_source"


class ColumnError(DomainError):
    """The operator's choice of columns does not fit the input; the message says what there is to choose."""

    code = "bad_column"


class Source:
    """The lines of one input, once: text without its line end, or the `Reject` of a line that is no text.

    The n-th item is line n. `bytes_read` of `bytes_total` tells how far it is, both of the file as it lies on
    disk; `bytes_total` is None for a pipe. Iteration raises `SourceError` after the last good line when the
    input is damaged or ends too early; a last line cut short by that is not given.
    """

    def __init__(self, name: str, file: io.FileIO) -> None:
        self.name = name
        self.bytes_read = 0
        status = os.fstat(file.fileno())
        self.bytes_total = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._raw = io.BufferedReader(file)
        self._head = self._raw.read(_MAGIC_BYTES)
        for pattern, problem in _UNREADABLE:
            if pattern.match(self._head):
                raise SourceError(f"{name} {problem}")
        self._lines: Iterator[Line] = _lines(self._blocks())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._raw.close()

    def __iter__(self) -> Iterator[Line]:
        return self._lines

    def peek(self, count: int) -> list[str]:
        """The next lines that are text, out of at most `count`; iteration gives them again."""
        seen: list[Line] = []
        try:
            seen.extend(itertools.islice(self._lines, count))
        except SourceError as error:
            self._lines = itertools.chain(seen, map(_fail, (error,)))
        else:
            self._lines = itertools.chain(seen, self._lines)
        return [line for line in seen if isinstance(line, str)]

    def _blocks(self) -> Iterator[bytes]:
        for magic, slice_bytes, new_decoder in _DECODERS:
            if self._head.startswith(magic):
                slices = itertools.chain.from_iterable(_sliced(block, slice_bytes) for block in self._stored())
                return self._unpacked(slices, new_decoder)
        return self._stored()

    def _stored(self) -> Iterator[bytes]:
        block = self._head
        while block:
            self.bytes_read += len(block)
            yield block
            try:
                block = self._raw.read1(_BLOCK_BYTES)
            except OSError as error:
                raise SourceError(f"{self.name}: {error.strerror} at byte {self.bytes_read}") from error

    def _unpacked(self, slices: Iterable[bytes], new_decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
        try:
            yield from _unpacked(slices, new_decoder)
        except (zlib.error, zstandard.ZstdError) as error:
            raise SourceError(f"{self.name} is damaged before byte {self.bytes_read}: {error}") from error
        except EOFError as error:
            raise SourceError(f"{self.name} ends too early, at byte {self.bytes_read}: fetch it again") from error


def open_source(path: str | Path) -> Source:
    """The file at `path`, or standard input for `-`; gzip and zstd are known by their first bytes.

    Raises `SourceError` when it cannot be opened, or is in a packing or encoding that is not read.
    """
    standard = str(path) == "-"
    name = "standard input" if standard else str(path)
    try:
        file = io.FileIO(0, closefd=False) if standard else io.FileIO(path)
    except OSError as error:
        raise SourceError(f"cannot open {name}: {error.strerror}") from error
    try:
        return Source(name, file)
    except OSError as error:
        file.close()
        raise SourceError(f"cannot read {name}: {error.strerror}") from error
    except SourceError:
        file.close()
        raise


def check_fields(columns: Columns) -> None:
    """Raises `ColumnError` when `columns` has a field that no row has."""
    known = ("value", "type", *REPORT_FIELDS, *METADATA_FIELDS)
    for field in columns:
        if field not in known:
            raise ColumnError(f"no field {field!r}: choose from {', '.join(known)}")


def excerpt(text: str) -> str:
    """The beginning of `text`, enough to find it again."""
    return text if len(text) <= _EXCERPT_CHARS else text[: _EXCERPT_CHARS - 1] + "…"


def _fail(error: SourceError) -> Never:
    raise error


def _unpacked(slices: Iterable[bytes], new_decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    decoder: _Decoder | None = None
    for packed in slices:
        rest = packed
        # Members may follow each other; zeros fill up the block of a tape or disk.
        while rest := rest if decoder else rest.lstrip(b"\0"):
            decoder = decoder or new_decoder()
            yield from _sliced(decoder.decompress(rest), _BLOCK_BYTES)
            rest, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if decoder:
        raise EOFError


def _sliced(data: bytes, size_bytes: int) -> Iterator[bytes]:
    return (data[at : at + size_bytes] for at in range(0, len(data), size_bytes))


def _lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    number = 1
    for text, complete in _whole_lines(blocks):
        data = text.removeprefix(BOM_UTF8) if number == 1 else text
        lines = _decoded(data, number) if complete else [_reject(data, number, f"over {MAX_LINE_BYTES} bytes long")]
        yield from lines
        number += len(lines)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """One or more lines and True; or the beginning of a line that is too long, and False."""
    pending = b""
    dropping = False
    for block in blocks:
        end = block.find(b"\n") + 1
        if dropping:
            dropping, rest = not end, block[end:] if end else b""
        elif len(pending) + (end - 1 if end else len(block)) > MAX_LINE_BYTES:
            yield pending + block[:_EXCERPT_CHARS], False
            dropping, rest, pending = not end, block[end:] if end else b"", b""
        else:
            rest, pending = pending + block, b""
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end], True
        pending = rest[end:]
    if pending:
        yield pending, True


def _decoded(data: bytes, number: int) -> Sequence[Line]:
    data = data.removesuffix(b"\n")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if len(data.translate(None, _CONTROLS)) == len(data):
        with suppress(UnicodeDecodeError):
            return data.decode().split("\n")
    return [_decoded_line(line, at) for at, line in enumerate(data.split(b"\n"), number)]


def _decoded_line(data: bytes, number: int) -> Line:
    if len(data.translate(None, _CONTROLS)) != len(data):
        return _reject(data, number, "holds a control character: is this a text file?")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _reject(data, number, "is not UTF-8 text")


def _reject(data: bytes, number: int, reason: str) -> Reject:
    return Reject(number, excerpt(data[: _EXCERPT_CHARS * 4].decode(errors="backslashreplace")), "line", reason)
