"""The audit ledger: entries chained by keyed digests, so that none can be changed, dropped or slipped in unseen.

``link = HMAC(secret, previous link, entry)`` where the entry carries only a salted digest of its details: the details
can be erased later and the chain still verifies. Without the secret the chain cannot be made anew. What a chain cannot
show is a cut at its end; keep the link that ``audit verify`` prints elsewhere to notice that too.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, NamedTuple

GENESIS: Final = bytes(32)
ACTIONS: Final = ("create", "update", "delete", "query")


class AuditEntry(NamedTuple):
    """One entry as it stands in the ledger. ``details`` (JSON text) and ``salt`` are None once erased."""

    seq: int
    at: int
    action: str
    resource: str
    api_key: str
    ip: str
    details_digest: bytes
    link: bytes
    salt: bytes | None
    details: str | None


class Verdict(NamedTuple):
    """The result of a check: how many entries hold, the last good link, and what is wrong (None: nothing)."""

    entries: int
    link: bytes
    problem: str | None


def digest_details(salt: bytes, details: str) -> bytes:
    """The salted digest that stands for the details in the chain."""
    return hashlib.sha256(salt + details.encode()).digest()


def next_link(
    secret: bytes, previous: bytes, at: int, action: str, resource: str, api_key: str, ip: str, digest: bytes
) -> bytes:
    """The link of an entry that follows ``previous``."""
    fields = (str(at), action, resource, api_key, ip)
    message = previous + digest + b"".join(len(field.encode()).to_bytes(4) + field.encode() for field in fields)
    return hmac.digest(secret, message, "sha256")


def verify_chain(secret: bytes, entries: Iterable[AuditEntry]) -> Verdict:
    """Checks a whole ledger, oldest entry first; an empty one holds."""
    link, count, last_seq = GENESIS, 0, 0
    for entry in entries:
        problem = _fault(secret, link, entry, last_seq)
        if problem:
            return Verdict(count, link, f"entry {entry.seq}: {problem}")
        link, count, last_seq = entry.link, count + 1, entry.seq
    return Verdict(count, link, None)


def _fault(secret: bytes, link: bytes, entry: AuditEntry, last_seq: int) -> str | None:
    if entry.seq != last_seq + 1:
        return f"{entry.seq - last_seq - 1} entries before it are missing"
    # Only details that are gone may stand without proof: whoever rewrites them could blank the salt as well.
    if entry.details is not None and digest_details(entry.salt or b"", entry.details) != entry.details_digest:
        return "its details were changed"
    wanted = next_link(
        secret, link, entry.at, entry.action, entry.resource, entry.api_key, entry.ip, entry.details_digest
    )
    return None if hmac.compare_digest(wanted, entry.link) else "it was changed, or the secret is another"
