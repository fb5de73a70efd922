"""Text as lines. A line that is no text is a `Reject`, a line without end is dropped as it arrives."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from threatcloud.formats.readers.found import MAX_LINE_BYTES, Line, reject_bytes

_SHOWN_BYTES = 512
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n"))


def lines_of(blocks: Iterable[bytes]) -> Iterator[Line]:
    """The lines without their ends; the n-th item is line n. A block must not be longer than a line may be."""
    number = 1
    for text, complete in _whole_lines(blocks):
        data = text.removeprefix(BOM_UTF8) if number == 1 else text
        lines = (
            _decoded(data, number) if complete else [reject_bytes(number, data, f"over {MAX_LINE_BYTES} bytes long")]
        )
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
            yield pending + block[:_SHOWN_BYTES], False
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
        return reject_bytes(number, data, "holds a control character: is this a text file?")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return reject_bytes(number, data, "is not UTF-8 text")
