"""The deliveries of webhooks: made of changes, sent, tried again, given up.

A delivery and the place up to which changes are in deliveries are stored in one unit of work, before anything is sent:
a kill at any time loses no event, and sends again, under the same id, only what had not been noted as taken. While an
endpoint fails its changes stay in the log, and only a bounded number of deliveries waits for it.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from threatcloud.domain.change import Place
from threatcloud.domain.errors import Gone, NotFound
from threatcloud.domain.outbound import OutboundRefused
from threatcloud.domain.times import DAY_MS, SECOND_MS, iso
from threatcloud.domain.webhook import GIVE_UP_MS, GONE, Attempt, headers, wait_ms
from threatcloud.formats.events import changes_json, gap_json
from threatcloud.outbound.client import Limits, Order, Outbound, Unreachable
from threatcloud.services.secrets import Secret
from threatcloud.storage import ledger, webhooks
from threatcloud.storage.changes import Slice, changes_after, newest_place
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store
from threatcloud.storage.webhooks import Delivery, DeliveryState, NewDelivery, Webhook

MAX_EVENTS: Final = 100
#: Deliveries that may wait for one endpoint; what comes after them stays in the log.
MAX_WAITING: Final = 200
_PAGE_CHANGES: Final = 500
_ENDPOINTS_AT_ONCE: Final = 8
#: How long deliveries go to one endpoint in a row, so that no other waits for ever.
_TURN_S: Final = 10.0
_LIMITS: Final = Limits(total_s=15.0, connect_s=5.0, answer_bytes=64 * 1024)
_KEPT_DAYS: Final = 14
_PRUNED_AT_ONCE: Final = 1_000
#: A place that moved over changes of no interest is stored this often.
_MOVE_EVERY_MS: Final = 60 * SECOND_MS

_log = structlog.get_logger("webhooks")


class Delivering:
    """Makes and sends deliveries."""

    def __init__(self, store: Store, names: Names, secret: Secret, outbound: Outbound, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._secret = secret
        self._outbound = outbound
        self._clock = clock
        self._chance = random.Random()  # noqa: S311 - spreads retries
        #: Where webhooks are that had nothing of interest since what is stored, by row number, and since when.
        self._ahead: dict[int, tuple[Place, int]] = {}
        self._commits = -1
        self._attempting: dict[int, asyncio.Lock] = {}
        self._sending: dict[int, asyncio.Task[int]] = {}
        self._slots = asyncio.Semaphore(_ENDPOINTS_AT_ONCE)

    async def run(self) -> str:
        """A round: makes deliveries of what is new, has what is due sent; says how many of each.

        Each endpoint is sent to by a task of its own, so that a slow one holds up nobody; rounds do not wait for them.
        """
        hooks = [item for item in await self._store.read(webhooks.all_webhooks) if item.disabled_at is None]
        taken = self._reap()
        made = await self._collect(hooks) if hooks else 0
        for hook in hooks:
            if hook.pk not in self._sending:
                self._sending[hook.pk] = asyncio.create_task(self._send_due(hook))
        said = {f"{made} deliveries made": made, f"{taken} taken": taken}
        return ", ".join(text for text, many in said.items() if many)

    def _reap(self) -> int:
        """How many deliveries tasks that have ended had taken; raises what went wrong in one."""
        ended = [pk for pk, task in self._sending.items() if task.done()]
        return sum([self._sending.pop(pk).result() for pk in ended])

    async def stop(self) -> None:
        """Breaks off what is being sent: it was not noted as taken, and goes again after the next start."""
        for task in self._sending.values():
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)
        self._sending.clear()

    async def prune(self) -> str:
        """Forgets what was settled weeks ago; says how much."""
        pruned = 0
        before = self._clock() - _KEPT_DAYS * DAY_MS
        while more := await self._store.write(partial(webhooks.prune, before=before, most=_PRUNED_AT_ONCE), bulk=True):
            pruned += more
        return f"{pruned} deliveries forgotten" if pruned else ""

    async def _collect(self, hooks: Sequence[Webhook]) -> int:
        """Makes deliveries of changes, for all that are at the same place at once."""
        commits = self._store.figures().commits
        if commits == self._commits:
            return 0
        by_place: dict[Place, list[Webhook]] = {}
        for hook in hooks:
            at, _ = self._ahead.get(hook.pk, (hook.place, 0))
            by_place.setdefault(at if at.reaches(hook.place) else hook.place, []).append(hook)
        made, is_behind = 0, False
        for place, group in by_place.items():
            found, more = await self._collect_from(place, group)
            made, is_behind = made + found, is_behind or more
        self._commits = -1 if is_behind else commits
        return made

    async def _collect_from(self, place: Place, hooks: Sequence[Webhook]) -> tuple[int, bool]:
        """How many deliveries were made, and whether there may be more to make."""
        ready = await self._store.scan(lambda db: [hook for hook in hooks if _has_room(db, hook)])
        if not ready:
            return 0, True
        try:
            found = await self._store.scan(lambda db: changes_after(db, place, _PAGE_CHANGES, self._names))
        except Gone:
            return await self._store.write(partial(_tell_gap, hooks=ready)), True
        if found.place == place:
            return 0, len(ready) < len(hooks)
        made = 0
        for hook in ready:
            made += await self._make(hook, found)
        return made, found.more or len(ready) < len(hooks)

    async def _make(self, hook: Webhook, found: Slice) -> int:
        wanted = [change for change in found.changes if hook.interest.wants(change)]
        now = self._clock()
        _, since = self._ahead.get(hook.pk, (hook.place, now))
        if not wanted and now - since < _MOVE_EVERY_MS:
            self._ahead[hook.pk] = (found.place, since)
            return 0
        batches = [wanted[first : first + MAX_EVENTS] for first in range(0, len(wanted), MAX_EVENTS)]
        bodies = [(len(batch), changes_json(batch, now)) for batch in batches]

        def work(tx: Transaction) -> None:
            webhooks.deliver(tx, [NewDelivery(new_id(), hook.pk, events, body) for events, body in bodies])
            webhooks.move(tx, hook.pk, found.place)

        await self._store.write(work)
        self._ahead.pop(hook.pk, None)
        return len(bodies)

    async def _send_due(self, hook: Webhook) -> int:
        """Sends what is due to one endpoint, in order, until one is not taken or others are due; how many were."""
        async with self._slots:
            taken, give_way_s = 0, time.monotonic() + _TURN_S
            while time.monotonic() < give_way_s and await self._send_next(hook):
                taken += 1
            return taken

    async def _send_next(self, hook: Webhook) -> bool:
        async with self._attempting.setdefault(hook.pk, asyncio.Lock()):
            due = await self._store.read(partial(webhooks.due, webhook=hook.pk, now=self._clock()))
            if due is None:
                return False
            return (await self._attempt(hook, *due)).state is DeliveryState.DELIVERED

    async def attempt_now(self, hook: Webhook, delivery_id: str) -> Delivery:
        """Attempts one delivery, whatever else waits; gives what came of it."""

        async def attempt() -> Delivery:
            async with self._attempting.setdefault(hook.pk, asyncio.Lock()):
                found = await self._store.read(lambda db: webhooks.with_body(db, delivery_id))
                if found is None:
                    raise NotFound("the webhook was removed meanwhile")
                delivery, body = found
                if delivery.state is not DeliveryState.WAITING:
                    return delivery
                return await self._attempt(hook, delivery, body)

        return await asyncio.shield(asyncio.create_task(attempt()))

    async def _attempt(self, hook: Webhook, delivery: Delivery, body: bytes) -> Delivery:
        attempt = await self._post(hook, delivery, body)
        return await self._store.write(partial(self._settle, hook=hook, delivery=delivery, attempt=attempt))

    async def _post(self, hook: Webhook, delivery: Delivery, body: bytes) -> Attempt:
        key = self._secret.webhook_key(hook.id)
        sent = headers(key, delivery.id, self._clock() // SECOND_MS, body)
        try:
            reply = await self._outbound.send(Order("POST", hook.url, sent, body), _LIMITS, _ignore)
        except (OutboundRefused, Unreachable) as error:
            return Attempt(None, error.message)
        return Attempt(reply.status, None if 200 <= reply.status < 300 else f"answered {reply.status}")

    def _settle(self, tx: Transaction, hook: Webhook, delivery: Delivery, attempt: Attempt) -> Delivery:
        attempts = delivery.attempts + 1
        wait = None if attempt.is_taken else wait_ms(attempts, self._chance.random())
        state = DeliveryState.WAITING if wait is not None else DeliveryState.DEAD
        settled = delivery._replace(
            state=DeliveryState.DELIVERED if attempt.is_taken else state,
            attempts=attempts,
            due_at=None if wait is None else tx.now + wait,
            attempted_at=tx.now,
            status=attempt.status,
            problem=attempt.problem,
        )
        webhooks.settle(tx, settled)
        current = webhooks.find(tx.db, hook.id)
        if current is not None:
            self._judge(tx, current, attempt)
        return settled

    def _judge(self, tx: Transaction, hook: Webhook, attempt: Attempt) -> None:
        """Notes whether the endpoint works, and gives it up when it has not for days or says that it is gone."""
        if attempt.is_taken:
            if hook.failing_since is not None:
                webhooks.note_health(tx, hook.pk, None)
            return
        since = hook.failing_since or tx.now
        if hook.failing_since is None:
            webhooks.note_health(tx, hook.pk, since)
        why = None
        if attempt.status == GONE:
            why = "it answered 410: it wants nothing any more"
        elif tx.now - since >= GIVE_UP_MS:
            why = f"it has taken nothing since {iso(since)}; the last problem: {attempt.problem}"
        if why is not None and hook.disabled_at is None:
            webhooks.disable(tx, hook.pk, why)
            details = {"id": hook.id, "url": hook.url, "disabled": why}
            ledger.append(tx, self._secret.audit, ledger.Act("update", "webhook", "", "", details))
            _log.warning(
                "webhook disabled", webhook=hook.id, why=why, next_step=f"threat-cloud webhook retry {hook.id}"
            )


def new_id() -> str:
    """An id that no delivery had before."""
    return "msg_" + secrets.token_hex(16)


def _tell_gap(tx: Transaction, hooks: Sequence[Webhook]) -> int:
    """Goes on from now where not all can be told any more, and says so to each."""
    place = newest_place(tx.db)
    webhooks.deliver(tx, [NewDelivery(new_id(), hook.pk, 0, gap_json(tx.now)) for hook in hooks])
    for hook in hooks:
        webhooks.move(tx, hook.pk, place)
    return len(hooks)


def _has_room(db: Connection, hook: Webhook) -> bool:
    return webhooks.counts(db, hook.pk, MAX_WAITING).waiting < MAX_WAITING


def _ignore(_piece: bytes) -> None:
    """What an endpoint says is of no interest."""
