"""Keys: who is calling, and the making, listing, revoking and rotating of keys."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from threatcloud.domain.access import ALL_SCOPES, KEY_PREFIX, Caller, KeyEntry, KeyInfo, Scope, mask_of
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.report import Role
from threatcloud.domain.times import HOUR_MS
from threatcloud.services.secrets import Secret
from threatcloud.storage import keys, ledger
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Clock, Store

DEFAULT_OVERLAP_HOURS: Final = 24


#: Who works on this machine with the database's own files: the operator, by the rights of the file system.
LOCAL_OPERATOR: Final = Caller("local", Role.OPERATOR, ALL_SCOPES, "local", "local")


class NewKey(NamedTuple):
    """A key just made: the only time it exists in clear."""

    key: str
    info: KeyInfo


class KeyRing:
    """Every valid key by its keyed digest, in memory: a look-up by a digest nobody else can compute leaks no timing."""

    def __init__(self, secret: Secret, entries: Iterable[KeyEntry]) -> None:
        self._secret = secret
        self._configured = {secret.digest_key(entry.key): _configured(secret, entry) for entry in entries}
        self._keys: dict[bytes, KeyInfo] = dict(self._configured)
        #: Grows when keys change: what was concluded from them before is not to be used again.
        self.version = 0
        self._loading = asyncio.Lock()

    def load(self, db: Connection) -> None:
        """Reads the stored keys anew; those of the environment stay."""
        self._keys = dict(keys.all_keys(db)) | self._configured
        self.version += 1

    async def reload(self, store: Store) -> None:
        """As ``load``, one after the other: what was read earlier never takes the place of what was read later."""
        async with self._loading:
            await store.read(self.load)

    def find(self, key: str, now: int) -> KeyInfo | None:
        """The valid key this is, or None."""
        info = self._keys.get(self._secret.digest_key(key))
        return info if info is not None and info.is_valid_at(now) else None

    def has_any(self, now: int) -> bool:
        """Whether any key can be used at all."""
        return any(info.is_valid_at(now) for info in self._keys.values())

    def configured(self) -> list[KeyInfo]:
        """The keys given by the environment, which are not stored."""
        return list(self._configured.values())


def _configured(secret: Secret, entry: KeyEntry) -> KeyInfo:
    key_id = "key_" + secret.digest_key(entry.key)[:8].hex()
    return KeyInfo(key_id, key_id, "TC_API_KEYS", mask_of(entry.key), entry.scopes, entry.role, 0)


def caller_with_key(info: KeyInfo, address: str) -> Caller:
    """The caller a valid key makes."""
    return Caller(f"key:{info.lineage}", info.role, info.scopes, info.mask, address)


@lru_cache(maxsize=4_096)
def caller_without_key(address: str) -> Caller:
    """A caller without a key: its reports count under its address block (/24, IPv6 /48), as anonymous.

    Kept for addresses seen lately: to find the block was half of what a health check took.
    """
    try:
        ip = ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        block = str(ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
    except ValueError:
        block = "unknown"
    return Caller(f"block:{block}", Role.ANONYMOUS, frozenset(), "", address)


class KeyDesk:
    """The operator's side of keys. Every change is in the audit ledger."""

    def __init__(self, store: Store, secret: Secret, clock: Clock, ring: KeyRing) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock
        self._ring = ring

    async def create(
        self,
        name: str,
        scopes: frozenset[Scope],
        role: Role,
        expires_at: int | None,
        by: Caller,
        org: str | None = None,
    ) -> NewKey:
        """A new random key of 256 bits; only its digest is stored."""
        new = self._make(name, scopes, role, expires_at, org, lineage=None)
        await self._write(lambda tx: self._add(tx, new, by))
        return new

    async def _write(self, work: Callable[[Transaction], None]) -> None:
        """Changes keys; when it returns this process knows them as they are."""
        await self._store.write(work)
        await self._ring.reload(self._store)

    def _make(
        self,
        name: str,
        scopes: frozenset[Scope],
        role: Role,
        expires_at: int | None,
        org: str | None,
        lineage: str | None,
    ) -> NewKey:
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        key_id = "key_" + secrets.token_hex(8)
        created_at = self._clock()
        mask = mask_of(key)
        info = KeyInfo(key_id, lineage or key_id, name, mask, scopes, role, created_at, expires_at, org=org)
        return NewKey(key, info)

    def _add(self, tx: Transaction, new: NewKey, by: Caller) -> None:
        info = new.info
        keys.add_key(tx, self._secret.digest_key(new.key), info)
        details = {"id": info.id, "name": info.name, "scopes": sorted(info.scopes), "role": info.role.value}
        ledger.append(tx, self._secret.audit, ledger.Act("create", "key", by.mask, by.address, details))

    async def list(self) -> Sequence[KeyInfo]:
        """Every key, those of the environment first, then by age."""
        stored = await self._store.read(keys.all_keys)
        return [*self._ring.configured(), *(info for _, info in stored)]

    async def lineage(self, key_id: str) -> str | None:
        """The lineage of a key, ended or not; None when there is no such key."""
        return next((info.lineage for info in await self.list() if info.id == key_id), None)

    async def revoke(self, key_id: str, by: Caller) -> KeyInfo:
        """Ends a key at once; NotFound when there is none, Conflict when the environment gives it."""
        info = await self._stored(key_id)

        def work(tx: Transaction) -> None:
            keys.end_key(tx, key_id, revoked_at=tx.now)
            ledger.append(tx, self._secret.audit, ledger.Act("delete", "key", by.mask, by.address, {"id": key_id}))

        await self._write(work)
        return info

    async def rotate(self, key_id: str, overlap_hours: float, by: Caller) -> NewKey:
        """A new key with the rights and the history of an old one, which works on for the overlap."""
        old = await self._stored(key_id)
        new = self._make(old.name, old.scopes, old.role, old.expires_at, old.org, old.lineage)
        ends_at = self._clock() + int(overlap_hours * HOUR_MS)
        if old.expires_at is not None:
            ends_at = min(ends_at, old.expires_at)

        def work(tx: Transaction) -> None:
            self._add(tx, new, by)
            keys.end_key(tx, key_id, expires_at=ends_at)
            details = {"id": key_id, "replacedBy": new.info.id, "overlapHours": overlap_hours}
            ledger.append(tx, self._secret.audit, ledger.Act("update", "key", by.mask, by.address, details))

        await self._write(work)
        return new

    async def _stored(self, key_id: str) -> KeyInfo:
        if any(info.id == key_id for info in self._ring.configured()):
            raise Conflict(f"{key_id} is given by TC_API_KEYS; change it there and restart")
        info = await self._store.read(lambda db: keys.find_key(db, key_id))
        if info is None:
            raise NotFound(f"there is no key {key_id}; see: threat-cloud key list")
        if not info.is_valid_at(self._clock()):
            raise Conflict(f"{key_id} has ended already")
        return info
