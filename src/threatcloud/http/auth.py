"""Who calls: the client's address behind trusted proxies, the key it sends, and whether it may."""

from base64 import b64decode
from binascii import Error
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from threatcloud.domain.access import Caller, KeyInfo, Scope
from threatcloud.domain.errors import Forbidden, Unauthenticated
from threatcloud.http.endpoint import Access
from threatcloud.services.access import KeyRing, caller_with_key, caller_without_key
from threatcloud.setting_values import Networks

_SCOPES: Final = {
    Access.READ: Scope.READ,
    Access.READ_PRIVATE: Scope.READ,
    Access.FEEDS: Scope.FEEDS,
    Access.BARE: Scope.FEEDS,
    Access.REPORT: Scope.WRITE,
    Access.WRITE: Scope.WRITE,
    Access.EXCHANGE: Scope.WRITE,
    Access.AUDIT: Scope.AUDIT,
    Access.ADMIN: Scope.ADMIN,
}
_MAX_RECENT: Final = 1_000
#: What clients ask for that know user and password only.
_WITH_PASSWORD: Final = frozenset({Access.FEEDS, Access.EXCHANGE})
_PUBLIC: Final = frozenset({Access.READ, Access.FEEDS})


def client_address(peer: str, forwarded_for: str | None, trusted: Networks) -> str:
    """The caller's address: the peer's, or when that is a trusted proxy the last address it forwards that is none."""
    if not trusted or not forwarded_for or not _is_trusted(peer, trusted):
        return peer
    for text in reversed(forwarded_for.split(",")):
        address = _plain_address(text.strip())
        if address is None:
            return peer
        peer = address
        if not _is_trusted(address, trusted):
            return address
    return peer


def _plain_address(text: str) -> str | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _is_trusted(text: str, trusted: Networks) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and isinstance(address.ipv4_mapped, IPv4Address):
        address = address.ipv4_mapped
    return any(address in network for network in trusted)


class Gate:
    """Tells callers apart and lets them in or not."""

    def __init__(self, ring: KeyRing, *, public_read: bool, anonymous_upload: bool) -> None:
        self._ring = ring
        #: Callers seen lately by their header and address: to find them anew takes a tenth of the time of a look-up.
        self._recent: dict[tuple[bytes, str], tuple[KeyInfo, Caller]] = {}
        self._recent_version = ring.version
        #: What needs no key here.
        self._free = {Access.OPEN, *(_PUBLIC if public_read else ()), *([Access.REPORT] if anonymous_upload else ())}

    def identify(self, authorization: bytes | None, access: Access, address: str, now: int) -> Caller:
        """The caller; Unauthenticated when a key is sent that is none, or none is sent where one is needed."""
        if authorization is None:
            if access in self._free:
                return caller_without_key(address)
            raise Unauthenticated("an API key is needed: send it as Authorization: Bearer KEY")
        if access is Access.OPEN:
            return caller_without_key(address)
        caller = self._known(authorization, access, address, now)
        if caller is None:
            raise Unauthenticated("this API key is unknown, expired or revoked")
        # Where no key is needed, one that lacks the scope gives no rights and lends no weight.
        is_anyone = access in self._free and not caller.may(_SCOPES[access])
        return caller_without_key(address) if is_anyone else caller

    def authorise(self, caller: Caller, access: Access) -> None:
        """Forbidden when the caller lacks the scope of the route."""
        if access not in self._free and not caller.may(_SCOPES[access]):
            raise Forbidden(f"this API key lacks the scope {_SCOPES[access].value}")

    def _known(self, authorization: bytes, access: Access, address: str, now: int) -> Caller | None:
        """The caller whose valid key this is."""
        version = self._ring.version
        if self._recent_version != version or len(self._recent) > _MAX_RECENT:
            self._recent, self._recent_version = {}, version
        recent = self._recent.get((authorization, address))
        if recent is not None and recent[0].is_valid_at(now):
            return recent[1]
        info = self._find(authorization, access, now)
        if info is None:
            return None
        caller = caller_with_key(info, address)
        if authorization[:7].lower() == b"bearer ":
            self._recent[authorization, address] = (info, caller)
        return caller

    def _find(self, authorization: bytes, access: Access, now: int) -> KeyInfo | None:
        scheme, _, value = authorization.decode("latin-1").partition(" ")
        value = value.strip()
        if scheme.lower() == "bearer":
            return self._ring.find(value, now)
        if scheme.lower() == "basic" and access in _WITH_PASSWORD:
            try:
                _, _, password = b64decode(value, validate=True).decode("utf-8").partition(":")
            except (Error, ValueError):
                return None
            return self._ring.find(password, now)
        return self._ring.find(scheme, now) if access is Access.BARE and not value else None
