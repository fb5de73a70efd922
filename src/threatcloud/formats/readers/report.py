"""Reports for people: text, HTML and PDF. What is found is told by ``report_words``, and meant to be looked through
before it is stored (`--review`); what is left out is told too, with the reason."""

import io
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Line, Passed, Reject, Row, SourceError, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.lines import lines_of
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.report_words import Judge, defangs, host_of
from threatcloud.formats.readers.source import Source

MAX_DOCUMENT_BYTES: Final = 32 * 1024 * 1024
MAX_PAGES: Final = 2_000
MAX_DISTINCT: Final = 500_000
_SINKS: Final = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1"})  # noqa: S104 - written there, not bound to
_SKIPPED: Final = frozenset({"script", "style", "nav", "header", "footer", "aside", "noscript", "svg", "template"})
_BLOCKS: Final = frozenset(
    [
        "p",
        "div",
        "li",
        "tr",
        "td",
        "th",
        "br",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "pre",
        "table",
        "ul",
        "ol",
        "section",
        "article",
        "blockquote",
    ]
)


def fits_text(head: Head) -> bool:
    """Whether many of its lines are more than a value."""
    lines = [line for line in head.lines if line.strip() and line.lstrip()[0] not in "#;"]
    return len(lines) > 0 and sum(len(line.split()) > 1 for line in lines) > len(lines) / 5 and not _is_hosts(lines)


def _is_hosts(lines: Iterable[str]) -> bool:
    """A line of a hosts file, or a value and a comment."""
    cells = [line.split() for line in lines]
    return all(len(cell) < 2 or cell[0] in _SINKS or cell[1][0] in "#;" for cell in cells)


def read_text(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of what the text names, each value once."""
    no_columns("text", columns)
    source.keep()
    return _found(lambda: lines_of(source.blocks()), frozenset())


def fits_html(head: Head) -> bool:
    """Whether it begins like a page."""
    start = head.start[:512].lower()
    return start.startswith((b"<!doctype html", b"<html")) or (start.startswith(b"<") and b"<html" in start)


def read_html(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of what the page names in its text; not what its links lead to, nor its frame."""
    no_columns("html", columns)
    page = _Page()
    page.feed(_decoded(_whole(source)))
    page.close()
    lines = page.lines()
    return _found(lambda: iter(lines), frozenset(page.own), page.title)


def fits_pdf(head: Head) -> bool:
    """Whether it is a PDF."""
    return head.data.startswith(b"%PDF-")


def read_pdf(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of what its pages name. Raises `SourceError` where it cannot be read, or not here."""
    no_columns("pdf", columns)
    lines = _pages(source.name, _whole(source))
    return _found(lambda: iter(lines), frozenset())


def _found(lines: Callable[[], Iterator[Line]], own: frozenset[str], title: str = "") -> Iterator[Found]:
    is_defanging = False
    for line in lines():
        if isinstance(line, str):
            title = title or line.strip(" =#*-\t")
            is_defanging = is_defanging or defangs(line)
    judge = Judge(defangs=is_defanging, own=own)
    fields = fields_of({"category": category_of([title]), "description": title})
    seen: set[str] = set()
    for number, line in enumerate(lines(), 1):
        if isinstance(line, Reject):
            yield line
            continue
        for candidate in judge.candidates(line):
            if candidate.text in seen or len(seen) >= MAX_DISTINCT:
                continue
            seen.add(candidate.text)
            if candidate.why_not is None:
                yield Row(number, candidate.text, candidate.kind, fields)
            else:
                yield Passed(candidate.why_not, 1, candidate.text)


def _whole(source: Source) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    for block in source.blocks():
        parts.append(block)
        size_bytes += len(block)
        if size_bytes > MAX_DOCUMENT_BYTES:
            raise SourceError(f"{source.name} is a document of more than {MAX_DOCUMENT_BYTES:,} bytes")
    return b"".join(parts)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class _Page(HTMLParser):
    """The text of a page in lines, its title, and whose it is."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.own: set[str] = set()
        self._parts: list[str] = []
        self._skipping: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes where a line ends, what is to be skipped, and what the page says of itself."""
        given = {name: value or "" for name, value in attrs}
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag == "title":
            self._in_title = True
        elif tag in _BLOCKS:
            self._parts.append("\n")
        if (tag == "link" and given.get("rel") == "canonical") or tag == "base":
            self._owns(given.get("href", ""))
        elif tag == "meta" and given.get("property") == "og:url":
            self._owns(given.get("content", ""))

    def handle_endtag(self, tag: str) -> None:
        """Ends what was begun."""
        if self._skipping and tag == self._skipping[-1]:
            self._skipping.pop()
        elif tag == "title":
            self._in_title = False
        elif tag in _BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Takes text that is shown."""
        if self._in_title:
            self.title += data.strip()
        elif not self._skipping:
            self._parts.append(data)

    def lines(self) -> list[Line]:
        """The text shown, in lines."""
        return list("".join(self._parts).split("\n"))

    def _owns(self, url: str) -> None:
        if host := host_of(url):
            self.own.add(host.removeprefix("www."))


def _pages(name: str, data: bytes) -> list[Line]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError:
        raise SourceError(f"{name} is a PDF, for which threat-cloud[reports] must be installed") from None
    lines: list[Line] = []
    try:
        document: Any = PdfReader(io.BytesIO(data))
        for page in document.pages[:MAX_PAGES]:
            lines += page.extract_text().split("\n")
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        if not lines:
            raise SourceError(f"{name} is a PDF that cannot be read: {error}") from error
        lines.append(Reject(len(lines) + 1, "", "line", f"the PDF cannot be read on here: {error}"))
    return lines
