"""A writer of MaxMind DB files (version 2.0 of their specification): data by network, for libraries to look up.

The database is one tree of IPv6, where IPv4 lies below ``::/96``. Networks come sorted, so each shares the beginning of
its way with the one before it, and the tree is written from left to right without being looked at again.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

_BITS: Final = 128
_RECORD: Final = struct.Struct(">I")
_SEPARATOR: Final = bytes(16)
_MARKER: Final = b"\xab\xcd\xefMaxMind.com"
_MAP, _ARRAY, _TEXT, _UINT16, _UINT32, _UINT64 = 7, 11, 2, 5, 6, 9
Value = str | int | Mapping[str, "Value"] | Sequence["Value"]


#: A network by its first address and prefix, both of 128 bits, and the number of its data.
Placed = tuple[int, int, int]


def database(
    placed: Iterable[Placed], data: Sequence[Mapping[str, Value]], kind: str, description: str, built_s: int
) -> bytes:
    """The file: what is in several networks has the data of the narrowest, what is in none has none."""
    networks = sorted(placed)
    ways = list(_ways(networks))
    count = 1 + sum(new for _, new in ways)
    section, places = b"", []
    for item in data:
        places.append(count + len(_SEPARATOR) + len(section))
        section += _encoded(item)
    tree = _tree(networks, ways, places, count)
    metadata = _encoded(
        {
            "binary_format_major_version": _Sized(2, _UINT16),
            "binary_format_minor_version": _Sized(0, _UINT16),
            "build_epoch": _Sized(built_s, _UINT64),
            "database_type": kind,
            "description": {"en": description},
            "ip_version": _Sized(6, _UINT16),
            "languages": ["en"],
            "node_count": count,
            "record_size": _Sized(32, _UINT16),
        }
    )
    return b"".join((tree, _SEPARATOR, section, _MARKER, metadata))


def _ways(networks: Sequence[Placed]) -> Iterator[tuple[int, int]]:
    """For each network how deep the last node of its way lies that is there already, and how many are to be made."""
    before, deepest = 0, 0
    for first, prefix, _ in networks:
        depth = min(_BITS - (first ^ before).bit_length(), deepest, prefix - 1)
        yield depth, prefix - 1 - depth
        before, deepest = first, prefix - 1


def _tree(networks: Sequence[Placed], ways: Sequence[tuple[int, int]], places: Sequence[int], empty: int) -> bytearray:
    """The nodes: two records of four bytes, what lies left and what lies right."""
    tree = bytearray(_RECORD.pack(empty) * 2)
    read, write = _RECORD.unpack_from, _RECORD.pack_into
    way = [0] * _BITS
    nodes = 1
    for (first, prefix, data), (depth, new) in zip(networks, ways, strict=True):
        tail = first >> (_BITS - prefix)
        place = 8 * way[depth] + 4 * (tail >> new & 1)
        if not new:
            write(tree, place, places[data])
            continue
        (inherited,) = read(tree, place)
        write(tree, place, nodes)
        way[depth + 1 : depth + new + 1] = range(nodes, nodes + new)
        left = new
        while left:
            levels = min(_LEVELS, left)
            left -= levels
            onward, beside, steps = _chain(levels, tail >> left & (1 << levels) - 1)
            nodes += levels
            if not left:  # its last record is of the data, where another would be of the next node
                steps += places[data] - nodes << 32 * (~tail & 1)
            tree += (onward * (nodes - levels) + beside * inherited + steps).to_bytes(8 * levels, "big")
    return tree


#: So many nodes below each other are written at a time.
_LEVELS: Final = 12


@cache
def _chain(levels: int, turns: int) -> tuple[int, int, int]:
    """Nodes below each other as one number, whose first is called n: onward * n + beside * b + steps.

    Each bit of ``turns`` says on which side the next node is; on the other is b.
    """
    onward = beside = steps = 0
    for level in range(levels):
        lowest = 64 * (levels - 1 - level)
        right = turns >> (levels - 1 - level) & 1
        onward |= 1 << lowest + 32 * (1 - right)
        beside |= 1 << lowest + 32 * right
        steps |= level + 1 << lowest + 32 * (1 - right)
    return onward, beside, steps


class _Sized(NamedTuple):
    """A number in a type of its own."""

    number: int
    type: int


def _encoded(value: object) -> bytes:
    if isinstance(value, _Sized):
        return _number(value.number, value.type)
    if isinstance(value, str):
        text = value.encode()
        return _control(_TEXT, len(text)) + text
    if isinstance(value, int):
        return _number(value, _UINT32)
    if isinstance(value, Mapping):
        parts = (_encoded(key) + _encoded(item) for key, item in value.items())
        return _control(_MAP, len(value)) + b"".join(parts)
    assert isinstance(value, Sequence)
    return _control(_ARRAY, len(value)) + b"".join(map(_encoded, value))


def _number(number: int, kind: int) -> bytes:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _control(kind, len(raw)) + raw


def _control(kind: int, size: int) -> bytes:
    """The bytes before a value: its type and its size, of which 285 and more are never needed."""
    short, more = (size, b"") if size < 29 else (29, struct.pack(">B", size - 29))
    return struct.pack(">B", kind << 5 | short) + more if kind < 8 else struct.pack(">BB", short, kind - 7) + more
