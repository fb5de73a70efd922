"""CrowdSec's decisions, as its local API tells them to bouncers (crowdsec 1.4, ``/v1/decisions``).

A decision ends after its ``duration`` unless it is told again: bouncers give it to packet filters as a timeout. It is
long, so that what a bouncer blocks outlives a server that is down; whoever tells decisions tells all of them anew well
before (``services.bouncing``).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from threatcloud.domain.address import Network, is_network, parse_network
from threatcloud.domain.indicator import IndicatorType, digest
from threatcloud.domain.times import HOUR_MS
from threatcloud.formats.templates import MARKS, Templates, template

DURATION_MS: Final = 168 * HOUR_MS
#: As Go writes durations.
_DURATION: Final = f"{DURATION_MS // HOUR_MS}h0m0s"
_OVER: Final = "-1s"
ORIGIN: Final = "threat-cloud"
TYPE: Final = "ban"
_ID_BYTES: Final = 6  # what a double holds exactly: some bouncers are written in JavaScript


class Decision(msgspec.Struct):
    """What is to be done with an address or network, in the order of fields that crowdsec has."""

    duration: str
    id: int
    origin: str
    scenario: str
    scope: str
    type: str
    value: str


class Stream(msgspec.Struct):
    """What ended and what is new; null where there is nothing."""

    deleted: list[Decision] | None
    new: list[Decision] | None


class Message(msgspec.Struct):
    """The body of a refusal."""

    message: str


def decision(value: str, category: str | None, *, over: bool = False) -> Decision:
    """The decision on a canonical ``ip`` value: the same one has the same number everywhere."""
    scope = _scope(value)
    return _decision(_number(value), category, scope, _shown(scope, value), over=over)


def decision_texts(listed: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """The same of many values with their categories, each encoded."""
    templates = Templates(_template)
    for value, category in listed:
        scope = _scope(value)
        yield templates[category, scope] % (_number(value), _shown(scope, value))


def _template(said: tuple[str | None, str]) -> str:
    category, scope = said
    number, shown, *_ = MARKS
    return template(_decision(number, category, scope, str(shown)), MARKS[:2])


def _decision(number: int, category: str | None, scope: str, shown: str, *, over: bool = False) -> Decision:
    scenario = f"{ORIGIN}/{category or 'uncategorized'}"
    return Decision(_OVER if over else _DURATION, number, ORIGIN, scenario, scope, TYPE, shown)


def _number(value: str) -> int:
    return int.from_bytes(digest(IndicatorType.IP, value)[:_ID_BYTES], "big")


def _scope(value: str) -> str:
    return "Range" if is_network(value) else "Ip"


def _shown(scope: str, value: str) -> str:
    return value.removesuffix("/32") if scope == "Ip" else value


class Selection(NamedTuple):
    """Which decisions are wanted; an empty filter wants all. Scopes in lower case."""

    scopes: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    containing: frozenset[str] = frozenset()
    not_containing: frozenset[str] = frozenset()
    value: str | None = None
    within: Network | None = None

    def wants(self, found: Decision) -> bool:
        """Whether a decision is wanted."""
        return (
            (not self.scopes or found.scope.lower() in self.scopes)
            and (not self.origins or found.origin in self.origins)
            and (not self.types or found.type in self.types)
            and (not self.containing or any(word in found.scenario for word in self.containing))
            and not any(word in found.scenario for word in self.not_containing)
            and (self.value is None or found.value == self.value)
            and (self.within is None or _is_within(found.value, self.within))
        )


ALL: Final = Selection()


def _is_within(value: str, around: Network) -> bool:
    network = parse_network(value)
    return network.version == around.version and around.first <= network.first and network.last <= around.last


def encoded(found: Iterable[Decision], wanted: Selection = ALL) -> bytes:
    """Those that are wanted; ``null`` when there is none."""
    return msgspec.json.encode([item for item in found if wanted.wants(item)] or None)


def stream(deleted: bytes, new: bytes) -> bytes:
    """An answer of the stream, from encoded decisions."""
    return b'{"deleted":%b,"new":%b}' % (deleted, new)


_decode: Final = msgspec.json.Decoder(list[Decision] | None).decode


def narrowed(wanted: Selection) -> Callable[[bytes], bytes]:
    """A function from the encoded decisions of a list to those that are wanted."""
    return lambda body: encoded(_decode(body) or (), wanted)
