"""Refanging: a defanged indicator as its author meant it, and the checks every spelling passes first.

Only forms that mean nothing else are undone: ``hxxp`` ``h**p`` ``fxp`` before a colon; ``. dot @ at : / ://``
in ``[]``, ``()`` or ``{}``, with a space around them or none; backslashes before dots (``evil\\.example``)
where there are no others, and before slashes where those of the scheme have them (JSON); and a pair of quotes
or angle brackets around the whole. A bare ``dot`` or an unpaired bracket stays: it may belong to the value.
"""

import re
from typing import Final

from threatcloud.domain.canonical import MAX_VALUE_BYTES, InvalidIndicator

_MAX_PASSES: Final = 4
_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "<": ">", "“": "”", "‘": "’", "«": "»"}
_scheme: Final = re.compile(r"(?:(h)(?!tt)[tx*_]{2}|(f)x)p(s?)(?=:)", re.IGNORECASE).match
_escaped_scheme: Final = re.compile(r"[a-z][a-z0-9+.-]*:\\/\\/", re.IGNORECASE).match
_bracketed: Final = re.compile(r" ?\\?[\[({] ?\\?(\.|dot|@|at|:(?://)?|//?) ?\\?[\])}] ?", re.IGNORECASE)
_WORDS: Final = {"dot": ".", "at": "@"}
# Control characters, line separators, surrogates, and the marks that turn the reading direction around.
_forbidden: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]").search


def prepare(text: str) -> str:
    """The refanged text, checked for what no indicator may hold; raises InvalidIndicator."""
    if len(text) > MAX_VALUE_BYTES:
        raise InvalidIndicator(f"must be at most {MAX_VALUE_BYTES} bytes long")
    text = refang(text)
    if not text:
        raise InvalidIndicator("must not be empty")
    if not (text.isascii() and text.isprintable()) and _forbidden(text):
        raise InvalidIndicator(
            "must be visible text, without control characters or marks that change its direction "
            "(a URL has them percent-encoded)"
        )
    return text


def refang(text: str) -> str:
    """The text with its defanging undone, over again until nothing is left to undo.

    Raises InvalidIndicator where forms are nested so deep that only a crafted value can be meant.
    """
    for _ in range(_MAX_PASSES):
        before, text = text, _refang_once(text)
        if text == before:
            return text
    raise InvalidIndicator("must be plainly defanged, with quotes or brackets nested less deep")


def _refang_once(text: str) -> str:
    text = text.strip().strip("\ufeff\u200b")
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1]
    if "\\" in text:
        text = _without_backslashes(text)
    if "[" in text or "(" in text or "{" in text:
        text = _bracketed.sub(_separator, text)
    scheme = _scheme(text)
    return _plain_scheme(scheme) + text[scheme.end() :] if scheme else text


def _without_backslashes(text: str) -> str:
    if _escaped_scheme(text):
        text = text.replace("\\/", "/")
    # Any other backslash makes "\." a path (http:\\host\.git) or a pattern, so all are left.
    return text.replace("\\.", ".") if text.count("\\") == text.count("\\.") else text


def _separator(match: re.Match[str]) -> str:
    word = match[1].lower()
    return _WORDS.get(word, word)


def _plain_scheme(match: re.Match[str]) -> str:
    return ("http" if match[1] else "ftp") + match[3].lower()
