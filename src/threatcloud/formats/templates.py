"""JSON of a million objects that are alike: what they have in common is encoded once, as a template for ``%``.

An example is made with marks for what differs from one object to the next, so that there is one description of an
object, whether it is encoded alone or among many. Nobody can know the marks, so nothing else is taken for one.
"""

import secrets
from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeVar

import msgspec

Key = TypeVar("Key", bound=Hashable)
_LEAST: Final = 10**18
#: What stands for a field that differs: as it is for a number, as text within a text.
MARKS: Final = tuple(_LEAST + secrets.randbelow(_LEAST) for _ in range(12))


def template(example: object, marks: Sequence[int]) -> str:
    """A template of an example, which takes a text for each of the marks.

    They are in the order in which the example has them; one that it has not takes a text all the same.
    """
    parts = []
    rest = msgspec.json.encode(example).decode().replace("%", "%%")
    for mark in marks:
        before, found, after = rest.partition(str(mark))
        parts.append(f"{before}%s" if found else "%.0s")
        rest = after if found else rest
    return "".join((*parts, rest))


class Templates(dict[Key, str]):
    """Templates by what the objects that they are for have in common, made once they are asked for."""

    def __init__(self, make: Callable[[Key], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Key) -> str:
        made = self[key] = self._make(key)
        return made


def escaped(text: str) -> str:
    """A text as it is between the quotation marks of JSON."""
    if '"' not in text and "\\" not in text and text.isascii() and text.isprintable():
        return text
    return msgspec.json.encode(text).decode()[1:-1]


def around(document: object) -> tuple[bytes, bytes]:
    """What is before and after the first of the marks in a document in JSON that is a line of its own."""
    before, _, after = msgspec.json.encode(document).partition(str(MARKS[0]).encode())
    return before, after + b"\n"
