"""The id of a request: the client's own where it is a sane one, else one of ours."""

import itertools
import re
import secrets
from typing import Final

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: Our ids name this run of the server and count on: nothing secret, so no system call for randomness each time.
_RUN: Final = secrets.token_hex(4)
_numbers: Final = itertools.count(1)


def request_id(sent: bytes | None) -> str:
    """The client's ``X-Request-Id`` where it is 1 to 64 of ``A-Za-z0-9._-``, else a new one."""
    return sent.decode("ascii") if sent and _SANE.fullmatch(sent) else f"{_RUN}-{next(_numbers):x}"
