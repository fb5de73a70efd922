"""OpenIOC 1.0 and 1.1.

XML with expat, which never looks at anything outside the text; a document type, which could define entities that grow,
ends the reading. Source: the OpenIOC 1.1 schema (openioc.org), the terms of its indicator items.
"""

from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.source import Source

_MAX_TEXT_CHARS: Final = 64 * 1024
_MAX_DEPTH: Final = 200
_EXACT: Final = frozenset({"is", "contains"})
#: The last part of a term, without case, and the type of what it is compared with; None where that tells it.
_TERMS: Final = {
    **dict.fromkeys(("md5sum", "sha1sum", "sha256sum", "md5", "sha1", "sha256"), "hash"),
    **dict.fromkeys(("dns", "host", "recordname", "domain"), "domain"),
    **dict.fromkeys(("remoteip", "localip", "destination", "ipv4address", "ipv6address"), "ip"),
    **dict.fromkeys(("uri", "url"), "url"),
    **dict.fromkeys(("from", "sender"), "email"),
}
_CONTENT: Final = {"ip": "ip", "md5": "hash", "sha1": "hash", "sha256": "hash", "url": "url", "email": "email"}
_TEXTS: Final = frozenset({"short_description", "keywords", "authored_by", "authored_date", "description"})


class _Stop(Exception):
    """What follows must not be read."""


class _Handler:
    """Gathers what the parser tells, in rows."""

    def __init__(self, parser: "expat.XMLParserType") -> None:
        self.found: list[Found] = []
        self.said: dict[str, str] = {}
        self._parser = parser
        self._text: list[str] = []
        self._size = 0
        self._path: list[str] = []
        self._item: dict[str, str] | None = None
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise _Stop("declares a document type: what could grow or lead elsewhere is not read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise _Stop(f"is nested deeper than {_MAX_DEPTH} elements")
        self._text, self._size = [], 0
        if name == "IndicatorItem":
            self._item = {"condition": attributes.get("condition", "is"), "negate": attributes.get("negate", "")}
        elif name == "Context" and self._item is not None:
            self._item["search"] = attributes.get("search", "")
        elif name == "Content" and self._item is not None:
            self._item["type"] = attributes.get("type", "")
        elif name.lower() in ("ioc", "openioc") and "id" in attributes:
            self.said["id"] = attributes["id"]

    def _characters(self, text: str) -> None:
        self._size += len(text)
        if self._size <= _MAX_TEXT_CHARS:
            self._text.append(text)

    def _end(self, name: str) -> None:
        name = self._path.pop()
        text = "".join(self._text).strip()
        self._text, self._size = [], 0
        if name == "Content" and self._item is not None:
            self._item["value"] = text
        elif name == "IndicatorItem" and self._item is not None:
            self.found.append(self._row(self._item))
            self._item = None
        elif name in _TEXTS and self._item is None:
            self.said.setdefault(name, text)

    def _row(self, item: dict[str, str]) -> Found:
        line, value, search = self._parser.CurrentLineNumber, item.get("value", ""), item.get("search", "")
        kind = _TERMS.get(search.rpartition("/")[2].lower()) or _CONTENT.get(item.get("type", "").lower())
        if not value:
            return Reject(line, search[:120], "value", "has no value")
        if kind is None:
            return Passed(f"OpenIOC {search[:50]}")
        if item["condition"] not in _EXACT or item["negate"] == "true":
            return Passed(f"OpenIOC condition {'not ' if item['negate'] == 'true' else ''}{item['condition'][:20]}")
        said = self.said
        name, about = said.get("short_description", ""), said.get("description", "")
        fields = {
            "category": category_of([name, about, said.get("keywords", "")]),
            "timestamp": said.get("authored_date"),
            "tags": said.get("keywords", "").split(),
            "description": name or about,
            "ref": said.get("id"),
            "producer": said.get("authored_by"),
        }
        return Row(line, value, kind, fields_of(fields))


def fits(head: Head) -> bool:
    """Whether it is XML of one of the two roots."""
    return head.start.startswith(b"<") and (b"<ioc" in head.start or b"OpenIOC" in head.start)


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of its indicator items; where it is no XML any more, a reject ends it."""
    no_columns("openioc", columns)
    return _read(source)


def _read(source: Source) -> Iterator[Found]:
    parser = expat.ParserCreate()
    handler = _Handler(parser)
    try:
        for block in source.blocks():
            parser.Parse(block, False)
            yield from handler.found
            handler.found.clear()
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError, _Stop) as error:  # of encodings that are not known, or not read
        yield from handler.found
        line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber
        yield Reject(line, "", "line", f"{_told(error)}, at column {column + 1}: what follows is not read")
        return
    yield from handler.found


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, _Stop) else f"is no XML ({str(error).partition(':')[0]})"
