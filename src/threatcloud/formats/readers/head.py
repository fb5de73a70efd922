"""The beginning of an input, by which its format is told."""

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from functools import cached_property

from threatcloud.formats.readers.lines import lines_of
from threatcloud.formats.readers.packing import BLOCK_BYTES

HEAD_BYTES = BLOCK_BYTES
HEAD_LINES = 100
_member = re.compile(rb'"([^"\\\x00-\x1f]{1,64})"\s*:')


class Head:
    """The first 64 KiB of what an input holds, unpacked; `is_whole` where it holds no more."""

    def __init__(self, data: bytes, *, is_whole: bool) -> None:
        self.data = data.removeprefix(BOM_UTF8)
        self.is_whole = is_whole

    @cached_property
    def start(self) -> bytes:
        """The first bytes that are no white space."""
        return self.data.lstrip()[:1024]

    @cached_property
    def lines(self) -> Sequence[str]:
        """The first lines that are text, at most 100."""
        data = self.data if self.is_whole else self.data[: self.data.rfind(b"\n") + 1] or self.data
        blocks = (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
        found = [line for line in lines_of(blocks) if isinstance(line, str)]
        return found[:HEAD_LINES]

    @cached_property
    def members(self) -> frozenset[str]:
        """The names of members that a JSON text has in its beginning, however deep; none of what is no JSON."""
        if not self.start.startswith((b"{", b"[")):
            return frozenset()
        return frozenset(name.decode(errors="replace") for name in _member.findall(self.data))

    def says(self, *members: str) -> bool:
        """Whether it is JSON and has every one of these members."""
        return self.members.issuperset(members)
