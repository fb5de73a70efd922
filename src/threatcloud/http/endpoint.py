"""The declaration of an endpoint: decoding, validation, access, limits and OpenAPI all come from it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from threatcloud.domain.access import Caller
from threatcloud.domain.errors import Problem, invalid_all
from threatcloud.http.answer import JSON, Answer
from threatcloud.http.dialect import Dialect

if TYPE_CHECKING:
    from threatcloud.http.context import Services

MAX_BODY_BYTES: Final = 1024 * 1024

T = TypeVar("T")
C = TypeVar("C")


class Access(StrEnum):
    """Who may call a route (contract 1.1)."""

    OPEN = "open"
    READ = "read"
    READ_PRIVATE = "read, never public"
    FEEDS = "feeds"
    BARE = "feeds, never public, the key alone in the header too"
    REPORT = "write, or nothing where anonymous upload is allowed"
    WRITE = "write"
    EXCHANGE = "write, the key as a password too"
    AUDIT = "audit"
    ADMIN = "admin"
    LOCAL = "the local socket only"


class RateClass(StrEnum):
    """The limit a route counts against; NONE is exempt."""

    READ = "read"
    WRITE = "write"
    FEED = "feed"
    NONE = "none"


class Call:
    """One request as a handler sees it: who calls, what was asked, decoded and checked."""

    __slots__ = (
        "body",
        "caller",
        "headers",
        "may_still",
        "params",
        "query",
        "raw_body",
        "request_id",
        "services",
        "stream",
    )

    def __init__(self, services: "Services", caller: Caller, headers: Mapping[bytes, bytes], request_id: str) -> None:
        self.services = services
        self.caller = caller
        self.headers = headers
        self.request_id = request_id
        self.params: dict[str, str] = {}
        self.query: Any = None
        self.body: Any = None
        self.raw_body = b""
        #: Whether the caller would still be let in; of use to what answers for long.
        self.may_still: Callable[[], bool] = _always
        self.stream: AsyncIterator[bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header (name in lower case), or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


def _always() -> bool:
    return True


Handler = Callable[[Call], Awaitable[Answer]]


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A route without parameters."""


class OtherBody(NamedTuple):
    """Another shape a body may have: an object with ``key`` in it, or an array where that is empty.

    ``documented`` as in ``Endpoint``, None for what is refused; ``answer`` where it is not the endpoint's.
    """

    key: str
    body: Any
    documented: Any = None
    answer: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Endpoint:
    """One route. ``answer`` is the type of ``data``; ``collection`` says that it is a page of them.

    ``media`` names what it answers with when that is not the JSON envelope, ``other_media`` what else it can be.
    ``documented_body`` stands in the documentation for a body whose items are decoded one by one (several: any of
    them); ``also`` names the shapes of other good answers. ``params`` and ``headers`` describe segments and headers,
    ``patterns`` what some must match. A body that is none and does not have ``own_key`` may be the first of ``others``
    that it looks like.
    ``takes`` are the media types of its body. A ``dialect`` makes its answers bare: ``answer`` is all of the body.
    ``streams_body``: the body is a file of whatever type, which the handler takes as it comes (``Call.stream``).
    ``from_database``: answered from the database alone and changes nothing, so by any process of the server.
    ``streams``: its answers have no end of their own.
    """

    method: str
    path: str
    summary: str
    access: Access
    rate: RateClass
    handler: Handler
    from_database: bool = False
    streams: bool = False
    description: str = ""
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    documented_body: type[msgspec.Struct] | tuple[type[msgspec.Struct], ...] | None = None
    own_key: str = ""
    others: tuple[OtherBody, ...] = ()
    answer: Any = None
    collection: bool = False
    status: int = 200
    media: str = JSON
    other_media: tuple[str, ...] = ()
    tag: str = ""
    errors: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[int, Any] = field(default_factory=dict)
    max_body_bytes: int = MAX_BODY_BYTES
    takes: tuple[str, ...] = (JSON,)
    dialect: Dialect | None = None
    streams_body: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        """The path in segments."""
        return tuple(self.path.removeprefix("/").split("/"))


class QueryReader:
    """Decodes the query string of one endpoint: unknown, repeated or ill-typed parameters are refused by name.

    Those of a type that does not forbid unknown fields may have unknown parameters, which say nothing.
    """

    def __init__(self, query: type[msgspec.Struct]) -> None:
        self._type = query
        self._names = {item.encode_name: item.name for item in msgspec.structs.fields(query)}
        self._wants = wants_of(query)
        self._ignores_unknown = not query.__struct_config__.forbid_unknown_fields
        self._empty = msgspec.convert({}, query) if not any(f.required for f in msgspec.structs.fields(query)) else None

    def read(self, query: bytes) -> Any:
        """The parameters; InvalidInput names every one that is wrong."""
        if not query and self._empty is not None:
            return self._empty
        values: dict[str, str] = {}
        problems: list[Problem] = []
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise invalid_all([Problem("query", "is not a well-formed, UTF-8 percent-encoded query string")]) from None
        for name, value in pairs:
            if name not in self._names:
                if self._ignores_unknown:
                    continue
                problems.append(
                    Problem(name, f"is no parameter here; there are {', '.join(sorted(self._names)) or 'none'}")
                )
            elif name in values:
                problems.append(Problem(name, "is given twice"))
            values[name] = value
        if problems:
            raise invalid_all(problems)
        try:
            found = msgspec.convert(values, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_all([problem_of(error, self._wants)]) from None
        # To msgspec the word "null" is None where that is allowed: a filter would silently be none.
        nulls = [name for name in values if getattr(found, self._names[name]) is None]
        if nulls:
            raise invalid_all([Problem(name, f"must be {self._wants.get(name, 'a value')}") for name in nulls])
        return found


class BodyReader:
    """Decodes the JSON body of one endpoint; a body of another shape (``OtherBody``) by the shape's own rules."""

    def __init__(self, body: Any, own_key: str = "", others: tuple[OtherBody, ...] = ()) -> None:
        self._decode = msgspec.json.Decoder(body).decode
        self._wants = wants_of(body) if isinstance(body, type) else {}
        self._own_key = own_key
        self._others = [(other.key, BodyReader(other.body)) for other in others]

    def read(self, raw: bytes, media: str = JSON) -> Any:
        """The body, of a media type; InvalidInput says what is wrong with it."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            other = self._other(raw)
            if other is not None:
                return other.read(raw, media)
            raise invalid_all([problem_of(error, self._wants)]) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            reason = "is nested too deep" if isinstance(error, RecursionError) else f"is not valid JSON: {error}"
            raise invalid_all([Problem("body", reason)]) from None

    def _other(self, raw: bytes) -> "BodyReader | None":
        """The reader of the shape that the body has by its own keys."""
        if not self._others:
            return None
        try:
            keys = _decode_keys(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        found = {""} if isinstance(keys, list) else keys.keys()
        return None if self._own_key in found else next((read for key, read in self._others if key in found), None)


_decode_keys: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode


_AT: Final = re.compile(r" - at `(?:key in )?`?\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")


def problem_of(error: msgspec.ValidationError, wants: Mapping[str, str]) -> Problem:
    """The field and the reason in a validation error, in our words where the declaration has them."""
    text = str(error)
    at = _AT.search(text)
    place = at[1] if at else ""
    missing = _MISSING.search(text)
    if missing:
        name = f"{place}.{missing[1]}" if place else missing[1]
        return Problem(name, "is required")
    if place in wants:
        return Problem(place, f"must be {wants[place]}")
    reason = _AT.sub("", text).replace("`", "")
    return Problem(place or "body", reason[:1].lower() + reason[1:])


def wants_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What each field wants, in words, as far as its declared type and bounds say."""
    found = {}
    for item in msgspec.structs.fields(struct):
        words = _words(inspect.type_info(item.type))
        if words:
            found[item.encode_name] = words
    return found


def _words(kind: inspect.Type) -> str | None:
    if isinstance(kind, inspect.Metadata):
        return _words(kind.type)
    if isinstance(kind, inspect.UnionType):
        known = [words for words in map(_words, kind.types) if words]
        return known[0] if len(known) == 1 else None
    if isinstance(kind, inspect.IntType):
        return f"a whole number{_bounds(kind.ge, kind.le)}"
    if isinstance(kind, inspect.FloatType):
        return f"a number{_bounds(kind.ge, kind.le)}"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, inspect.EnumType):
        return f"one of {', '.join(str(item.value) for item in kind.cls)}"
    return _text_words(kind) if isinstance(kind, inspect.StrType) else None


def _text_words(kind: inspect.StrType) -> str:
    if kind.pattern:
        return f"a text that matches {kind.pattern}"
    if kind.max_length is not None:
        return f"a text of {kind.min_length or 0} to {kind.max_length} characters"
    return "a text"


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""


def decoded(
    raw: msgspec.Raw | bytes,
    decode: Callable[[msgspec.Raw | bytes], T],
    claim_of: Callable[[T], C | list[Problem]],
    wants: Mapping[str, str],
) -> C | list[Problem]:
    """The claim of one item of a batch, or what is wrong with the item."""
    try:
        return claim_of(decode(raw))
    except msgspec.ValidationError as error:
        return [problem_of(error, wants)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [Problem("body", f"is not valid JSON: {error}")]
    except RecursionError:
        return [Problem("body", "is nested too deep")]
