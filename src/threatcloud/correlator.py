"""``python -m threatcloud.correlator``: takes steps of correlation for the process that started it, and for no other.

It reads the settings, then an order a line, and answers each with a line.
"""

import os
import pickle
import queue
import sys
import threading
from typing import Final

import msgspec
import structlog

from threatcloud.background import stand_back
from threatcloud.config import Settings
from threatcloud.footprint import tune_allocator, tune_collector
from threatcloud.http.logs import configure_logs
from threatcloud.services.correlating import Stepped, Stepper
from threatcloud.services.correlating_apart import Order
from threatcloud.services.loading import LateScreener
from threatcloud.storage.driver import Transaction
from threatcloud.storage.sqlite import SQLiteConnection

#: Those who wait for an answer go before.
_NICENESS: Final = 10


def main() -> None:
    """Serves until whoever gives the orders is gone."""
    stand_back(_NICENESS)
    tune_allocator()
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(orders,), name="orders", daemon=True).start()
    configure_logs(settings.log_level, settings.log_format)
    stepper = Stepper(LateScreener(settings))
    connection = SQLiteConnection(settings.db_path, writable=True)
    tune_collector()
    while True:
        stepped = _carry_out(connection, stepper, orders.get())
        sys.stdout.buffer.write(msgspec.json.encode(stepped) + b"\n")
        sys.stdout.buffer.flush()


def _hear(orders: "queue.SimpleQueue[Order]") -> None:
    """Hands on what is ordered; ends the process at once when nobody can order any more, whatever it is doing."""
    for line in sys.stdin.buffer:
        orders.put(msgspec.json.decode(line, type=Order))
    os._exit(0)


def _carry_out(connection: SQLiteConnection, stepper: Stepper, order: Order) -> Stepped:
    """Takes the step as one transaction. Where it fails the process ends, and with it the transaction."""
    connection.run("BEGIN IMMEDIATE")
    stepped = stepper.timed_step(Transaction(connection, order.now), order.most)
    connection.run("COMMIT")
    return stepped


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001 - logged whole; the orders are left unread by their thread, so there is no other end
        structlog.get_logger("correlator").exception("correlation failed")
        os._exit(1)
