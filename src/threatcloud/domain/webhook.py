"""Webhooks: how a delivery is signed, when it is tried again, and when an endpoint is given up.

Source of ids, headers and signature: the Standard Webhooks specification (standardwebhooks.com), version 1.
"""

import base64
import hashlib
import hmac
from typing import Final, NamedTuple

from threatcloud.domain.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

_SHOWN_WITH: Final = "whsec_"
#: The waits after a first failure, a second, …; when all have passed, after some 35 hours, the delivery is dead.
_WAITS_MS: Final = (
    5 * SECOND_MS,
    30 * SECOND_MS,
    2 * MINUTE_MS,
    10 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    12 * HOUR_MS,
)
MAX_ATTEMPTS: Final = len(_WAITS_MS) + 1
#: An endpoint that has taken nothing for so long is disabled.
GIVE_UP_MS: Final = 3 * DAY_MS
#: The status by which an endpoint says that it wants nothing any more.
GONE: Final = 410


class Attempt(NamedTuple):
    """What came of an attempt: the status, None where there was no answer, and what went wrong in words."""

    status: int | None
    problem: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has taken it: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def wait_ms(attempts: int, chance: float) -> int | None:
    """How long to wait after so many failed attempts; None: no more. ``chance``, from 0 to 1, spreads what failed
    together over the second half of the wait, so that an endpoint that comes back is not met by all at once."""
    if not 1 <= attempts <= len(_WAITS_MS):
        return None
    whole = _WAITS_MS[attempts - 1]
    return whole // 2 + int(whole // 2 * chance)


def shown_secret(key: bytes) -> str:
    """The secret as its owner gets it."""
    return _SHOWN_WITH + base64.b64encode(key).decode()


def signature(key: bytes, delivery_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of ``webhook-signature``: HMAC-SHA256 over id, time and body with full stops between them."""
    signed = b"%b.%d.%b" % (delivery_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(key: bytes, delivery_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of an attempt."""
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(key, delivery_id, timestamp_s, body),
    }
