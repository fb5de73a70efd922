"""The sockets of a DNS blocklist: UDP and TCP on one address, limited by the network of whoever asks."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from ipaddress import ip_network
from typing import Any, Final

from threatcloud.http.rate_limit import RateLimiter

_CLASS: Final = "dns"
_IDLE_S: Final = 10.0
_AT_ONCE: Final = 64
_MAX_QUESTION_BYTES: Final = 4096
_MAX_CONNECTIONS: Final = 256
_MAX_UNREAD_BYTES: Final = 64 * 1024
_PREFIXES: Final = {4: 24, 6: 56}

Answer = Callable[[bytes], bytes | None]


class Guard:
    """Says whether a client's network may ask once more."""

    def __init__(self, a_minute: int) -> None:
        self._limiter = RateLimiter()
        self._a_minute = a_minute

    def admits(self, address: str) -> bool:
        """Takes one question."""
        return not self._limiter.take(_CLASS, "", _network(address), self._a_minute, time.monotonic()).retry_after_s


@lru_cache(maxsize=16_384)
def _network(address: str) -> str:
    host = address.partition("%")[0]
    return str(ip_network(f"{host}/{_PREFIXES[6 if ':' in host else 4]}", strict=False))


class _Udp:
    """Answers datagrams. Whoever asks too often gets nothing, so that no forged address is flooded.

    It reads what has come in one go: a turn of the loop for each datagram takes longer than the answer.
    """

    def __init__(self, answer: Answer, guard: Guard, host: str, port: int) -> None:
        self._answer = answer
        self._guard = guard
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet, address = self._socket.recvfrom(_MAX_QUESTION_BYTES)
            except BlockingIOError:
                return
            except OSError:  # what an earlier answer met: nobody listens there
                continue
            if self._guard.admits(address[0]) and (reply := self._answer(packet)) is not None:
                with suppress(OSError):  # whoever asks over UDP asks again
                    self._socket.sendto(reply, address)

    def close(self) -> None:
        """Answers no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


class _Tcp(asyncio.Protocol):
    """Answers what comes over a connection, each message behind its length (RFC 7766)."""

    def __init__(self, answer: Answer, guard: Guard, open_now: set["_Tcp"]) -> None:
        self._answer = answer
        self._guard = guard
        self._open = open_now
        self._unread = b""
        self._transport: Any = None
        self._idle: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if len(self._open) >= _MAX_CONNECTIONS or not peer:
            self._transport.abort()
            return
        self._address = peer[0]
        self._open.add(self)
        self._wait()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._open.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._wait()
        while len(self._unread) >= 2:
            size = int.from_bytes(self._unread[:2], "big")
            if len(self._unread) < size + 2:
                break
            packet, self._unread = self._unread[2 : size + 2], self._unread[size + 2 :]
            reply = self._answer(packet) if self._guard.admits(self._address) else None
            if reply is None:
                self.end()
                return
            self._transport.write(len(reply).to_bytes(2, "big") + reply)
        if len(self._unread) > _MAX_UNREAD_BYTES or self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self._transport.abort()

    def end(self) -> None:
        """Closes the connection once what was answered is sent."""
        self._transport.close()

    def _wait(self) -> None:
        """Ends the connection when nothing comes for a while."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.end)


@asynccontextmanager
async def serve(answer: Answer, host: str, port: int, a_minute: int) -> AsyncIterator[tuple[str, int]]:
    """Answers on an address (port 0: any) as long as the context is open; gives where. OSError where it cannot."""
    loop = asyncio.get_running_loop()
    guard, open_now = Guard(a_minute), set[_Tcp]()
    server = await loop.create_server(lambda: _Tcp(answer, guard, open_now), host, port)
    try:
        taken = server.sockets[0].getsockname()
        udp = _Udp(answer, guard, host, taken[1])
        try:
            yield taken[0], taken[1]
        finally:
            udp.close()
    finally:
        server.close()
        for connection in tuple(open_now):
            connection.end()
