"""Bodies that are no JSON: HTML forms, as scripts send them with curl (URL-encoded, or in parts with a file)."""

from collections.abc import Sequence
from email.parser import BytesParser
from email.policy import HTTP
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from threatcloud.domain.errors import Problem, WrongMediaType, invalid_all
from threatcloud.http.answer import JSON
from threatcloud.http.endpoint import BodyReader, problem_of, wants_of

FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_MAX_FIELDS: Final = 100


def check_media(media: str, takes: Sequence[str]) -> None:
    """Raises WrongMediaType for a Content-Type that a route does not take."""
    kind = _kind(media)
    if kind not in takes and not (JSON in takes and kind.endswith("+json")):
        word = "JSON" if takes == (JSON,) else "of a type taken here"
        raise WrongMediaType(f"the body must be {word}: send Content-Type: {' or '.join(takes)}")


def _kind(media: str) -> str:
    return media.partition(";")[0].strip().lower()


class FormReader:
    """Decodes a body that is JSON, or a form whose fields are those of the same type."""

    def __init__(self, body: type[msgspec.Struct]) -> None:
        self._type = body
        self._wants = wants_of(body)
        self._json = BodyReader(body)

    def read(self, raw: bytes, media: str) -> Any:
        """The body, of a media type; InvalidInput says what is wrong with it."""
        kind = _kind(media)
        if kind not in (FORM, MULTIPART):
            return self._json.read(raw)
        fields = _fields(raw) if kind == FORM else _parts(raw, media)
        try:
            return msgspec.convert(fields, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_all([problem_of(error, self._wants)]) from None


def _fields(raw: bytes) -> dict[str, str]:
    """The fields of a URL-encoded form; the last of a name counts."""
    try:
        text = raw.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise invalid_all([Problem("body", "is not a well-formed form")]) from None


def _parts(raw: bytes, media: str) -> dict[str, str]:
    """The fields of a form in parts, files by the name of their field (RFC 7578)."""
    head = f"Content-Type: {media}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + raw)
    found: dict[str, str] = {}
    for part in islice(message.iter_parts() if message.is_multipart() else (), _MAX_FIELDS):
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content.decode("utf-8", "replace")
    if not found:
        raise invalid_all([Problem("body", "is not a well-formed form in parts")])
    return found
