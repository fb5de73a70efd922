"""A process that renders one list, so that a long one does not hold the interpreter of the server.

It reads an order, on a line, and the lines of the list; it writes what it says of its result, on a line, and the text.
"""

import gc
import sys
from typing import BinaryIO, Final

import msgspec

from threatcloud.background import stand_back
from threatcloud.formats.feeds.format import Rendering
from threatcloud.formats.feeds.order import Order, carry_out

COMMAND: Final = (sys.executable, "-m", "threatcloud.formats.feeds.apart")
#: Whoever waits for a list does so behind those who ask for an answer.
_NICENESS: Final = 5


class _Said(msgspec.Struct):
    """What a rendering is besides its text."""

    entries: int
    truncated: int
    left_out: dict[str, int]


def question(order: Order, lines: bytes) -> bytes:
    """What the process is to read."""
    return msgspec.json.encode(order) + b"\n" + lines


def understood(head: bytes, body: bytes) -> Rendering:
    """The rendering whose line and text the process has written; ValueError where it broke off."""
    if not head.endswith(b"\n"):
        raise ValueError("the rendering is not whole")
    said = msgspec.json.decode(head, type=_Said)
    return Rendering(body, said.entries, said.truncated, said.left_out)


def answer_to(asked: BinaryIO, answers: BinaryIO) -> None:
    """Renders the list that was asked for."""
    order = msgspec.json.decode(asked.readline(), type=Order)
    body, entries, truncated, left_out = carry_out(order, asked.read())
    answers.write(msgspec.json.encode(_Said(entries, truncated, left_out)) + b"\n")
    answers.write(body)


if __name__ == "__main__":
    stand_back(_NICENESS)
    gc.disable()  # a million entries, none of which goes before the end
    answer_to(sys.stdin.buffer, sys.stdout.buffer)
