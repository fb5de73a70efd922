"""Indicators: their types, their canonical form, and the identity that follows from these two alone."""

import re
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from threatcloud.domain.canonical import MAX_VALUE_BYTES, InvalidIndicator
from threatcloud.domain.canonical.ids import canonical_cve, canonical_hash, plain_cve, plain_hash
from threatcloud.domain.canonical.ip import canonical_ip, plain_ipv4
from threatcloud.domain.canonical.name import canonical_domain, canonical_email, plain_name
from threatcloud.domain.canonical.refang import prepare
from threatcloud.domain.canonical.url import canonical_url, has_host_and_path, has_scheme

__all__ = [
    "MAX_VALUE_BYTES",
    "Canonical",
    "Indicator",
    "IndicatorType",
    "InvalidIndicator",
    "canonical",
    "canonical_observation",
    "detect",
    "detect_observation",
    "digest",
    "indicator_key",
    "parse_public_id",
    "public_id",
]

KEY_BYTES: Final = 16
_is_public_id: Final = re.compile(r"ioc_[0-9a-f]{32}").fullmatch


class IndicatorType(StrEnum):
    """The kinds of indicator, in the order they are listed everywhere."""

    IP = "ip"
    DOMAIN = "domain"
    HASH = "hash"
    URL = "url"
    EMAIL = "email"
    CVE = "cve"

    @property
    def code(self) -> int:
        """The small integer it is stored as, 1 to 6; never reused for another kind."""
        return _CODES[self]

    @classmethod
    def from_code(cls, code: int) -> "IndicatorType":
        """The type stored as ``code``; ValueError when there is none."""
        try:
            return _TYPES[code]
        except KeyError:
            raise ValueError(f"no indicator type has the code {code}") from None


_CODES: Final = {indicator_type: code for code, indicator_type in enumerate(IndicatorType, 1)}
_PREFIXES: Final = {indicator_type: f"{indicator_type}\0".encode() for indicator_type in IndicatorType}
_TYPES: Final = {code: indicator_type for indicator_type, code in _CODES.items()}


class Indicator(NamedTuple):
    """One thing to watch for. ``value`` is canonical, so two spellings of the same thing are equal."""

    type: IndicatorType
    value: str


class Canonical(NamedTuple):
    """An indicator, and whether it was seen as an anonymised address (``203.0.0.0``, without a prefix).

    The indicator cannot tell: it is that of an explicit ``203.0.0.0/16`` too, which may be published.
    """

    indicator: Indicator
    anonymised: bool


def canonical(indicator_type: IndicatorType, text: str) -> Indicator:
    """The indicator of that type a text spells; raises InvalidIndicator."""
    return Indicator(indicator_type, _CANONICAL[indicator_type](text))


def canonical_observation(indicator_type: IndicatorType, text: str) -> Canonical:
    """As ``canonical``, telling anonymised addresses apart; raises InvalidIndicator."""
    return _observed(canonical(indicator_type, text), text)


def detect(text: str) -> Indicator:
    """The indicator a text of unknown type spells; raises InvalidIndicator.

    The first that fits: a CVE id; ``scheme:/`` is a URL, ``mailto:`` an e-mail address; a hash by its length;
    what is shaped like an address is an ``ip`` or wrong, so ``192.0.2.1/33`` is not taken for a URL; a host
    with a dot and a slash is an http URL, even if an ``@`` follows; an ``@`` makes an e-mail address; the
    rest are domains, here also with a port, which is dropped. Top-level domains are not looked up:
    ``setup.exe`` is a domain.
    """
    # These four are common and fit no other type: trying them first changes no answer.
    if (plain := plain_ipv4(text)) is not None:
        return Indicator(IndicatorType.IP, plain)
    if (plain := plain_hash(text)) is not None:
        return Indicator(IndicatorType.HASH, plain)
    if (plain := plain_name(text)) is not None:
        return Indicator(IndicatorType.DOMAIN, plain)
    if text.startswith(("http://", "https://")):
        return Indicator(IndicatorType.URL, canonical_url(text))
    text = prepare(text)
    indicator_type = _type_of(text)
    return canonical(indicator_type, _port.sub("", text) if indicator_type is IndicatorType.DOMAIN else text)


def detect_observation(text: str) -> Canonical:
    """As ``detect``, telling anonymised addresses apart; raises InvalidIndicator."""
    return _observed(detect(text), text)


def digest(indicator_type: IndicatorType, value: str) -> bytes:
    """SHA-256 of ``type || 0x00 || value`` for a canonical value: 32 bytes, the same on every server."""
    # Half of what it costs otherwise is a question to OpenSSL, whether that is allowed here.
    return sha256(_PREFIXES[indicator_type] + value.encode(), usedforsecurity=False).digest()


def indicator_key(indicator_type: IndicatorType, value: str) -> bytes:
    """The identity of an indicator: the first 16 bytes of its digest."""
    return digest(indicator_type, value)[:KEY_BYTES]


def public_id(key: bytes) -> str:
    """The id the API shows for a key of 16 bytes: ``ioc_`` and 32 hex digits."""
    return f"ioc_{key.hex()}"


def parse_public_id(text: str) -> bytes | None:
    """The key a public id stands for; None when the text is none."""
    return bytes.fromhex(text[4:]) if _is_public_id(text) else None


def _observed(indicator: Indicator, text: str) -> Canonical:
    # Only a prefix brings a slash into the spelling of an address, so without one the /16 is our own reading.
    anonymised = indicator.value.endswith(".0.0/16") and indicator.type is IndicatorType.IP and "/" not in text
    return Canonical(indicator, anonymised)


def _type_of(text: str) -> IndicatorType:
    """The only type a prepared text can be of."""
    for fits, indicator_type in _SHAPES:
        if fits(text):
            return indicator_type
    raise InvalidIndicator("must be an IP address, CIDR network, domain name, URL, file hash, e-mail address or CVE id")


_CANONICAL: Final[dict[IndicatorType, Callable[[str], str]]] = {
    IndicatorType.IP: canonical_ip,
    IndicatorType.DOMAIN: canonical_domain,
    IndicatorType.HASH: canonical_hash,
    IndicatorType.URL: canonical_url,
    IndicatorType.EMAIL: canonical_email,
    IndicatorType.CVE: canonical_cve,
}
_port: Final = re.compile(r":[0-9]{1,5}\Z")
# Digits and dots with a port, a prefix, a range or a pattern; or hex groups between two colons.
_ip_shape: Final = r"[0-9]+\.[0-9.*-]*(?:[:/][0-9.*-]*)?|\[?[0-9a-f]*:[0-9a-f]*:.*"
_SHAPES: Final[tuple[tuple[Callable[[str], object], IndicatorType], ...]] = (
    (plain_cve, IndicatorType.CVE),
    (has_scheme, IndicatorType.URL),
    (re.compile("mailto:", re.IGNORECASE).match, IndicatorType.EMAIL),
    (plain_hash, IndicatorType.HASH),
    (re.compile(_ip_shape, re.IGNORECASE).fullmatch, IndicatorType.IP),
    (has_host_and_path, IndicatorType.URL),
    (re.compile("@").search, IndicatorType.EMAIL),
    (re.compile(r"[.\u3002\uff0e\uff61]").search, IndicatorType.DOMAIN),
)
