"""How many answers a second a DNS blocklist gives on one core, with a million entries.

    .venv/bin/python -m bench.dnsbl [--entries N] [--seconds S]

Of the answering alone; and over UDP on loopback, where a second process asks with a window of questions: by the clock,
and by the processor time of the process that answers, which is what one core can do where others take none of it.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from threatcloud.dns.listings import Listings
from threatcloud.dns.serving import serve
from threatcloud.dns.zone import Zone

_ORIGIN: Final = "bl.example.org"
_WINDOW: Final = 64
_QUESTIONS: Final = 20_000
_NO_LIMIT: Final = 1_000_000_000


def _zone(entries: int) -> Zone:
    listings = Listings()
    listings.add_addresses((f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.7", "scanner") for n in range(entries))
    listings.add_addresses((f"100.{n}.0.0/20", "c2") for n in range(256))
    return Zone(_ORIGIN, listings)


def _packets(entries: int) -> list[bytes]:
    """Questions, half of them for what is listed."""
    suffix = b"".join(bytes((len(label),)) + label.encode() for label in _ORIGIN.split(".")) + b"\0\0\1\0\1"
    packets = []
    for number in range(_QUESTIONS):
        n = random.randrange(entries)
        octets = (7 if number % 2 else 8, n & 255, n >> 8 & 255, n >> 16 & 255)
        labels = b"".join(bytes((len(str(octet)),)) + str(octet).encode() for octet in octets)
        packets.append(number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + labels + suffix)
    return packets


def _serve(entries: int, ready: Connection) -> None:
    async def run() -> None:
        async with serve(_zone(entries).answer, "127.0.0.1", 0, _NO_LIMIT) as (_, port):
            ready.send(port)
            await asyncio.Event().wait()

    asyncio.run(run())


def _answering(zone: Zone, packets: list[bytes]) -> float:
    began = time.process_time()
    for packet in packets:
        zone.answer(packet)
    return len(packets) / (time.process_time() - began)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _over_udp(port: int, packets: list[bytes], seconds: float, pid: int) -> tuple[float, float]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(1)
        for packet in packets[:_WINDOW]:
            client.send(packet)
        answered, at, began, cpu_s = 0, _WINDOW, time.monotonic(), _cpu_s(pid)
        while time.monotonic() < began + seconds:
            client.recv(512)
            answered += 1
            client.send(packets[at % len(packets)])
            at += 1
        return answered / (time.monotonic() - began), answered / (_cpu_s(pid) - cpu_s)


def main() -> None:
    """Prints the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--seconds", type=float, default=3.0)
    given = options.parse_args()
    packets = _packets(given.entries)
    print(f"answering alone: {_answering(_zone(given.entries), packets):,.0f} a second")
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(given.entries, theirs))
    server.start()
    try:
        by_clock, by_cpu = _over_udp(ours.recv(), packets, given.seconds, server.pid or 0)
        print(f"over UDP: {by_clock:,.0f} a second, {by_cpu:,.0f} a processor second of the server")
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
