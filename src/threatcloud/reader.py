"""``python -m threatcloud.reader``: a process that only reads, started by the one that writes and by nobody else."""

import asyncio
import os
import pickle
import socket
import sys
import threading

import uvloop

from threatcloud.bootstrap import open_reader
from threatcloud.footprint import tune_allocator, tune_collector
from threatcloud.http.app import make_app
from threatcloud.http.logs import configure_logs
from threatcloud.http.readers import READY, Start
from threatcloud.http.reading import ReadingGateway, beside_reading
from threatcloud.http.relay import Relay
from threatcloud.http.serve import Server
from threatcloud.storage.memory import memory_of


def main() -> int:
    """Serves until SIGTERM, or until the process that writes is gone; gives the exit code."""
    tune_allocator()
    start: Start = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    threading.Thread(target=_end_with_home, name="home", daemon=True).start()
    configure_logs(start.settings.log_level, start.settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(start))


def _end_with_home() -> None:
    """Ends at once when the other end of the pipe is gone: nothing here is worth more than a clean slate."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


async def _serve(start: Start) -> int:
    settings = start.settings
    services, reload = await open_reader(settings, memory_of(start.memory), start.started_s)
    try:
        relay = Relay(start.home)
        gateway = ReadingGateway(services, relay, reload)
        server = Server(
            make_app(gateway, lambda: beside_reading(services, relay, gateway)),
            host=settings.host,
            port=settings.port,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
            on_started=lambda _: _say_ready(),
            sockets=[socket.socket(fileno=descriptor) for descriptor in start.sockets],
        )
        tune_collector()
        return await server.serve_here()
    finally:
        services.store.close()


def _say_ready() -> None:
    os.write(sys.stdout.fileno(), READY)


if __name__ == "__main__":
    sys.exit(main())
