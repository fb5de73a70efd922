"""Where stored networks lie, roughly: most addresses learn from memory that no network is around them."""

from typing import Final

from threatcloud.domain.address import packed_around

_IPV4: Final = bytes(10) + b"\xff\xff"
_BLOCK_PREFIX: Final = 112


_PREFIXES: Final = 129
_BLOCKS: Final = 1 << 16
#: After the blocks, one byte for each prefix length on the 128 scale, and one for IPv6.
MAP_BYTES: Final = _BLOCKS + _PREFIXES + 1


class NetworkMap:
    """One byte for each /16 of IPv4 that shares an address with a network. Networks are only ever added.

    The bytes may be memory that other processes see: a network is in it before its unit of work is committed, and so
    before anybody can have heard of it.
    """

    def __init__(self, memory: bytearray | memoryview | None = None) -> None:
        self._bytes = bytearray(MAP_BYTES) if memory is None else memory
        self._known: tuple[bytes, set[int]] = (b"", set())

    def add(self, packed: bytes) -> None:
        """Enters a packed network."""
        prefix = packed[16]
        self._bytes[_BLOCKS + prefix] = 1
        if not packed.startswith(_IPV4) or prefix < 96:
            self._bytes[-1] = 1
            return
        block, blocks = int.from_bytes(packed[12:14], "big"), 1 << max(0, _BLOCK_PREFIX - prefix)
        self._bytes[block : block + blocks] = b"\x01" * blocks

    def around(self, value: str) -> list[bytes]:
        """The packed networks that contain a canonical ``ip`` value, and may be stored; mostly there are none."""
        if ":" in value:
            return packed_around(value, self.prefixes) if self._bytes[-1] else []
        first, second, _ = value.split(".", 2)
        return packed_around(value, self.prefixes) if self._bytes[int(first) << 8 | int(second)] else []

    @property
    def prefixes(self) -> set[int]:
        """The prefix lengths of the networks, on the 128 scale."""
        flags = bytes(self._bytes[_BLOCKS:-1])
        if flags != self._known[0]:
            self._known = flags, {prefix for prefix, is_there in enumerate(flags) if is_there}
        return self._known[1]
