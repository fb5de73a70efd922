"""Canonical ``url`` values: the WHATWG URL standard, less fragment, default port and the host's final dot."""

import re
from typing import Final

import can_ada

from threatcloud.domain.canonical import MAX_VALUE_BYTES, InvalidIndicator
from threatcloud.domain.canonical.name import MAX_NAME_CHARS
from threatcloud.domain.canonical.refang import prepare, refang

#: The schemes that threat data carries, with their default port; empty where there is none.
SCHEMES: Final = {
    "http": "80",
    "https": "443",
    "ws": "80",
    "wss": "443",
    "ftp": "21",
    # The standard leaves the rest opaque; here their hosts and paths are read like those of http.
    "dns": "53",
    "ftps": "990",
    "git": "9418",
    "irc": "",
    "ircs": "6697",
    "ldap": "389",
    "ldaps": "636",
    "rmi": "1099",
    "rsync": "873",
    "sftp": "22",
    "smb": "445",
    "smtp": "25",
    "socks5": "1080",
    "ssh": "22",
    "stratum+ssl": "",
    "stratum+tcp": "",
    "tcp": "",
    "telnet": "23",
    "tftp": "69",
    "tls": "",
    "udp": "",
}
_STANDARD: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
_MAX_ROUNDS: Final = 3
_scheme: Final = re.compile(r"([a-z][a-z0-9+.-]*):[/\\]", re.IGNORECASE).match
_is_host_and_port: Final = re.compile(r"[^\s\\@:?#]+(?::[0-9]{1,5})?").fullmatch
_authority_end: Final = re.compile(r"[/\\?#]")
_is_host: Final = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_-]{1,63}+(?:\.[a-z0-9_-]{1,63}+)*").fullmatch
_EXPECTED: Final = "must be an absolute URL with a valid host, such as https://example.com/path"
_UNKNOWN_SCHEME: Final = f"must be a URL with one of the schemes {', '.join(SCHEMES)}"


def canonical_url(text: str) -> str:
    """The canonical value of a URL; raises InvalidIndicator.

    Userinfo is kept. ``example.com/path``, a host with a dot and a path, is taken for http. A space is
    percent-encoded; control characters, which the standard would drop, are refused.
    """
    text = prepare(text)
    # Resolving "/../" can bring the halves of a defanged form together, so once need not be enough.
    for _ in range(_MAX_ROUNDS):
        value = _standard_form(text)
        if len(value) > MAX_VALUE_BYTES:
            raise InvalidIndicator(f"must be a URL of at most {MAX_VALUE_BYTES} bytes, percent-encoding included")
        text = refang(value)
        if text == value:
            return value
    raise InvalidIndicator("must be a plainly defanged URL, and the path of this one is made to change")


def has_scheme(text: str) -> bool:
    """Whether a prepared text names a scheme, known or not, and so can only be a URL."""
    return _scheme(text) is not None


def has_host_and_path(text: str) -> bool:
    """Whether a prepared text is a URL but for its scheme: a host with a dot, maybe a port, and a slash."""
    host, slash, _ = text.partition("/")
    return bool(slash) and "." in host.strip(".") and _is_host_and_port(host) is not None


def _standard_form(text: str) -> str:
    scheme, rest = _split(text)
    try:
        url = can_ada.parse(scheme + rest) if scheme in _STANDARD else _parse_as_http(scheme, rest)
    except ValueError:
        raise InvalidIndicator(_EXPECTED) from None
    _settle_host(url)
    # A "#" elsewhere is percent-encoded.
    return scheme + url.href[len(url.protocol) - 1 :].partition("#")[0]


def _split(text: str) -> tuple[str, str]:
    """The scheme in lower case, and what follows it from the colon on."""
    match = _scheme(text)
    if match:
        scheme, rest = match[1].lower(), text[match.end(1) :]
    elif has_host_and_path(text):
        scheme, rest = "http", f"://{text}"
    else:
        raise InvalidIndicator(_EXPECTED)
    if scheme not in SCHEMES:
        raise InvalidIndicator(_UNKNOWN_SCHEME)
    if not rest.isascii() and _is_costly(rest):
        raise InvalidIndicator(_EXPECTED)
    return scheme, rest


def _is_costly(rest: str) -> bool:
    """Encoding a host takes quadratic time, and no name of twice the length fits in any alphabet."""
    authority = _authority_end.split(rest.lstrip(":/\\"), maxsplit=1)[0]
    return len(authority.rpartition("@")[2]) > 2 * MAX_NAME_CHARS


def _parse_as_http(scheme: str, rest: str) -> can_ada.URL:
    """What follows a scheme that the standard leaves opaque, read as http; ValueError when it is none."""
    url = can_ada.parse(f"https{rest}")
    if not url.port:  # none, or 443, which https drops and http keeps
        url = can_ada.parse(f"http{rest}")
    if url.port == SCHEMES[scheme]:
        url.port = ""
    return url


def _settle_host(url: can_ada.URL) -> None:
    host = url.hostname
    if host.endswith("."):
        host = url.hostname = host[:-1]
    if not _is_host(host) or len(host) > MAX_NAME_CHARS:
        raise InvalidIndicator(_EXPECTED)
