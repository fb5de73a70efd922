"""How TAXII 2.1 tells what went wrong: its error message (section 3.6.1), of its media type."""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import Problem
from threatcloud.http.answer import encode
from threatcloud.http.dialect import Dialect

MEDIA: Final = "application/taxii+json;version=2.1"


class ErrorMessage(msgspec.Struct, omit_defaults=True):
    """A refusal; ``details`` name each field that is wrong, with the reason."""

    title: str
    description: str
    http_status: Annotated[str, Meta(pattern=r"^[0-9]{3}$")]
    details: dict[str, str] = {}


def _tell(status: int, sentence: str, problems: tuple[Problem, ...]) -> bytes:
    details = {problem.field: problem.reason for problem in problems}
    return encode(ErrorMessage(HTTPStatus(status).phrase, sentence, str(status), details))


DIALECT: Final = Dialect(name="taxii", tell=_tell, shape=ErrorMessage, media=MEDIA)
