"""Cross-origin calls (Fetch standard): closed unless origins are configured."""

from collections.abc import Mapping, Sequence

from threatcloud.http.answer import Answer

_MAX_AGE_S = 600
_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
_EXPOSED = b"X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, ETag"


def cors_headers(headers: Mapping[bytes, bytes], origins: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """What lets a page of an allowed origin read the answer; nothing for others."""
    origin = headers.get(b"origin")
    if not origins or origin is None or not _is_allowed(origin.decode("latin-1"), origins):
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    ]


def preflight(headers: Mapping[bytes, bytes], origins: Sequence[str], methods: Sequence[str]) -> Answer | None:
    """The answer to a preflight of an allowed origin, else None."""
    origin = headers.get(b"origin")
    if origin is None or b"access-control-request-method" not in headers:
        return None
    if not _is_allowed(origin.decode("latin-1"), origins):
        return None
    return Answer(
        b"",
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        },
    )


def _is_allowed(origin: str, origins: Sequence[str]) -> bool:
    return "*" in origins or origin in origins
