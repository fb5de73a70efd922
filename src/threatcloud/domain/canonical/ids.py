"""Canonical ``hash`` and ``cve`` values."""

import re
from typing import Final

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.refang import prepare

#: The algorithm a file hash is taken for, by its number of hex digits.
HASH_NAMES: Final = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 128: "SHA-512"}
_is_hex: Final = re.compile(r"[0-9a-f]+").fullmatch
# The CVE record format asks for four to nineteen digits. Reports are often typeset, with other hyphens.
_cve: Final = re.compile(r"CVE[-\u2010-\u2015]([0-9]{4})[-\u2010-\u2015]([0-9]{4,19})", re.IGNORECASE).fullmatch


def canonical_hash(text: str) -> str:
    """The hash in lower-case hex; raises InvalidIndicator unless its length is one of HASH_NAMES."""
    value = plain_hash(text) or plain_hash(prepare(text))
    if value is None:
        raise InvalidIndicator("must be an MD5, SHA-1, SHA-256 or SHA-512 hash: 32, 40, 64 or 128 hexadecimal digits")
    return value


def plain_hash(text: str) -> str | None:
    """The canonical value of a bare hash, and None for every other text: the quick way."""
    if len(text) not in HASH_NAMES:
        return None
    lowered = text.lower()
    return lowered if _is_hex(lowered) else None


def canonical_cve(text: str) -> str:
    """The id in capitals, ``CVE-2021-44228``; raises InvalidIndicator."""
    value = plain_cve(prepare(text))
    if value is None:
        raise InvalidIndicator("must be a CVE id such as CVE-2021-44228")
    return value


def plain_cve(text: str) -> str | None:
    """The canonical value of a CVE id, and None for every other text."""
    match = _cve(text)
    return f"CVE-{match[1]}-{match[2]}" if match else None
