"""The zone of a blocklist: what is asked becomes what is answered (RFC 5782). Pure.

``7.113.0.203.ZONE`` asks for 203.0.113.7, thirty-two nibbles ask for an IPv6 address, every other name for a domain.
Listed: an A record 127.0.0.x by category and TXT with the reason; else NXDOMAIN, with the SOA that says for how long.
"""

import struct
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final

from threatcloud.dns.listings import CODES, WORDS, Listings
from threatcloud.dns.message import Code, Question, Record, Type, parse, reply

TTL_S: Final = 60
#: Longer names have no room for what is said of them.
_MAX_TEXT_BYTES: Final = 160
_OCTETS: Final = {str(number).encode(): number for number in range(256)}
_NIBBLES: Final = {b"%x" % number: number for number in range(16)}
_LOOPBACK: Final = 0x7F000000
_MAPPED: Final = 0xFFFF << 32
_TEST_CODE: Final = 2
_REFRESH_S, _RETRY_S, _EXPIRE_S = 3600, 600, 86_400


@dataclass(slots=True)
class Zone:
    """A zone and what is listed in it. ``serial`` is that of its SOA; ``link``, with ``{value}``, tells more."""

    origin: str
    listings: Listings = field(default_factory=Listings)
    serial: int = 1
    link: str = ""
    ttl_s: int = TTL_S
    labels: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = tuple(self.origin.lower().strip(".").encode("ascii").split(b"."))

    def answer(self, packet: bytes) -> bytes | None:
        """The answer to a packet; None where none is given."""
        question = parse(packet)
        if question is None:
            return None
        if question.refusal is not None:
            return reply(question, question.refusal)
        labels, own = question.labels, len(self.labels)
        if labels[-own:] != self.labels:
            return reply(question, Code.REFUSED)
        asked = labels[:-own]
        if not asked:
            return self._apex(question)
        code, value, is_below = self._find(asked)
        if code is None:
            return reply(question, Code.NOERROR if is_below else Code.NXDOMAIN, (), self._soa(question))
        return self._listed(question, code, value)

    def _listed(self, question: Question, code: int, value: str) -> bytes:
        found: tuple[Record, ...] = ()
        if question.type in (Type.A, Type.ANY):
            found = (Record(Type.A, self.ttl_s, bytes((127, 0, 0, code))),)
        elif question.type == Type.TXT:
            text = f"{WORDS[code]} {self.link.replace('{value}', value)}".strip().encode()[:_MAX_TEXT_BYTES]
            found = (Record(Type.TXT, self.ttl_s, bytes((len(text),)) + text),)
        return reply(question, Code.NOERROR, found, None if found else self._soa(question))

    def _find(self, asked: tuple[bytes, ...]) -> tuple[int | None, str, bool]:
        """The code of what is asked for (None: not listed), its value, and whether names below it may be listed."""
        octets = [_OCTETS.get(label) for label in asked] if len(asked) <= 4 else [None]
        if None not in octets:
            if len(octets) < 4:
                return None, "", True
            address = sum(octet << 8 * place for place, octet in enumerate(octets) if octet)
            is_beginning = all(len(label) == 1 for label in asked)  # of the nibbles of an IPv6 address
            return self._of_ipv4(address), ".".join(str(octet) for octet in reversed(octets)), is_beginning
        if len(asked) >= 5 or len(asked[0]) == 1:
            nibbles = [_NIBBLES.get(label) for label in asked] if len(asked) <= 32 else [None]
            if None not in nibbles:
                if len(nibbles) < 32:
                    return None, "", True
                number = sum(nibble << 4 * place for place, nibble in enumerate(nibbles) if nibble)
                return self._of_ipv6(number), _ipv6_text(number), False
        return self._of_name(asked)

    def _of_ipv4(self, address: int) -> int | None:
        if address >> 24 == _LOOPBACK >> 24:  # the test points of RFC 5782 section 5
            return _TEST_CODE if address == _LOOPBACK + 2 else None
        return self.listings.of_address(4, address)

    def _of_ipv6(self, number: int) -> int | None:
        if number >> 32 == _MAPPED >> 32:
            return self._of_ipv4(number & 0xFFFFFFFF)
        return self.listings.of_address(6, number)

    def _of_name(self, asked: tuple[bytes, ...]) -> tuple[int | None, str, bool]:
        name = b".".join(asked)
        if name == b"test":
            return _TEST_CODE, "test", False
        value = name.decode("ascii", "replace") if name.isascii() else ""
        return self.listings.of_name(name), value, len(asked) == 1

    def _apex(self, question: Question) -> bytes:
        if question.type in (Type.SOA, Type.ANY):
            return reply(question, Code.NOERROR, (self._soa(question),))
        if question.type == Type.NS:
            return reply(question, Code.NOERROR, (Record(Type.NS, self.ttl_s, b"\x02ns" + _pointer(0)),))
        return reply(question, Code.NOERROR, (), self._soa(question))

    def _soa(self, question: Question) -> Record:
        """The SOA record, its names compressed into the question; what is not there is so for ``ttl_s``."""
        at = len(question.raw) - 4 - 1 - sum(len(label) + 1 for label in self.labels)
        numbers = struct.pack("!5I", self.serial & 0xFFFFFFFF, _REFRESH_S, _RETRY_S, _EXPIRE_S, self.ttl_s)
        data = b"\x02ns" + _pointer(at) + b"\x0ahostmaster" + _pointer(at) + numbers
        return Record(Type.SOA, self.ttl_s, data, at)


def _pointer(at: int) -> bytes:
    """A compressed name: that at an offset in the question."""
    return struct.pack("!H", 0xC000 | 12 + at)


def _ipv6_text(number: int) -> str:
    return str(IPv6Address(number))


def meaning() -> dict[str, str]:
    """What each answer says."""
    return {f"127.0.0.{code}": category or "no category" for category, code in CODES.items()}
