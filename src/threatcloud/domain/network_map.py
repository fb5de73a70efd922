"""Where stored networks lie, roughly: most addresses learn from memory that no network is around them."""

from typing import Final

from threatcloud.domain.address import packed_around

_IPV4: Final = bytes(10) + b"\xff\xff"
_BLOCK_PREFIX: Final = 112


class NetworkMap:
    """One byte for each /16 of IPv4 that shares an address with a network. Networks are only ever added."""

    def __init__(self) -> None:
        #: Prefix lengths on the 128 scale.
        self.prefixes: set[int] = set()
        self._blocks = bytearray(1 << 16)
        self._has_ipv6 = False

    def add(self, packed: bytes) -> None:
        """Enters a packed network."""
        prefix = packed[16]
        self.prefixes.add(prefix)
        if not packed.startswith(_IPV4) or prefix < 96:
            self._has_ipv6 = True
            return
        block, blocks = int.from_bytes(packed[12:14], "big"), 1 << max(0, _BLOCK_PREFIX - prefix)
        self._blocks[block : block + blocks] = b"\x01" * blocks

    def around(self, value: str) -> list[bytes]:
        """The packed networks that contain a canonical ``ip`` value, and may be stored; mostly there are none."""
        if ":" in value:
            return packed_around(value, self.prefixes) if self._has_ipv6 else []
        first, second, _ = value.split(".", 2)
        return packed_around(value, self.prefixes) if self._blocks[int(first) << 8 | int(second)] else []
