"""Content coding by Accept-Encoding (RFC 9110 section 12.5.3): zstd, gzip or neither."""

import gzip
from functools import lru_cache
from typing import Final

import zstandard

MIN_BYTES: Final = 1024
IDENTITY: Final = "identity"
CODINGS: Final = ("zstd", "gzip")
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1


@lru_cache(maxsize=256)
def choose_coding(accept_encoding: str) -> str:
    """``zstd``, ``gzip`` or ``identity``: the best the client takes, by its weights and then by our order."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.strip().partition(";")
        key, _, value = parameter.strip().partition("=")
        try:
            weights[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    anything = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, anything))
    return best if weights.get(best, anything) > 0 else IDENTITY


def compress(body: bytes, coding: str) -> bytes:
    """The body in a coding."""
    if coding == IDENTITY:
        return body
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)
