"""A JSON text in pieces, each small enough to be decoded whole, however large the text is.

Source: RFC 8259. The containers that are entered are read member by member; every other value is given as its bytes,
so that what is wrong in one of them loses that one only. Several texts may follow each other (JSON lines).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from threatcloud.formats.readers.found import Reject, reject_bytes

MAX_ITEM_BYTES = 8 * 1024 * 1024
Path = tuple[str, ...]
"""Where a value stands: names of members, and `*` for an element of an array."""

# What lies between two brackets, strings whole; then the bracket, or the quote of a string that does not end here.
# The outer group is not possessive: before a string that does not end Python 3.11.2 loses its place in one.
_run = re.compile(rb'(?:[^"{}\[\]]*+"(?:[^"\\]++|\\.)*+")*[^"{}\[\]]*+([{}\[\]"]?)', re.DOTALL)
# A whole container of at most four levels, which nearly all are; no bracket is tried twice.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_LEAF = rb'[{\[](?:[^"{}\[\]]++|' + _STRING + rb")*+[}\]]"
_NEST = rb'[{\[](?:[^"{}\[\]]++|' + _STRING + rb"|%b)*+[}\]]"
_shallow = re.compile(_NEST % (_NEST % (_NEST % _LEAF)), re.DOTALL)
_token = re.compile(rb'\s*+("(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]++)', re.DOTALL)
# From one container of an array to the next.
_onward = re.compile(rb"\s*+,\s*+([{\[])")
_BOM = b"\xef\xbb\xbf"


class Item(NamedTuple):
    """A value as its bytes, with the line it begins on. Of an entered object it is `{` alone, when it begins."""

    line: int
    path: Path
    data: bytes

    def load(self) -> Any:
        """The value. Raises ValueError, with a sentence, for what is no JSON."""
        try:
            return msgspec.json.decode(self.data)
        except RecursionError:
            raise ValueError("is nested too deep") from None
        except (msgspec.DecodeError, UnicodeError) as error:
            if self.data.isascii():
                raise ValueError(f"is not JSON: {error}") from None
        try:  # a comment in Latin-1 is no reason to lose what it comments on
            return msgspec.json.decode(self.data.decode("latin-1").encode())
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}") from None

    def reject(self, reason: str, field: str = "line") -> Reject:
        """The item as one that is not taken."""
        return reject_bytes(self.line, self.data, reason, field)


def items(blocks: Iterable[bytes], enters: Callable[[Path], bool]) -> Iterator[Item | Reject]:
    """The values that `enters` does not lead into, in order; where the text is no JSON any more, a `Reject` ends it.

    Memory is bounded: a value of more than 8 MiB is a `Reject`, and what follows it is read on.
    """
    return _Reading(blocks, enters).texts()


class _Broken(Exception):
    """The text is no JSON from here on."""


class _Reading:
    def __init__(self, blocks: Iterable[bytes], enters: Callable[[Path], bool]) -> None:
        self._blocks = _without_mark(iter(blocks))
        self._enters = enters
        self._data = b""
        self._at = 0  # in the data, which begins at `before` in the text
        self._before = 0
        self._counted = 0
        self._line = 1

    def texts(self) -> Iterator[Item | Reject]:
        try:
            while (token := self._next(may_end=True)) is not None:
                yield from self._value((), token)
        except _Broken as error:
            place = f"at byte {self._before + self._at}"
            shown = self._data[self._at : self._at + 512]
            yield reject_bytes(self._here(), shown, f"{error}, {place}: what follows is not read")

    def _value(self, path: Path, token: bytes) -> Iterator[Item | Reject]:
        line = self._here()
        if token == b"{" and self._enters(path):
            yield Item(line, path, b"{")
            yield from self._object(path)
        elif token == b"[" and self._enters(path):
            yield from self._array(path)
        elif token in b"{[":
            yield self._gathered(line, path)
        elif token in b"}],:":
            self._at -= 1
            raise _Broken("is not JSON here")
        else:
            yield Item(line, path, token)

    def _object(self, path: Path) -> Iterator[Item | Reject]:
        token = self._next()
        while token != b"}":
            if token[:1] != b'"' or self._next() != b":":
                raise _Broken("is not JSON here")
            yield from self._value((*path, _name(token)), self._next())
            token = self._next()
            if token == b",":
                token = self._next()
            elif token != b"}":
                raise _Broken("is not JSON here")

    def _array(self, path: Path) -> Iterator[Item | Reject]:
        inner = (*path, "*")
        is_entered = self._enters(inner)
        token = self._next()
        while token != b"]":
            if is_entered or token not in b"{[":
                yield from self._value(inner, token)
            else:
                yield self._gathered(self._here(), inner)
            if (onward := _onward.match(self._data, self._at)) is not None:
                self._at, token = onward.end(), onward[1]
                continue
            token = self._next()
            if token == b",":
                token = self._next()
            elif token != b"]":
                raise _Broken("is not JSON here")

    def _next(self, *, may_end: bool = False) -> Any:
        """The next token; at the end of the input None where that may be."""
        while True:
            match = _token.match(self._data, self._at)
            if match is not None and match.end() < len(self._data):
                break
            if len(self._data) - self._at > MAX_ITEM_BYTES:
                raise _Broken(f"has a text of over {MAX_ITEM_BYTES} bytes here")
            if not self._more(self._at):
                if match is None:
                    if may_end and not self._data[self._at :].strip():
                        return None
                    raise _Broken("ends too early")
                break
        self._at = match.end()
        return match[1]

    def _gathered(self, line: int, path: Path) -> Item | Reject:
        """The container whose opening bracket was read."""
        start, at, depth, is_too_long = self._at - 1, self._at, 1, False
        if (whole := _shallow.match(self._data, start)) is not None and whole.end() - start <= MAX_ITEM_BYTES:
            self._at = whole.end()
            return Item(line, path, whole[0])
        while depth:
            match = _run.match(self._data, at)
            assert match is not None
            end = match[1]
            if end in (b"", b'"'):
                at = match.end() - len(end)
                if at - start > MAX_ITEM_BYTES:
                    is_too_long, start = True, at
                if len(self._data) - at > MAX_ITEM_BYTES or not self._more(start):
                    self._at = at if len(self._data) - at <= MAX_ITEM_BYTES else start
                    raise _Broken("ends too early" if not self._is_long(at) else "has a text without end here")
                at -= start
                start = 0
                continue
            depth += 1 if end in b"{[" else -1
            at = match.end()
        self._at = at
        if is_too_long or at - start > MAX_ITEM_BYTES:
            shown = self._data[start : min(at, start + 512)]
            return reject_bytes(line, shown, f"is an item of over {MAX_ITEM_BYTES} bytes, of which this is the end")
        return Item(line, path, self._data[start:at])

    def _is_long(self, at: int) -> bool:
        return len(self._data) - at > MAX_ITEM_BYTES

    def _more(self, keep_from: int) -> bool:
        """Takes the next block, what lies before `keep_from` given up; False at the end."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self._here()
        self._before += keep_from
        self._at -= keep_from
        self._counted -= keep_from
        self._data = self._data[keep_from:] + block
        return True

    def _here(self) -> int:
        """The number of the line that the reading is on."""
        self._line += self._data.count(b"\n", self._counted, self._at)
        self._counted = max(self._counted, self._at)
        return self._line


def _without_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    while len(first) < len(_BOM) and (block := next(blocks, None)) is not None:
        first += block
    yield first.removeprefix(_BOM)
    yield from blocks


def _name(token: bytes) -> str:
    try:
        return str(msgspec.json.decode(token))
    except (msgspec.DecodeError, UnicodeError):
        return token[1:-1].decode("latin-1")
