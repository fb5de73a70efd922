"""Who may do what: keys, scopes, roles, and the caller a request turns out to be."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.report import KEY_ROLES, Role


class Scope(StrEnum):
    """What a key may do. ``feeds`` is the least: the published lists only."""

    READ = "read"
    WRITE = "write"
    AUDIT = "audit"
    ADMIN = "admin"
    FEEDS = "feeds"


DEFAULT_SCOPES: Final = frozenset({Scope.READ, Scope.WRITE, Scope.AUDIT})
ALL_SCOPES: Final = frozenset(Scope)
KEY_PREFIX: Final = "tc_"
MIN_KEY_LENGTH: Final = 8
MAX_KEY_LENGTH: Final = 256
_KEY: Final = re.compile(r"[\x21-\x2b\x2d-\x39\x3b-\x3f\x41-\x7e]+\Z")


class KeyInfo(NamedTuple):
    """What is known of a key: everything but the key. ``lineage`` is the id of the first key of a rotation.

    ``org``: the organisation it was given to.
    """

    id: str
    lineage: str
    name: str
    mask: str
    scopes: frozenset[Scope]
    role: Role
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    org: str | None = None

    def is_valid_at(self, time_ms: int) -> bool:
        """Neither expired nor revoked: what is revoked stays so, even when the clock is put back."""
        return self.revoked_at is None and (self.expires_at is None or time_ms < self.expires_at)


class Caller(NamedTuple):
    """Who makes a request: the name and role its reports count under, and what it may do.

    ``mask`` is the only trace of the key that may be shown or stored; empty without a key.
    """

    reporter: str
    role: Role
    scopes: frozenset[Scope]
    mask: str
    address: str

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; ``read`` includes ``feeds``."""
        return scope in self.scopes or (scope is Scope.FEEDS and Scope.READ in self.scopes)


class KeyEntry(NamedTuple):
    """One entry of ``TC_API_KEYS``: the key in clear, its scopes and its role."""

    key: str
    scopes: frozenset[Scope]
    role: Role


def mask_of(key: str) -> str:
    """At most the first four and last four characters, and never half of the key or more."""
    shown = min(4, (len(key) - 1) // 4)
    return f"{key[:shown]}…{key[-shown:]}" if shown else "…"


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes of contract words; ValueError names the one that is none, or says that there are none."""
    try:
        scopes = frozenset(Scope(word.strip().lower()) for word in words if word.strip())
    except ValueError as error:
        raise ValueError(f"{error}: scopes are {', '.join(Scope)}".replace("'", "")) from None
    if not scopes:
        raise ValueError(f"at least one scope of {', '.join(Scope)} is needed")
    return scopes


def parse_role(word: str) -> Role:
    """The role a key may have; ValueError for any other."""
    if word not in KEY_ROLES:
        raise ValueError(f"{word!r} is no role: roles are {', '.join(KEY_ROLES)}")
    return Role(word)


def parse_key_entry(entry: str) -> KeyEntry:
    """``key``, ``key:read+write`` or ``key:read+write@agent``; ValueError says what is wrong, never showing the key."""
    key, _, rights = entry.strip().partition(":")
    words, _, role = rights.partition("@")
    if not rights and "@" in key:
        key, _, role = key.partition("@")
    if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH or not _KEY.match(key):
        raise ValueError(
            f"a key must have {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} printable characters, none of , : @ or space"
        )
    try:
        scopes = parse_scopes(words.split("+")) if words else DEFAULT_SCOPES
        return KeyEntry(key, scopes, parse_role(role) if role else Role.OPERATOR)
    except ValueError:
        # Not the words themselves: in a key with a : or @ in it they are a part of the key.
        raise ValueError(
            f"what follows the key must be scopes of {', '.join(Scope)} joined by +, then @ and a role of "
            f"{', '.join(KEY_ROLES)}; a key itself holds no : or @"
        ) from None
