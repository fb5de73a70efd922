"""What in a report is an indicator, and what is there for another reason.

Whoever defangs means it: what is defanged is found. Hashes and CVE ids need no defanging. A name, address or URL that
is not defanged counts only in a text that defangs nothing, and not where it is a source, a well-known service or a
vendor, a file name, code, or the reporter's own.
"""

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from publicsuffixlist import PublicSuffixList

_DOT: Final = r"(?:\.|\\\.|[ ]?[\[({][ ]?(?:\.|dot)[ ]?[\])}][ ]?|\[\.)"
_SLASHES: Final = r"(?:\[?:\]?//|\[://\])"
_NAME: Final = rf"[A-Za-z0-9_](?:[\w-]{{0,62}})(?:{_DOT}[A-Za-z0-9_][\w-]{{0,62}}){{1,20}}"
_candidate: Final = re.compile(
    rf"""(?P<url>\b(?:h[tx*_]{{2}}ps?|f[tx]p){_SLASHES}[^\s"'<>|`]{{1,8192}})
    | (?P<hash>(?<![0-9a-z])(?:[0-9a-f]{{128}}|[0-9a-f]{{64}}|[0-9a-f]{{40}}|[0-9a-f]{{32}})(?![0-9a-z]))
    | (?P<cve>\bCVE-\d{{4}}-\d{{4,19}}\b)
    | (?P<email>[\w.+%-]{{1,64}}(?:@|[ ]?[\[(](?:@|at)[\])][ ]?){_NAME})
    | (?P<ip>(?<![\w.])\d{{1,3}}(?:{_DOT}\d{{1,3}}){{3}}(?:/\d{{1,2}})?(?![\w]|\.\d))
    | (?P<domain>(?<![\w@/\\.$-]){_NAME}(?!\w))""",
    re.VERBOSE | re.IGNORECASE,
)
_defanged: Final = re.compile(r"[\[({] ?(?:\.|dot|:|://|@|at)|\\\.|\bh[x*_]{2}p|\bhxtp|\bfxp", re.IGNORECASE).search
_link: Final = re.compile(r"\]\(\Z")
_version: Final = re.compile(r"(?:version|v|ver\.?|build|release)[ :.]*\Z", re.IGNORECASE)
#: Endings of file names that are top-level domains too.
_FILE_ENDINGS: Final = frozenset(
    ["zip", "mov", "sh", "py", "pl", "rs", "md", "ps", "so", "cc", "mm", "ms", "vb", "bat"]
)
#: Where reports live, what they point to, and what malware merely looks up; names below them too.
KNOWN_NAMES: Final = frozenset(
    [
        "abuse.ch",
        "adobe.com",
        "alienvault.com",
        "amazon.com",
        "anomali.com",
        "any.run",
        "app.any.run",
        "apple.com",
        "archive.org",
        "attack.mitre.org",
        "avast.com",
        "avg.com",
        "bitdefender.com",
        "bleepingcomputer.com",
        "broadcom.com",
        "checkpoint.com",
        "cisa.gov",
        "cisco.com",
        "cloudflare.com",
        "crowdstrike.com",
        "cybereason.com",
        "cyble.com",
        "darkreading.com",
        "dragos.com",
        "elastic.co",
        "eset.com",
        "f-secure.com",
        "facebook.com",
        "fireeye.com",
        "first.org",
        "forcepoint.com",
        "fortinet.com",
        "g0v.tw",
        "github.com",
        "github.io",
        "githubusercontent.com",
        "gitlab.com",
        "google.com",
        "group-ib.com",
        "hybrid-analysis.com",
        "ibm.com",
        "infoblox.com",
        "instagram.com",
        "joesandbox.com",
        "kaspersky.com",
        "krebsonsecurity.com",
        "linkedin.com",
        "lookout.com",
        "malpedia.caad.fkie.fraunhofer.de",
        "malwarebytes.com",
        "mandiant.com",
        "mastodon.social",
        "mcafee.com",
        "medium.com",
        "microsoft.com",
        "mitre.org",
        "mozilla.org",
        "ncsc.gov.uk",
        "nist.gov",
        "oasis-open.org",
        "otx.alienvault.com",
        "paloaltonetworks.com",
        "phishlabs.com",
        "proofpoint.com",
        "python.org",
        "rapid7.com",
        "recordedfuture.com",
        "reddit.com",
        "resecurity.com",
        "reuters.com",
        "sans.edu",
        "sans.org",
        "schema.org",
        "secureworks.com",
        "securelist.com",
        "sentinelone.com",
        "shodan.io",
        "sophos.com",
        "spamhaus.org",
        "symantec.com",
        "talosintelligence.com",
        "team-cymru.com",
        "techcrunch.com",
        "tenable.com",
        "thehackernews.com",
        "threatpost.com",
        "trellix.com",
        "trendmicro.com",
        "tria.ge",
        "twitter.com",
        "urlscan.io",
        "us-cert.gov",
        "virustotal.com",
        "volexity.com",
        "w3.org",
        "welivesecurity.com",
        "wikipedia.org",
        "windows.com",
        "withsecure.com",
        "x.com",
        "yahoo.com",
        "youtube.com",
        "zdnet.com",
        "zscaler.com",
    ]
)


class Candidate(NamedTuple):
    """A part of a text that is spelt like an indicator; `why_not` tells why it is none, or is None."""

    text: str
    kind: str
    is_defanged: bool
    why_not: str | None


class Judge:
    """Tells what is meant. `defangs`: whether the text defangs anything. `own`: the names of who wrote it."""

    def __init__(self, *, defangs: bool, own: frozenset[str] = frozenset()) -> None:
        self._defangs = defangs
        self._own = own

    def candidates(self, text: str) -> Iterator[Candidate]:
        """All that is spelt like an indicator, in order."""
        for match in _candidate.finditer(text):
            kind = str(match.lastgroup)
            found = _without_end(match[kind]) if kind in ("url", "domain") else match[kind]
            is_defanged = _defanged(found) is not None
            yield Candidate(found, kind, is_defanged, self._why_not(match, kind, found, is_defanged))

    def _why_not(self, match: re.Match[str], kind: str, found: str, is_defanged: bool) -> str | None:
        if kind in ("hash", "cve"):
            return None
        if kind == "ip":
            return self._why_no_address(match, found, is_defanged)
        if is_defanged:
            return None if kind == "url" or _has_suffix(found) else "name without a known top-level domain"
        if self._defangs:
            return "not defanged, in a text that defangs"
        if kind == "url" and _link.search(match.string, 0, match.start()):
            return "target of a link"
        host = _host(found)
        return self._why_no_name(match, kind, host)

    def _why_no_address(self, match: re.Match[str], found: str, is_defanged: bool) -> str | None:
        if is_defanged:
            return None
        if self._defangs:
            return "not defanged, in a text that defangs"
        if _version.search(match.string, 0, match.start()):
            return "number of a version"
        try:
            return None if IPv4Address(found.partition("/")[0]).is_global else "address that is not global"
        except ValueError:
            return "no address"

    def _why_no_name(self, match: re.Match[str], kind: str, host: str) -> str | None:
        if _is_below(host, self._own):
            return "the reporter's own"
        if _is_below(host, KNOWN_NAMES):
            return "well-known name"
        if kind == "domain" and (reason := _why_code(match, host)):
            return reason
        if host.replace(".", "").isdigit() or _has_suffix(host):
            return None
        return "name without a known top-level domain"


def defangs(text: str) -> bool:
    """Whether something in a text is spelt like an indicator and defanged."""
    return any(_defanged(match[0]) for match in _candidate.finditer(text) if match.lastgroup != "hash")


def host_of(url: str) -> str:
    """The host in a URL, in lower case; nothing where there is none."""
    return _host(url) if "//" in url else ""


def _why_code(match: re.Match[str], host: str) -> str | None:
    found = match[0]
    if host.rpartition(".")[2] in _FILE_ENDINGS:
        return "file name"
    follows = match.string[match.end() : match.end() + 1]
    return "code" if follows in ("(", "\\", "[") or (found != found.lower() and found != found.upper()) else None


def _without_end(text: str) -> str:
    """Without what ends a sentence or a bracket around it."""
    text = text.rstrip(".,;:!?*")
    while text and text[-1] in ")]}" and text.count(text[-1]) > text.count("([{"[")]}".index(text[-1])]):
        text = text[:-1].rstrip(".,;:!?*")
    return text


def _host(text: str) -> str:
    host = text.partition("//")[2] if "//" in text else text.rpartition("@")[2]
    return re.split(r"[/:?#\[]", host, maxsplit=1)[0].rpartition("@")[2].lower()


def _is_below(host: str, names: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[at:]) in names for at in range(len(labels)))


def _has_suffix(name: str) -> bool:
    plain = re.sub(_DOT, ".", name, flags=re.IGNORECASE).rpartition("@")[2].lower()
    return _suffixes().publicsuffix(plain, accept_unknown=False) is not None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
