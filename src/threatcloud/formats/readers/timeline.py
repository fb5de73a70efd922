"""A history of threat intelligence as JSON lines, one event a line in the order of time: who published what, when.

``{ts, value, type, source, reporter?, tags?, ref?, extra?}``: ``source`` is the feed, ``reporter`` who told it there,
``ref`` what was published together, ``extra`` whatever else the feed says.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.formats.readers.found import Line, Reject, excerpt

MAX_TAGS: Final = 50
MAX_TAG_CHARS: Final = 64
_MAX_REF_CHARS: Final = 256


class _Line(msgspec.Struct):
    ts: str
    value: str
    type: str
    source: str
    reporter: str | None = None
    tags: list[str] | None = None
    ref: str | None = None
    extra: dict[str, Any] | None = None


class Event(NamedTuple):
    """One event, its value, type, source and time unvalidated; ``confidence`` is None where the feed says none.

    ``digest`` is that of the whole event, and of its number among equal ones of its time.
    """

    line: int
    digest: bytes
    ts: str
    value: str
    type: str
    source: str
    reporter: str | None
    category: str | None
    confidence: float | None
    metadata: Mapping[str, Any]


_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


def events(lines: Iterable[Line]) -> Iterator[Event | Reject]:
    """The events, in the order of the lines; a line that is none is a ``Reject``, a blank one is passed over.

    Equal lines of one time that follow each other are several events: a thing seen again.
    """
    now, equal = "", Counter[bytes]()
    for number, line in enumerate(lines, 1):
        if isinstance(line, Reject):
            yield line
        elif line and not line.isspace():
            try:
                said = _decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                yield Reject(number, excerpt(line), "line", f"is no event: {error}")
                continue
            if said.ts != now:
                now, equal = said.ts, Counter()
            whole = _encode(said)
            equal[whole] += 1
            digest = hashlib.sha256(b"%d\0%b" % (equal[whole], whole)).digest()
            yield _event(number, digest, said)


def _event(number: int, digest: bytes, said: _Line) -> Event:
    extra, tags = said.extra or {}, [tag[:MAX_TAG_CHARS] for tag in said.tags or () if tag][:MAX_TAGS]
    told = {
        "tags": tags,
        "ref": (said.ref or "")[:_MAX_REF_CHARS],
        "reporter": said.reporter,
        "malwareFamily": extra.get("malware"),
        "port": _port(extra.get("port")),
        "extra": extra,
    }
    metadata = {name: value for name, value in told.items() if value}
    category = category_of(said.source, said.type, tags, extra)
    confidence = _confidence(extra.get("confidence"))
    return Event(
        number, digest, said.ts, said.value, said.type, said.source, said.reporter, category, confidence, metadata
    )


def _port(value: Any) -> int | None:
    is_number = isinstance(value, int | str) and str(value).isascii() and str(value).isdigit() and len(str(value)) < 6
    return int(value) if is_number and 0 < int(value) < 1 << 16 else None


def _confidence(value: Any) -> float | None:
    """Feeds count in percent."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value / 100 if is_number and 0 <= value <= 100 else None


#: What tags and labels mean, without case and separators, strongest first; a family is what its kind is.
_WORDS: Final = {
    "c2": "c2 c2server cnc botnetcc cobaltstrike sliver havoc mythic deimos supershell covenant bruteratel "
    "bruteratelc4 hak5cloud hak5cloudc2 vshell adaptixc2 metasploitframework viper nimplant poshc2 reverseshell",
    "phishing": "phishing phish scam gophish evilgophish evilginx aitm credentialharvesting",
    "botnet": "botnet mirai mozi gafgyt bashlite moobot hajime tsunami kaiji aisuru kimwolf xorddos byob",
    "malware": "malware malwaredownload payload payloaddelivery ransomware stealer infostealer rat trojan loader "
    "backdoor android spyware cryptominer coinminer xmrig xmrigmonerocryptominer magecart ccskimming clickfix "
    "clearfake kongtuke fakeupdates socgholish remcos asyncrat netsupportrat netsupport lumma lummastealer njrat "
    "qakbot xworm formbook dcrat hookbot nanocore nanocorerat pegasus agenttesla bianlian lokibot redline "
    "amosstealer rhadamanthys guloader vidar danabot smokeloader quasar quasarrat snakekeylogger",
}
_MEANING: Final = {word: category for category, words in _WORDS.items() for word in words.split()}
#: What a feed is about where its words do not tell.
_FEEDS: Final = {"urlhaus": "malware", "c2-tracker": "c2", "openphish": "phishing", "phishtank": "phishing"}
#: Tools that scan for servers find, and that do nobody harm by themselves.
_TOOLS: Final = frozenset({"burpsuite", "mobsf"})
_separators: Final = re.compile(r"[\W_]+")


def category_of(source: str, kind: str, tags: Sequence[str], extra: Mapping[str, Any]) -> str | None:
    """The category of an event where that is plain: what the feed itself says, its subject, or its tags; else None."""
    said = [_plain(extra.get(name)) for name in ("threatType", "threat_type", "threat")]
    threat = next((_MEANING[word] for word in said if word in _MEANING), None)
    words = [_plain(tag) for tag in tags]
    meant = {_MEANING.get(word, "botnet" if word.endswith("botnet") else "") for word in words}
    subject = _FEEDS.get(source)
    if threat or subject == "malware":
        return threat or subject
    if subject == "c2":
        # Only what is no server that commands.
        other = next((category for category in ("phishing", "botnet") if category in meant), None)
        is_miner = any("miner" in word for word in words)
        return other or ("malware" if is_miner else None if _TOOLS & {*words} else subject)
    if source == "threatfox":
        # Of an address with a port it says that a botnet is commanded from there.
        return "c2" if kind == "ip" and "port" in extra else "malware"
    return subject or next((category for category in _WORDS if category in meant), None)


def _plain(text: Any) -> str:
    return _separators.sub("", text.casefold()) if isinstance(text, str) else ""
