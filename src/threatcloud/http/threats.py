"""``POST /api/threats``: reports in."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import InvalidInput, Problem
from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, OtherBody, RateClass, decoded, wants_of
from threatcloud.http.errors import ErrorDetail
from threatcloud.http.parameters import DATE_TIME
from threatcloud.http.wire import CategoryWord, SeverityWord, Shape, TypeWord
from threatcloud.services.agent_uploads import MAX_EVENTS, AgentEvent, claim_of_event
from threatcloud.services.intake import TLP_LABELS, Claim
from threatcloud.services.reporting import MAX_BATCH, OWN_WORDING, Retry, Wording


class ThreatQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Parameters of a report."""

    partial: Annotated[bool, Meta(description="store the good items and name the bad ones instead of refusing all")] = (
        False
    )


class ThreatItem(msgspec.Struct, rename="camel"):
    """What a reporter says of one indicator."""

    type: TypeWord
    value: Annotated[str, Meta(min_length=1, max_length=8192, description="in any spelling, defanged too")]
    source: Annotated[str, Meta(pattern=SOURCE_PATTERN, examples=["guard-agent"])]
    category: CategoryWord | None = None
    severity: SeverityWord | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    metadata: Annotated[dict[str, Any], Meta(description="at most 16 KiB and 8 levels")] | None = None
    timestamp: (
        Annotated[str, Meta(description="when it was observed; default now", extra_json_schema=DATE_TIME)] | None
    ) = None
    expires_at: Annotated[str, Meta(description="in the future", extra_json_schema=DATE_TIME)] | None = None
    tlp: Annotated[str, Meta(extra_json_schema={"enum": list(TLP_LABELS)})] | None = None


class ThreatBatch(msgspec.Struct):
    """1 to 100 reports."""

    threats: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class ThreatBatchShape(msgspec.Struct):
    """1 to 100 reports, as documented."""

    threats: Annotated[list[ThreatItem], Meta(min_length=1, max_length=MAX_BATCH)]


class AgentEvents(msgspec.Struct):
    """1 to 100 events of a guard."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_EVENTS)]


class AgentEventsShape(msgspec.Struct):
    """1 to 100 events of a guard, as documented."""

    events: Annotated[list[AgentEvent], Meta(min_length=1, max_length=MAX_EVENTS)]


class SealedBody(msgspec.Struct):
    """An encrypted upload."""

    sealed: msgspec.Raw


class SubmittedShape(Shape, omit_defaults=True):
    """What became of a batch: ids in the order of the input; ``rejected`` only with ``partial``."""

    received: int
    new: int
    updated: int
    ioc_ids: list[str]
    rejected: list[ErrorDetail] | None = None


#: 1 to 255 printable characters of Latin-1, as a header value carries them: spaces only within.
PRINTABLE: Final = r"^[!-~¡-¬®-ÿ]([ -~¡-¬®-ÿ]{0,253}[!-~¡-¬®-ÿ])?$"
_decode_item: Final = msgspec.json.Decoder(ThreatItem).decode
_decode_event: Final = msgspec.json.Decoder(AgentEvent).decode
_WANTS: Final = wants_of(ThreatItem) | wants_of(AgentEvent)


def claim(raw: msgspec.Raw) -> Claim | list[Problem]:
    """The claim an item of a batch makes, or what is wrong with the item."""
    return decoded(raw, _decode_item, claim_of, _WANTS)


def claim_of(item: ThreatItem) -> Claim:
    """The claim an item makes."""
    return Claim(
        item.type,
        item.value,
        item.source,
        item.category,
        item.severity,
        item.confidence,
        item.metadata or {},
        item.timestamp,
        item.expires_at,
        item.tlp,
    )


def refuse_sealed(body: object) -> None:
    """Raises InvalidInput for an upload that only its sender's old server could open."""
    if isinstance(body, SealedBody):
        reason = "sealed uploads are not supported; send the reports in the clear, over TLS"
        raise InvalidInput(reason, [Problem("sealed", reason)])


async def report(call: Call) -> Answer:
    """Stores a batch of reports."""
    body = call.body
    if isinstance(body, ThreatBatch):
        return await submit(call, [claim(raw) for raw in body.threats])
    if isinstance(body, AgentEvent):
        return await submit(call, [claim_of_event(body)], Wording({"value": "attackSourceIP"}))
    refuse_sealed(body)
    claims = [decoded(raw, _decode_event, claim_of_event, _WANTS) for raw in body.events]
    return await submit(call, claims, Wording({"value": "attackSourceIP"}, "events[{}]."))


async def submit(call: Call, claims: list[Claim | list[Problem]], wording: Wording = OWN_WORDING) -> Answer:
    """Stores claims as the request's query and Idempotency-Key want it, and answers what became of them."""
    key = call.header(b"idempotency-key")
    partial: bool = call.query.partial
    retry = Retry.of(key, b"partial" if partial else b"whole", call.raw_body) if key is not None else None
    reporting = call.services.reporting
    done = await reporting.submit(claims, call.caller, partial=partial, retry=retry, wording=wording)
    rejected = [ErrorDetail(item.field, item.reason, item.position) for item in done.rejected] if partial else None
    return ok(SubmittedShape(done.received, done.new, done.updated, done.ids, rejected), 201)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/threats",
        summary="Report indicators",
        description="One bad item refuses the whole batch and names every bad item in `details`; with "
        "`partial=true` the good ones are stored. An `Idempotency-Key` makes a retry within 24 hours safe.\n\n"
        "Deployed guards send shapes of their own, one event or `events`, which become the same reports: `attackType` "
        "the category where it is the word for one, else a tag. `sealed` uploads are refused.",
        access=Access.REPORT,
        rate=RateClass.WRITE,
        handler=report,
        query=ThreatQuery,
        body=ThreatBatch,
        documented_body=ThreatBatchShape,
        own_key="threats",
        others=(
            OtherBody("sealed", SealedBody),
            OtherBody("events", AgentEvents, AgentEventsShape),
            OtherBody("attackSourceIP", AgentEvent, AgentEvent),
        ),
        answer=SubmittedShape,
        status=201,
        tag="Reports",
        errors=("conflict", "busy"),
        headers={
            "Idempotency-Key": "1 to 255 printable characters; the same key and body within 24 h is answered again"
        },
        patterns={"Idempotency-Key": PRINTABLE},
        example={
            "threats": [
                {
                    "type": "ip",
                    "value": "203.0.113.7",
                    "source": "guard-agent",
                    "category": "bruteforce",
                    "severity": "high",
                    "confidence": 0.9,
                    "metadata": {"port": 22, "mitreId": "T1110"},
                }
            ]
        },
    ),
)
