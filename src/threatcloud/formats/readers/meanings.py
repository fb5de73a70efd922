"""What other formats call things, and what that is in a report: categories, shares, times, labels, and their limits."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.domain.times import iso
from threatcloud.formats.readers.found import REPORT_FIELDS, Fields

MAX_TAGS: Final = 50
MAX_TAG_CHARS: Final = 64
MAX_REFERENCES: Final = 20
MAX_TEXT_CHARS: Final = 500
_MAX_REFERENCE_CHARS: Final = 1_000


def _each(category: str, words: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), category)


#: A word that is the category itself, in a column of its own.
_CATEGORY_WORDS: Final = {
    **{category: category for category in CATEGORIES},
    **_each("c2", "botnetcc cc cnc commandandcontrol c2server cncserver"),
    **_each("malware", "malwaredownload payload payloaddelivery malwarehosting"),
    **_each("scanner", "scan scanning portscan reconnaissance scanninghost"),
    **_each("bruteforce", "bruteforcing"),
    **_each("exploit", "exploitation exploitsource"),
    **_each("phishing", "phish"),
}
#: Parts of words that tell a category wherever they stand, strongest first.
_HINTS: Final = (
    ("c2", ("c2", "cnc", "command and control", "command-and-control", "cobalt strike", "cobaltstrike")),
    ("phishing", ("phish", "credential harvest", "credential-harvest", "scam")),
    ("bruteforce", ("brute", "-bf", "_bf", "credential", "login attempt", "password guess")),
    ("botnet", ("botnet", "mirai", "mozi")),
    ("exploit", ("exploit", "cve-", "web application attack", "sqli", "log4j", "path-traversal", "backdoors-attempts")),
    ("scanner", ("scan", "recon", "prob", "crawl", "sniff")),
    ("malware", ("malware", "ransom", "trojan", "stealer", "backdoor", "loader", "spyware", "virus", "worm", " rat")),
)
_HINTED: Final = tuple((category, re.compile("|".join(map(re.escape, hints))).search) for category, hints in _HINTS)
# The scale of STIX 2.1, appendix A.
_CONFIDENCE_WORDS: Final = {"low": 0.15, "medium": 0.5, "med": 0.5, "high": 0.85}
_ABSENT: Final = frozenset({"", "-", "none", "null", "n/a", "(empty)", "unknown"})
_LONGEST_ABSENT: Final = 40  # with the white space around it
_epoch: Final = re.compile(r"\d{9,10}(\.\d+)?|\d{13}").fullmatch


@lru_cache(maxsize=1024)
def plain(name: str) -> str:
    """A name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def says_something(text: str) -> bool:
    """Whether a text is more than a way to say nothing."""
    return len(text) > _LONGEST_ABSENT or text.strip().lower() not in _ABSENT


def category_of(texts: Iterable[str]) -> str | None:
    """The category that words or sentences tell, the strongest there is; None where they tell none."""
    return _category_of(tuple(text[:MAX_TEXT_CHARS] for text in texts if text))


@lru_cache(maxsize=2048)  # what is said of one indicator of a document is said of many
def _category_of(texts: tuple[str, ...]) -> str | None:
    said = [text.lower() for text in texts]
    exact = {_CATEGORY_WORDS.get(plain(text)) for text in said}
    whole = " ; ".join(said)
    for category, hint in _HINTED:
        if category in exact or hint(whole):
            return category
    return None


def category(text: str) -> str:
    """The category of a word; another word as it is."""
    return _CATEGORY_WORDS.get(plain(text)) or text


def share(text: str) -> float | str:
    """0.0-1.0 of a fraction, a percentage or a word; what is none of them as it is."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        return _CONFIDENCE_WORDS.get(text.lower(), text)
    if not math.isfinite(value):
        return text
    return value / 100 if value > 1 or text.endswith("%") else value


def percentage(text: str) -> float | str:
    """0.0-1.0 of a percentage or a word."""
    return share(text.removesuffix("%") + "%") if text[:1].isdigit() else share(text)


def words(text: str) -> list[str]:
    """The items of a list in a cell."""
    return [item for part in re.split(r"[,;|]", text) if (item := part.strip())]


def count(text: str) -> int | None:
    """A whole number of at most nine digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def ports(text: str) -> list[int] | None:
    """The ports in a cell."""
    numbers = (count(item) for item in words(text))
    return [number for number in numbers if number is not None and number < 65_536] or None


def techniques(text: str) -> list[str] | None:
    """The ids of ATT&CK techniques in a cell."""
    return [known for item in words(text) if (known := normalise_technique_id(item))] or None


def asn(text: str) -> str | None:
    """`AS64496` of `64496`, `AS64496` or `AS64496 Example`."""
    number = re.match(r"(?:AS)?0*(\d{1,10})\b", text, re.IGNORECASE | re.ASCII)
    return f"AS{number[1]}" if number else None


def country(text: str) -> str | None:
    """Two capital letters; None of a name."""
    return text.upper() if len(text) == 2 and text.isascii() and text.isalpha() else None


def time_text(text: str) -> str | None:
    """A time as ISO 8601: also seconds or milliseconds since 1970, and a zone by name; None of a zero."""
    text = text.strip().removesuffix(" UTC").removesuffix(" GMT").strip()
    if _epoch(text):
        return iso(int(float(text) * (1 if len(text) == 13 else 1_000)))
    return None if text.startswith("0000") or text == "0" else text


def tlp(text: str) -> str | None:
    """The colour of a TLP label, of any spelling; None of another marking."""
    word = text.lower().strip().removeprefix("tlp").lstrip(":-_ ")
    return {"white": "clear"}.get(word, word) if word in _TLP_ORDER or word == "white" else None


_TLP_ORDER: Final = ("clear", "green", "amber", "amber+strict", "red")


def strictest(labels: Iterable[str | None]) -> str | None:
    """The most confidential of TLP labels."""
    return max((label for label in labels if label), key=_TLP_ORDER.index, default=None)


def clipped(text: str) -> str:
    """A text as long as a report keeps it."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def _tags(items: Iterable[str]) -> list[str]:
    tags = (item.strip()[:MAX_TAG_CHARS] for item in items)
    return list(dict.fromkeys(tag for tag in tags if says_something(tag)))[:MAX_TAGS]


def _references(items: Iterable[str]) -> list[str]:
    links = (item.strip() for item in items)
    found = dict.fromkeys(link for link in links if "://" in link and len(link) <= _MAX_REFERENCE_CHARS)
    return list(found)[:MAX_REFERENCES]


_FROM_TEXT: Final[Mapping[str, Callable[[str], object]]] = {
    "category": category,
    "severity": str.lower,
    "confidence": share,
    "percentage": percentage,
    "timestamp": time_text,
    "expiresAt": time_text,
    "tlp": tlp,
    "ports": ports,
    "country": country,
    "asn": asn,
    "mitreIds": techniques,
    "attempts": count,
    "description": clipped,
}
_LISTS: Final[Mapping[str, Callable[[Iterable[str]], list[str]]]] = {
    "tags": _tags,
    "protocols": _tags,
    "references": _references,
}
_SAME: Final = {"percentage": "confidence"}
_OF_REPORTS: Final = frozenset(REPORT_FIELDS)
_KNOWN_CATEGORIES: Final = frozenset({None, *CATEGORIES})


def fields_of(said: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Fields | None:
    """The fields of a report (`Row.fields`) from what an input says, by our names; the first that says something
    counts, of `tags`, `protocols` and `references` all.

    Texts, numbers and lists of texts are brought into form and cut to the limits; what is none is left out. A
    `category` that is none of ours becomes a tag. Names that are no field of a report go into the metadata.
    """
    report: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    gathered: dict[str, list[str]] = {}
    for name, value in said.items() if isinstance(said, Mapping) else said:
        if value is None or value == []:
            continue
        if name in _LISTS:
            gathered.setdefault(name, []).extend(_texts(value))
            continue
        field = _SAME.get(name, name)
        target = report if field in _OF_REPORTS else metadata
        if field not in target and (found := _converted(name, value)) not in (None, "", []):
            target[field] = found
    if report.get("category") not in _KNOWN_CATEGORIES:
        gathered.setdefault("tags", []).append(report.pop("category"))
    for name, items in gathered.items():
        if kept := _LISTS[name](items):
            metadata[name] = kept
    if metadata:
        report["metadata"] = metadata
    return report or None


def _converted(name: str, value: Any) -> Any:
    convert = _FROM_TEXT.get(name)
    if isinstance(value, str):
        text = value.strip()
        if not says_something(text):
            return None
        return convert(text) if convert else text[:MAX_TEXT_CHARS]
    if name == "ports" and isinstance(value, int):
        return [value] if _is_port(value) else None
    if name == "mitreIds":
        return [known for item in _texts(value) if (known := normalise_technique_id(item))]
    if name == "ports":
        return [port for port in value if _is_port(port)] if isinstance(value, list) else None
    if convert is None or (name == "attempts" and isinstance(value, int)):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return convert(str(value)) if name != "confidence" else value
    return None


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 65_536


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from words(value) if "://" not in value else value.split()
    elif isinstance(value, Iterable):
        yield from (item for item in value if isinstance(item, str))
