"""DNS messages, as far as a blocklist needs them (RFC 1035, EDNS of RFC 6891): a question in, a small answer out. Pure.

Nothing here is longer than 512 bytes, so that no answer is ever cut or much larger than what asked for it.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

MAX_BYTES: Final = 512
_HEADER: Final = struct.Struct("!HHHHHH")
_TAIL: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_OPT_TYPE: Final = 41
#: What we take over UDP (RFC 9715); what we send never needs it.
_PAYLOAD_BYTES: Final = 1232
_IN: Final = 1
_ANY_CLASS: Final = 255
_QUESTION_POINTER: Final = b"\xc0\x0c"
_MAX_NAME_BYTES: Final = 255
_RESPONSE, _AUTHORITATIVE, _RECURSION_DESIRED, _OPCODE = 0x8000, 0x0400, 0x0100, 0x7800


class Type(IntEnum):
    """The types of records there are here."""

    A = 1
    NS = 2
    SOA = 6
    TXT = 16
    ANY = 255


class Code(IntEnum):
    """Response codes."""

    NOERROR = 0
    FORMERR = 1
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Question(NamedTuple):
    """A question. ``labels`` are in lower case, ``raw`` is the name as it came, ``has_edns`` whether OPT was with it.

    ``refusal`` says why it cannot be answered, whatever it asks.
    """

    number: int
    flags: int
    labels: tuple[bytes, ...]
    type: int
    raw: bytes
    has_edns: bool
    refusal: Code | None = None


def parse(packet: bytes) -> Question | None:
    """The question of a message; None for what is not worth an answer: no message, or an answer itself."""
    if len(packet) < 12:
        return None
    number, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        return None
    if flags & _OPCODE:
        return Question(number, flags, (), 0, b"", False, Code.NOTIMP)
    broken = Question(number, flags, (), 0, b"", False, Code.FORMERR)
    if questions != 1 or answers or authorities or additionals > 2:
        return broken
    labels: list[bytes] = []
    at, end = 12, len(packet)
    while at < end and (size := packet[at]):
        if size > 63 or at - 12 + size + 1 >= _MAX_NAME_BYTES:
            return broken
        labels.append(packet[at + 1 : at + 1 + size])
        at += size + 1
    if at + 5 > end:
        return broken
    kind, network = _TAIL.unpack_from(packet, at + 1)
    raw = packet[12 : at + 5]
    lower = tuple(b"\0".join(labels).lower().split(b"\0")) if labels else ()
    if len(lower) != len(labels):  # a zero byte in a label: no name of ours has one
        return Question(number, flags, (), kind, raw, False, Code.REFUSED)
    refusal = None if network in (_IN, _ANY_CLASS) else Code.REFUSED
    edns = _edns(packet, at + 5) if additionals else None
    if edns is not None and edns > 0:
        refusal = Code.BADVERS
    return Question(number, flags, lower, kind, raw, edns is not None, refusal)


def _edns(packet: bytes, at: int) -> int | None:
    """The version of EDNS in the record right behind the question; None where there is another or none."""
    if packet[at : at + 3] != b"\0\0\x29" or len(packet) < at + 11:
        return None
    return packet[at + 6]


class Record(NamedTuple):
    """A record of the name that was asked for, or with an ``owner`` of another: its offset in the question."""

    type: Type
    ttl_s: int
    data: bytes
    owner: int = 0


def record(found: Record) -> bytes:
    """The bytes of a record."""
    name = _QUESTION_POINTER if not found.owner else struct.pack("!H", 0xC000 | 12 + found.owner)
    return name + _RECORD.pack(found.type, _IN, found.ttl_s, len(found.data)) + found.data


def reply(question: Question, code: Code, answers: tuple[Record, ...] = (), authority: Record | None = None) -> bytes:
    """The answer to a question."""
    flags = _RESPONSE | (question.flags & (_OPCODE | _RECURSION_DESIRED)) | (code & 15)
    if code in (Code.NOERROR, Code.NXDOMAIN):
        flags |= _AUTHORITATIVE
    counts = (1 if question.raw else 0, len(answers), 1 if authority else 0, 1 if question.has_edns else 0)
    parts = [_HEADER.pack(question.number, flags, *counts), question.raw, *map(record, answers)]
    if authority is not None:
        parts.append(record(authority))
    if question.has_edns:
        parts.append(b"\0" + _RECORD.pack(_OPT_TYPE, _PAYLOAD_BYTES, code >> 4 << 24, 0))
    return b"".join(parts)
