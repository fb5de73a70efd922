"""What indicators can have in common, and how much that says. Pure; the values correlation counts are made here.

A feature says much while few have it and nothing once it is a hub (shared hosting, a word-list everybody uses):
``weight`` falls with the number of its members. Two indicators belong together when the weights of what they share
reach ``THRESHOLD``.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from threatcloud.domain.address import masked, network_value, parse_network
from threatcloud.domain.hosts import url_host
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.metadata import gathered
from threatcloud.domain.publication import WEBMAIL
from threatcloud.domain.times import week_of

THRESHOLD: Final = 1.0
_KIND_BITS: Final = 4
_MIN_CREDENTIALS: Final = 3
_MAX_TEXT_CHARS: Final = 200
_DIGITS: Final = re.compile(r"[0-9]+")
#: Malware families nobody can tell apart by.
_GENERIC_FAMILIES: Final = frozenset({"", "elf", "exe", "generic", "malware", "none", "trojan", "unknown"})


class FeatureKind(IntEnum):
    """Kinds of features; the number is stored."""

    RELATION = 1
    HOST = 2
    DOMAIN = 3
    REFERENCE = 4
    CREDENTIALS = 5
    COMMANDS = 6
    NETWORK = 7
    NETWORK_WEEK = 8
    PATTERN = 9
    FAMILY = 10
    SUBMISSION = 11
    TECHNIQUES_WEEK = 12

    # That of an enumeration is written in Python, and kinds are looked up for every feature there is.
    __hash__ = int.__hash__


KIND_WORDS: Final[dict[int, str]] = {kind.value: kind.name.lower().replace("_", " ") for kind in FeatureKind}


class Scale(NamedTuple):
    """What a feature of a kind counts: ``base`` up to ``full`` members, falling from there, nothing over ``most``."""

    base: float
    full: int
    most: int


#: From 1 on, sharing it is enough. Those below only add up: a neighbour in the network who was seen in the same week
#: for the same thing, a name of the same make in the same submission.
SCALES: Final = {
    FeatureKind.RELATION: Scale(1.5, 200, 1000),
    FeatureKind.HOST: Scale(1.5, 200, 1000),
    FeatureKind.DOMAIN: Scale(1.2, 100, 400),
    FeatureKind.REFERENCE: Scale(1.5, 300, 2000),
    FeatureKind.CREDENTIALS: Scale(1.2, 50, 200),
    FeatureKind.COMMANDS: Scale(1.2, 50, 200),
    FeatureKind.NETWORK: Scale(0.6, 8, 32),
    FeatureKind.NETWORK_WEEK: Scale(0.5, 8, 32),
    FeatureKind.PATTERN: Scale(0.6, 8, 32),
    FeatureKind.FAMILY: Scale(0.4, 8, 32),
    FeatureKind.SUBMISSION: Scale(0.5, 16, 32),
    FeatureKind.TECHNIQUES_WEEK: Scale(0.3, 8, 32),
}


# Reaching a member through its class costs as much as the comparison, and every value that is listed comes by here.
_IP, _DOMAIN, _HASH, _URL, _EMAIL, _CVE = IndicatorType
_BY_HOST, _BY_DOMAIN, _BY_PATTERN = FeatureKind.HOST, FeatureKind.DOMAIN, FeatureKind.PATTERN
_KIND_MASK: Final = (1 << _KIND_BITS) - 1
_KINDS: Final = {kind.value: kind for kind in FeatureKind}
_SCALES: Final = {kind.value: scale for kind, scale in SCALES.items()}
_HASHERS: Final = {kind: hashlib.blake2b(digest_size=8, salt=bytes([kind])) for kind in FeatureKind}


class Feature(NamedTuple):
    """One feature of an indicator, with the text that people read."""

    kind: FeatureKind
    text: str

    @property
    def key(self) -> int:
        """The number it is stored and counted under: 59 bits of a digest, and the kind."""
        kind, text = self
        hasher = _HASHERS[kind].copy()  # half of what making one costs
        hasher.update(text.encode())
        return int.from_bytes(hasher.digest(), "big") >> 5 << _KIND_BITS | kind


class Saying(NamedTuple):
    """What one report says, as far as it can connect: who sent it when, what for, and its metadata.

    ``from_log``: when it was sent tells nothing, since a log is sent whole.
    """

    reporter: int
    received_at: int
    observed_at: int
    category: str | None
    metadata: Mapping[str, Any]
    from_log: bool = False


def kind_of(key: int) -> FeatureKind:
    """The kind of the feature a key stands for."""
    return _KINDS[key & _KIND_MASK]


def weight(key: int, members: int) -> float:
    """How much it says that two indicators share the feature of this key, when so many have it in all."""
    base, full, most = _SCALES[key & _KIND_MASK]
    if members > most:
        return 0.0
    return base if members <= full else base * (full / members) ** 0.5


def most_members(key: int) -> int:
    """From how many members on the feature says nothing."""
    return _SCALES[key & _KIND_MASK].most


class Names(NamedTuple):
    """How names are read: what somebody registered, and whether a host is one that anybody uses."""

    registered_domain: Callable[[str], str | None]
    is_common: Callable[[str], bool]


def relation_feature(indicator: Indicator) -> Feature:
    """The feature of an indicator and of all that are related to it."""
    return Feature(FeatureKind.RELATION, f"{indicator.type.value} {indicator.value}"[:_MAX_TEXT_CHARS])


def value_features(indicator: Indicator, names: Names) -> Iterator[Feature]:
    """What the value itself shows: host, registered domain, the make of the name."""
    kind, value = indicator
    if kind is _IP:
        yield Feature(_BY_HOST, value)
    elif kind is _DOMAIN:
        yield from _host_features(value, names)
        yield from _pattern(value)
    elif kind is _URL:
        host = url_host(value)
        if host.network is not None:
            yield Feature(_BY_HOST, host.text)
        else:
            yield from _host_features(host.text, names)
    elif kind is _EMAIL:
        domain = value.rpartition("@")[2]
        if domain not in WEBMAIL:
            yield from _host_features(domain, names)


def _host_features(host: str, names: Names) -> Iterator[Feature]:
    if names.is_common(host):
        return
    yield Feature(_BY_HOST, host)
    registered = names.registered_domain(host)
    if registered is not None and (registered == host or not names.is_common(registered)):
        yield Feature(_BY_DOMAIN, registered)


def _pattern(name: str) -> Iterator[Feature]:
    """``secure-login-12.example`` is of the make ``secure-login-#``; a plain word is of no make."""
    make = _DIGITS.sub("#", name.rpartition(".")[0].rpartition(".")[2])
    letters = make.replace("#", "").replace("-", "")
    if 4 <= len(letters) < len(make) and not make.startswith("xn--"):
        yield Feature(_BY_PATTERN, make)


def said_features(indicator: Indicator, said: Saying) -> Iterator[Feature]:
    """What a report adds: where it was published, who sent it when, credentials, commands, family, neighbours."""
    metadata, week = said.metadata, week_of(said.observed_at)
    for name in ("ref", "reference", "report"):
        if isinstance(metadata.get(name), str) and metadata[name].strip():
            yield Feature(FeatureKind.REFERENCE, metadata[name].strip()[:_MAX_TEXT_CHARS])
    if not said.from_log:
        yield Feature(FeatureKind.SUBMISSION, f"{said.reporter} at {said.received_at}")
    digests = metadata.get("credentialDigests")
    if isinstance(digests, list) and len(digests) >= _MIN_CREDENTIALS:
        yield Feature(FeatureKind.CREDENTIALS, _digest(",".join(sorted(map(str, digests)))))
    commands = metadata.get("commandDigest")
    if isinstance(commands, str):
        yield Feature(FeatureKind.COMMANDS, commands)
    family = str(metadata.get("malwareFamily") or "").strip().lower()
    if family not in _GENERIC_FAMILIES:
        yield Feature(FeatureKind.FAMILY, family[:_MAX_TEXT_CHARS])
    techniques = sorted(map(str, gathered(metadata, "mitreIds")))
    if techniques:
        words = f"{said.category or 'uncategorized'}, {' '.join(techniques)}, week of {week}"
        yield Feature(FeatureKind.TECHNIQUES_WEEK, words[:_MAX_TEXT_CHARS])
    if indicator.type is IndicatorType.IP:
        yield from _neighbourhood(indicator.value, said.category, week)


def _neighbourhood(value: str, category: str | None, week: str) -> Iterator[Feature]:
    version, first, prefix = parse_network(value)
    around = 24 if version == 4 else 48
    if prefix < around:
        return
    text = network_value(masked(version, first, around))
    yield Feature(FeatureKind.NETWORK, text)
    yield Feature(FeatureKind.NETWORK_WEEK, f"{text} {category or 'uncategorized'}, week of {week}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def words(feature_kind: FeatureKind, text: str, members: int) -> str:
    """One sentence on why these belong together."""
    return _SENTENCES[feature_kind].format(n=members, text=text)


_SENTENCES: Final = {
    FeatureKind.RELATION: "{n} are related to {text}",
    FeatureKind.HOST: "{n} are on the host {text}",
    FeatureKind.DOMAIN: "{n} are under the registered domain {text}",
    FeatureKind.REFERENCE: "{n} were published together in {text}",
    FeatureKind.CREDENTIALS: "{n} tried the same set of credentials",
    FeatureKind.COMMANDS: "{n} ran the same sequence of commands",
    FeatureKind.NETWORK: "{n} are in the network {text}",
    FeatureKind.NETWORK_WEEK: "{n} were seen for the same thing in the same week in one network ({text})",
    FeatureKind.PATTERN: "{n} have names of the same make ({text})",
    FeatureKind.FAMILY: "{n} are of the malware family {text}",
    FeatureKind.SUBMISSION: "{n} were reported together",
    FeatureKind.TECHNIQUES_WEEK: "{n} were seen with the same techniques in the same week ({text})",
}
