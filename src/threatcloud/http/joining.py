"""One system call for one answer: uvicorn writes head and body apart, and each write may wake the client."""

import asyncio
from typing import Final

#: Larger pieces are not copied together; they go out as they are.
_MAX_JOINED_BYTES: Final = 64 * 1024


class JoiningWriter:
    """Gathers what is written in one turn of the event loop and writes it at the turn's end, in order.

    While it ``holds``, whoever has it hold calls ``flush`` in the end.
    """

    __slots__ = ("_gathered_bytes", "_loop", "_parts", "_transport", "holds")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._gathered_bytes = 0
        self.holds = False

    def write(self, data: bytes) -> None:
        """Takes bytes to be sent."""
        if len(data) > _MAX_JOINED_BYTES:
            self.flush()
            self._transport.write(data)
            return
        if not self._parts and not self.holds:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes > _MAX_JOINED_BYTES:
            self.flush()  # so that a client that does not read is noticed by whoever writes

    def flush(self) -> None:
        """Sends what waits now; to be called before anything else is written to the transport or it is closed."""
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        self._gathered_bytes = 0
        if not self._transport.is_closing():
            self._transport.write(b"".join(parts))
