"""The operator's side of webhooks: adding, listing, removing, trying and retrying. Every change is in the ledger."""

import secrets
from typing import Final, NamedTuple

from threatcloud.domain.access import Caller
from threatcloud.domain.change import Interest
from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import Conflict, NotFound, invalid
from threatcloud.domain.outbound import OutboundRefused
from threatcloud.domain.webhook import shown_secret
from threatcloud.formats.events import ping_json
from threatcloud.outbound.client import Outbound
from threatcloud.services.delivering import Delivering, new_id
from threatcloud.services.secrets import Secret
from threatcloud.storage import ledger, webhooks
from threatcloud.storage.changes import newest_place
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Store
from threatcloud.storage.webhooks import Counts, Delivery, NewDelivery, Webhook

MAX_WEBHOOKS: Final = 100
_MOST_COUNTED: Final = 10_000
_NEWEST: Final = 1 << 61


class Shown(NamedTuple):
    """A webhook with its backlog."""

    webhook: Webhook
    counts: Counts


class NewWebhook(NamedTuple):
    """A webhook just made, and its secret, which is shown this once."""

    secret: str
    shown: Shown


class DeliveryPage(NamedTuple):
    """Deliveries, newest first; the cursor of the next page, None on the last."""

    items: list[Delivery]
    next_cursor: str | None


class WebhookDesk:
    """Makes and changes webhooks."""

    def __init__(self, store: Store, secret: Secret, outbound: Outbound, delivering: Delivering) -> None:
        self._store = store
        self._secret = secret
        self._outbound = outbound
        self._delivering = delivering

    async def add(self, url: str, interest: Interest, by: Caller) -> NewWebhook:
        """A webhook that is sent what happens from now on; InvalidInput for a URL that cannot be reached ever,
        Conflict when there are too many."""
        try:
            found = self._outbound.check(url)
        except OutboundRefused as error:
            raise invalid("url", error.message) from None
        webhook_id = "wh_" + secrets.token_hex(8)

        def work(tx: Transaction) -> Webhook:
            if len(webhooks.all_webhooks(tx.db)) >= MAX_WEBHOOKS:
                raise Conflict(f"there are {MAX_WEBHOOKS} webhooks already; remove one first")
            new = Webhook(0, webhook_id, found.url, interest, newest_place(tx.db), tx.now, by.mask)
            webhooks.add(tx, new)
            self._enter(tx, "create", new, by)
            stored = webhooks.find(tx.db, webhook_id)
            assert stored is not None
            return stored

        stored = await self._store.write(work)
        return NewWebhook(shown_secret(self._secret.webhook_key(webhook_id)), Shown(stored, Counts()))

    async def list(self) -> list[Shown]:
        """Every webhook, oldest first."""

        def read(db: Connection) -> list[Shown]:
            return [Shown(item, webhooks.counts(db, item.pk, _MOST_COUNTED)) for item in webhooks.all_webhooks(db)]

        return await self._store.scan(read)

    async def remove(self, webhook_id: str, by: Caller) -> Shown:
        """Removes a webhook with all that waits for it; NotFound when there is none."""

        def work(tx: Transaction) -> Shown:
            shown = _shown(tx.db, webhook_id)
            webhooks.remove(tx, shown.webhook.pk)
            self._enter(tx, "delete", shown.webhook, by)
            return shown

        return await self._store.write(work)

    async def test(self, webhook_id: str) -> Delivery:
        """Sends an event ``ping`` now, and gives what came of it; NotFound when there is no such webhook."""
        delivery_id = new_id()

        def work(tx: Transaction) -> Webhook:
            webhook = _shown(tx.db, webhook_id).webhook
            webhooks.deliver(tx, [NewDelivery(delivery_id, webhook.pk, 1, ping_json(tx.now))])
            return webhook

        webhook = await self._store.write(work)
        return await self._delivering.attempt_now(webhook, delivery_id)

    async def deliveries(self, webhook_id: str, cursor: str | None, limit: int) -> DeliveryPage:
        """A page of the deliveries of a webhook; NotFound when there is no such webhook."""
        before = read_cursor(cursor, 1)[0] if cursor else _NEWEST

        def read(db: Connection) -> DeliveryPage:
            found = webhooks.deliveries(db, _shown(db, webhook_id).webhook.pk, before, limit)
            return DeliveryPage(found, make_cursor(found[-1].pk) if len(found) == limit else None)

        return await self._store.scan(read)

    async def retry(self, webhook_id: str, by: Caller) -> tuple[Shown, int]:
        """Enables a webhook again and has what was given up tried again; how many that were. NotFound as above."""

        def work(tx: Transaction) -> tuple[Shown, int]:
            webhook = _shown(tx.db, webhook_id).webhook
            webhooks.enable(tx, webhook.pk)
            revived = webhooks.revive(tx, webhook.pk)
            self._enter(tx, "update", webhook, by, retried=revived)
            return _shown(tx.db, webhook_id), revived

        return await self._store.write(work)

    def _enter(self, tx: Transaction, action: str, webhook: Webhook, by: Caller, **more: object) -> None:
        details = {"id": webhook.id, "url": webhook.url, **more}
        ledger.append(tx, self._secret.audit, ledger.Act(action, "webhook", by.mask, by.address, details))


def _shown(db: Connection, webhook_id: str) -> Shown:
    webhook = webhooks.find(db, webhook_id)
    if webhook is None:
        raise NotFound(f"there is no webhook {webhook_id}; see: threat-cloud webhook list")
    return Shown(webhook, webhooks.counts(db, webhook.pk, _MOST_COUNTED))
