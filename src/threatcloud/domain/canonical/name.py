"""Canonical ``domain`` and ``email`` values: DNS names in lower-case A-labels (RFC 5890).

Non-ASCII names go through UTS 46 as in a browser, so that a name and the host of a URL meet; IDNA 2008 would
refuse names that resolve and serve phishing pages (emoji, look-alike signs). For the same reason names in
ASCII are taken as they are, ill-formed ``xn--`` labels included.
"""

import operator
import re
from collections.abc import Callable
from typing import Final

import can_ada

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.ip import is_ipv4
from threatcloud.domain.canonical.refang import prepare

MAX_NAME_CHARS: Final = 253
# The group is not possessive: Python 3.11.2 loses its place in one. A label is never tried shorter all the same.
_is_name: Final = re.compile(
    r"(?:(?!-)[a-z0-9_-]{1,63}+(?<!-)\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
).fullmatch
_is_local_part: Final = re.compile(r"[A-Za-z0-9!#$%&'*+=?^_`{|}~.\x80-\U0010ffff-]+").fullmatch
_MAX_LOCAL_BYTES: Final = 64


def canonical_domain(text: str) -> str:
    """The canonical value of a domain name; raises InvalidIndicator.

    Underscores are welcome (``_dmarc``, and hosts of real malware); a single label, an address, a wildcard, a
    port or a path are not.
    """
    return plain_name(text) or _name(prepare(text))


def plain_name(text: str) -> str | None:
    """The canonical value of a name in ASCII, and None for every other text: the quick way."""
    lowered = text.lower()
    return lowered if len(lowered) <= MAX_NAME_CHARS and _is_name(lowered) else None


def canonical_email(text: str) -> str:
    """The canonical value of an e-mail address, its local part as given; raises InvalidIndicator.

    The case of a local part may matter (RFC 5321 2.4). Quoted ones and slashes are refused: they are
    legal, in nobody's use, and read as something else.
    """
    text = prepare(text)
    if text[:7].lower() == "mailto:":
        text = text[7:]
    local, at, domain = text.rpartition("@")
    if not at or "@" in local:
        raise InvalidIndicator("must be an e-mail address with one @, such as user@example.com")
    if not (_is_local_part(local) and local.isprintable()):
        raise InvalidIndicator("must have only letters, digits, dots and plain signs before the @ of an e-mail address")
    if len(local.encode()) > _MAX_LOCAL_BYTES:
        raise InvalidIndicator(f"must have at most {_MAX_LOCAL_BYTES} bytes before the @ of an e-mail address")
    try:
        return f"{local}@{_name(domain)}"
    except InvalidIndicator as error:
        raise InvalidIndicator(f"after its @ {error.reason}") from None


def _name(text: str) -> str:
    """The canonical form of prepared text."""
    # Encoding takes quadratic time, and no name of twice the length fits in any alphabet.
    encode = not text.isascii() and len(text) <= 2 * MAX_NAME_CHARS
    name = can_ada.idna_encode(text).decode() if encode else text
    name = name.lower().removesuffix(".")
    if plain_name(name) is None:
        raise InvalidIndicator(_why_not(name))
    return name


def _why_not(name: str) -> str:
    return next(reason for reason, is_reason in _REASONS if is_reason(name))


def _has_bad_label(name: str) -> bool:
    return any(not 0 < len(label) < 64 for label in name.split("."))


_REASONS: Final[tuple[tuple[str, Callable[[str], object]], ...]] = (
    ("must be a domain name made of letters that are allowed in names", operator.not_),
    (
        "must be a domain name without '*.' before it: give the domain itself, or each host that was seen",
        re.compile(r"\*\.").match,
    ),
    ("must be a domain name alone; with a path or a scheme it is of type url", re.compile("/").search),
    ("must be a domain name alone; with an @ it is of type email", re.compile("@").search),
    ("must be a domain name alone, without a port", re.compile(":").search),
    ("must be a domain name; this is an address, of type ip", is_ipv4),
    (
        f"must be a domain name of at most {MAX_NAME_CHARS} characters",
        lambda name: len(name) > MAX_NAME_CHARS,
    ),
    ("must be a domain name with 1 to 63 characters between its dots", _has_bad_label),
    ("must be a domain name of at least two labels, such as example.com", lambda name: "." not in name),
    ("must be a domain name that does not end in a number", re.compile(r"\.[0-9]+\Z").search),
    (
        "must be a domain name of letters, digits, underscores and inner hyphens, such as example.com",
        lambda _: True,
    ),
)
