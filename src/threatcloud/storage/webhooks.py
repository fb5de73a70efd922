"""Webhooks and their deliveries."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from threatcloud.domain.change import ChangeKind, Interest, Place, read_place
from threatcloud.domain.indicator import IndicatorType
from threatcloud.storage.driver import Connection, Row, Transaction

_COLUMNS: Final = "pk, id, url, interest, place, created_at, created_by, failing_since, disabled_at, disabled_why"
_DELIVERY: Final = "pk, id, webhook, state, events, created_at, attempts, due_at, attempted_at, status, problem"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class Webhook(NamedTuple):
    """A webhook as it is stored. ``failing_since``: since when it has taken nothing that was sent."""

    pk: int
    id: str
    url: str
    interest: Interest
    place: Place
    created_at: int
    created_by: str
    failing_since: int | None = None
    disabled_at: int | None = None
    disabled_why: str | None = None


class Delivery(NamedTuple):
    """A delivery without its body."""

    pk: int
    id: str
    webhook: int
    state: DeliveryState
    events: int
    created_at: int
    attempts: int
    due_at: int | None
    attempted_at: int | None
    status: int | None
    problem: str | None


class Counts(NamedTuple):
    """How many deliveries of a webhook wait and how many are given up."""

    waiting: int = 0
    dead: int = 0


class NewDelivery(NamedTuple):
    """A delivery about to be made."""

    id: str
    webhook: int
    events: int
    body: bytes


class _Interest(msgspec.Struct, omit_defaults=True):
    """An interest as it is stored."""

    kinds: list[ChangeKind]
    type: str | None = None
    category: str | None = None
    min_confidence: float = 0.0


_decode: Final = msgspec.json.Decoder(_Interest).decode


def _stored(interest: Interest) -> str:
    kinds, kind, category, confidence = interest
    return msgspec.json.encode(_Interest(sorted(kinds), kind.value if kind else None, category, confidence)).decode()


def _webhook(row: Row) -> Webhook:
    said = _decode(row[3])
    kind = IndicatorType(said.type) if said.type else None
    interest = Interest(frozenset(said.kinds), kind, said.category, said.min_confidence)
    return Webhook._make((*row[:3], interest, read_place(row[4], "place"), *row[5:]))


def _delivery(row: Row) -> Delivery:
    return Delivery._make((*row[:3], DeliveryState(row[3]), *row[4:]))


def add(tx: Transaction, webhook: Webhook) -> None:
    """Stores a new webhook; it gets a row number of its own."""
    tx.db.run(
        "INSERT INTO webhook (id, url, interest, place, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?)",
        (webhook.id, webhook.url, _stored(webhook.interest), str(webhook.place), tx.now, webhook.created_by),
    )


def all_webhooks(db: Connection) -> list[Webhook]:
    """Every webhook, oldest first."""
    return [_webhook(row) for row in db.rows(f"SELECT {_COLUMNS} FROM webhook ORDER BY pk")]


def find(db: Connection, webhook_id: str) -> Webhook | None:
    """The webhook of an id, or None."""
    row = db.row(f"SELECT {_COLUMNS} FROM webhook WHERE id = ?", (webhook_id,))
    return _webhook(row) if row else None


def remove(tx: Transaction, pk: int) -> None:
    """Deletes a webhook with its deliveries."""
    tx.db.run("DELETE FROM delivery WHERE webhook = ?", (pk,))
    tx.db.run("DELETE FROM webhook WHERE pk = ?", (pk,))


def move(tx: Transaction, pk: int, place: Place) -> None:
    """Notes that all up to a place is in deliveries, or of no interest."""
    tx.db.run("UPDATE webhook SET place = ? WHERE pk = ?", (str(place), pk))


def note_health(tx: Transaction, pk: int, failing_since: int | None) -> None:
    """Notes since when an endpoint has been failing, None that it is not."""
    tx.db.run("UPDATE webhook SET failing_since = ? WHERE pk = ?", (failing_since, pk))


def disable(tx: Transaction, pk: int, why: str) -> None:
    """Stops sending to an endpoint."""
    tx.db.run("UPDATE webhook SET disabled_at = ?, disabled_why = ? WHERE pk = ?", (tx.now, why, pk))


def enable(tx: Transaction, pk: int) -> None:
    """Has an endpoint sent to again, and what was given up tried again now."""
    tx.db.run("UPDATE webhook SET disabled_at = NULL, disabled_why = NULL, failing_since = NULL WHERE pk = ?", (pk,))


def deliver(tx: Transaction, new: Iterable[NewDelivery]) -> None:
    """Enters deliveries, due at once."""
    tx.db.run_many(
        "INSERT INTO delivery (id, webhook, state, events, body, created_at, attempts, due_at) "
        f"VALUES (?, ?, '{DeliveryState.WAITING}', ?, ?, ?, 0, ?)",
        [(*item, tx.now, tx.now) for item in new],
    )


def due(db: Connection, webhook: int, now: int) -> tuple[Delivery, bytes] | None:
    """The delivery of a webhook that has been due for longest, with its body; None when there is none."""
    row = db.row(
        f"SELECT {_DELIVERY}, body FROM delivery WHERE webhook = ? AND due_at <= ? AND due_at IS NOT NULL "
        "ORDER BY due_at, pk LIMIT 1",
        (webhook, now),
    )
    return (_delivery(row[:-1]), row[-1] or b"") if row else None


def with_body(db: Connection, delivery_id: str) -> tuple[Delivery, bytes] | None:
    """A delivery by its id, with its body; None when there is none."""
    row = db.row(f"SELECT {_DELIVERY}, body FROM delivery WHERE id = ?", (delivery_id,))
    return (_delivery(row[:-1]), row[-1] or b"") if row else None


def deliveries(db: Connection, webhook: int, before_pk: int, limit: int) -> list[Delivery]:
    """Deliveries of a webhook, newest first."""
    rows = db.rows(
        f"SELECT {_DELIVERY} FROM delivery WHERE webhook = ? AND pk < ? ORDER BY pk DESC LIMIT ?",
        (webhook, before_pk, limit),
    )
    return [_delivery(row) for row in rows]


def counts(db: Connection, webhook: int, most: int) -> Counts:
    """How many deliveries of a webhook wait and are given up; of each not more than so many are counted."""
    waiting = db.row(
        "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE webhook = ? AND due_at IS NOT NULL LIMIT ?) AS slice",
        (webhook, most),
    )
    dead = db.row(
        f"SELECT count(*) FROM (SELECT 1 FROM delivery WHERE webhook = ? AND state = '{DeliveryState.DEAD}' LIMIT ?) "
        "AS slice",
        (webhook, most),
    )
    return Counts(waiting[0] if waiting else 0, dead[0] if dead else 0)


def settle(tx: Transaction, delivery: Delivery) -> None:
    """Notes what came of an attempt. What has arrived is kept for people to see, without its body."""
    body = "NULL" if delivery.state is DeliveryState.DELIVERED else "body"
    tx.db.run(
        f"UPDATE delivery SET state = ?, attempts = ?, due_at = ?, attempted_at = ?, status = ?, problem = ?, "
        f"body = {body} WHERE pk = ?",
        (
            delivery.state.value,
            delivery.attempts,
            delivery.due_at,
            delivery.attempted_at,
            delivery.status,
            delivery.problem,
            delivery.pk,
        ),
    )


def revive(tx: Transaction, webhook: int) -> int:
    """Has what was given up, and what waits, tried again from now on; how many that were."""
    rows = tx.db.rows(
        f"SELECT pk FROM delivery WHERE webhook = ? AND state <> '{DeliveryState.DELIVERED}' AND body IS NOT NULL",
        (webhook,),
    )
    tx.db.run_many(
        f"UPDATE delivery SET state = '{DeliveryState.WAITING}', attempts = 0, due_at = ? WHERE pk = ?",
        [(tx.now, row[0]) for row in rows],
    )
    return len(rows)


def prune(tx: Transaction, before: int, most: int) -> int:
    """Deletes what was settled and made before a time, oldest first; how many went."""
    rows = tx.db.rows(
        "SELECT pk FROM delivery WHERE due_at IS NULL AND created_at < ? ORDER BY created_at LIMIT ?", (before, most)
    )
    tx.db.run_many("DELETE FROM delivery WHERE pk = ?", rows)
    return len(rows)


def replace_naming(tx: Transaction, texts: Iterable[str], body: bytes) -> None:
    """Puts another body in place of each that names any of the texts, as a JSON string of its own."""
    for text in texts:
        tx.db.run(
            "UPDATE delivery SET body = ?, events = 0 WHERE body IS NOT NULL AND instr(body, ?) > 0",
            (body, msgspec.json.encode(text)),
        )
