"""``/api/webhooks``: where changes are sent, and what became of it."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.change import ChangeKind, Interest
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.outbound import MAX_URL_CHARS
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import Answer, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import Cursor, Limit200
from threatcloud.http.wire import CategoryWord, TypeWord
from threatcloud.services.webhooks import Shown
from threatcloud.storage.webhooks import Delivery, DeliveryState


class WebhookBody(msgspec.Struct, rename="camel"):
    """A webhook to be added; the filters are those of the stream."""

    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL_CHARS, description="`https://` or `http://`")]
    events: Annotated[list[ChangeKind], Meta(min_length=1, description="default all")] | None = None
    type: TypeWord | None = None
    category: CategoryWord | None = None
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0


class DeliveriesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The place."""

    limit: Limit200 = 50
    cursor: Cursor | None = None


class WebhookShape(wire.Shape):
    """A webhook; ``state`` is active, failing or disabled, ``dead`` counts deliveries that were given up."""

    id: str
    url: str
    events: list[str]
    type: TypeWord | None
    category: CategoryWord | None
    min_confidence: float
    state: str
    failing_since: wire.Time | None
    disabled_at: wire.Time | None
    disabled_why: str | None
    waiting: int
    dead: int
    created_at: wire.Time
    created_by: str


class NewWebhookShape(wire.Shape):
    """A webhook just added; ``secret`` is shown this once."""

    secret: str
    webhook: WebhookShape


class DeliveryShape(wire.Shape):
    """A delivery; ``status`` is that of the last answer, ``problem`` why it was not taken."""

    id: str
    state: DeliveryState
    events: int
    created_at: wire.Time
    attempts: int
    attempted_at: wire.Time | None
    next_attempt_at: wire.Time | None
    status: int | None
    problem: str | None


class DeliveriesShape(wire.Shape):
    """Deliveries, newest first; ``nextCursor`` is null on the last page."""

    deliveries: list[DeliveryShape]
    next_cursor: str | None


class RetriedShape(wire.Shape):
    """A webhook that is sent to again, and how many deliveries are tried again."""

    retried: int
    webhook: WebhookShape


def _shape(shown: Shown) -> WebhookShape:
    hook, counts = shown
    state = "disabled" if hook.disabled_at is not None else "failing" if hook.failing_since is not None else "active"
    kind: Any = hook.interest.type
    category: Any = hook.interest.category
    return WebhookShape(
        hook.id,
        hook.url,
        [item.value for item in ChangeKind if item in hook.interest.kinds],
        kind,
        category,
        hook.interest.min_confidence,
        state,
        time_or_none(hook.failing_since),
        time_or_none(hook.disabled_at),
        hook.disabled_why,
        *counts,
        iso(hook.created_at),
        hook.created_by,
    )


def _delivery(item: Delivery) -> DeliveryShape:
    return DeliveryShape(
        item.id,
        item.state,
        item.events,
        iso(item.created_at),
        item.attempts,
        time_or_none(item.attempted_at),
        time_or_none(item.due_at),
        item.status,
        item.problem,
    )


async def add_webhook(call: Call) -> Answer:
    """Adds a webhook."""
    body: WebhookBody = call.body
    kinds = frozenset(body.events) if body.events else frozenset(ChangeKind)
    kind = IndicatorType(body.type) if body.type else None
    interest = Interest(kinds, kind, body.category, body.min_confidence)
    new = await call.services.webhooks.add(body.url, interest, call.caller)
    return ok(NewWebhookShape(new.secret, _shape(new.shown)), 201)


async def list_webhooks(call: Call) -> Answer:
    """All webhooks, without their secrets."""
    return ok([_shape(item) for item in await call.services.webhooks.list()])


async def remove_webhook(call: Call) -> Answer:
    """Removes a webhook."""
    return ok(_shape(await call.services.webhooks.remove(call.params["id"], call.caller)))


async def test_webhook(call: Call) -> Answer:
    """Sends a ping."""
    return ok(_delivery(await call.services.webhooks.test(call.params["id"])))


async def list_deliveries(call: Call) -> Answer:
    """One page of deliveries."""
    query: DeliveriesQuery = call.query
    page = await call.services.webhooks.deliveries(call.params["id"], query.cursor, query.limit)
    return ok(DeliveriesShape([_delivery(item) for item in page.items], page.next_cursor))


async def retry_webhook(call: Call) -> Answer:
    """Enables a webhook, and tries again what was given up."""
    shown, retried = await call.services.webhooks.retry(call.params["id"], call.caller)
    return ok(RetriedShape(retried, _shape(shown)))


_ID: Final = {"id": "the webhook's id, such as wh_0123456789abcdef"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/webhooks",
        summary="Webhooks, without their secrets",
        access=Access.ADMIN,
        rate=RateClass.READ,
        handler=list_webhooks,
        answer=list[WebhookShape],
        tag="Webhooks",
    ),
    Endpoint(
        method="POST",
        path="/api/webhooks",
        summary="Have changes sent to a URL",
        description="The secret that deliveries are signed with is in this answer and nowhere else. The URL may "
        "lead to the internet, and to networks of `TC_OUTBOUND_ALLOW`.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=add_webhook,
        body=WebhookBody,
        answer=NewWebhookShape,
        status=201,
        tag="Webhooks",
        errors=("conflict",),
        example={"url": "https://siem.example.org/hook", "events": ["listed", "unlisted"], "minConfidence": 0.5},
    ),
    Endpoint(
        method="DELETE",
        path="/api/webhooks/{id}",
        summary="Remove a webhook with all that waits for it",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=remove_webhook,
        answer=WebhookShape,
        params=_ID,
        tag="Webhooks",
        errors=("not_found",),
    ),
    Endpoint(
        method="GET",
        path="/api/webhooks/{id}/deliveries",
        summary="What was sent to a webhook, newest first",
        description="Those that were given up (`dead`) are there for two weeks.",
        access=Access.ADMIN,
        rate=RateClass.READ,
        handler=list_deliveries,
        query=DeliveriesQuery,
        answer=DeliveriesShape,
        params=_ID,
        tag="Webhooks",
        errors=("not_found",),
    ),
    Endpoint(
        method="POST",
        path="/api/webhooks/{id}/test",
        summary="Send an event `ping` now, and see what comes of it",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=test_webhook,
        answer=DeliveryShape,
        params=_ID,
        tag="Webhooks",
        errors=("not_found",),
    ),
    Endpoint(
        method="POST",
        path="/api/webhooks/{id}/retry",
        summary="Enable a webhook again, and send what was given up",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=retry_webhook,
        answer=RetriedShape,
        params=_ID,
        tag="Webhooks",
        errors=("not_found",),
    ),
)
