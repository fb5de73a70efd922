"""``POST /api/threats``: reports in."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import Problem
from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass, problem_of, wants_of
from threatcloud.http.errors import ErrorDetail
from threatcloud.http.wire import CategoryWord, SeverityWord, Shape, TypeWord
from threatcloud.services.intake import Claim
from threatcloud.services.reporting import MAX_BATCH, Retry


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
    timestamp: Annotated[str, Meta(description="when it was observed; default now")] | None = None
    expires_at: str | None = None
    tlp: str | None = None


class ThreatBatch(msgspec.Struct):
    """1 to 100 reports."""

    threats: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class ThreatBatchShape(msgspec.Struct):
    """1 to 100 reports, as documented."""

    threats: Annotated[list[ThreatItem], Meta(min_length=1, max_length=MAX_BATCH)]


class SubmittedShape(Shape, omit_defaults=True):
    """What became of a batch: ids in the order of the input; ``rejected`` only with ``partial``."""

    received: int
    new: int
    updated: int
    ioc_ids: list[str]
    rejected: list[ErrorDetail] | None = None


_decode_item: Final = msgspec.json.Decoder(ThreatItem).decode
_WANTS: Final = wants_of(ThreatItem)


def _claim(raw: msgspec.Raw) -> Claim | list[Problem]:
    try:
        item = _decode_item(raw)
    except msgspec.ValidationError as error:
        return [problem_of(error, _WANTS)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [Problem("body", f"is not valid JSON: {error}")]
    except RecursionError:
        return [Problem("metadata", "is nested too deep")]
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


async def report(call: Call) -> Answer:
    """Stores a batch of reports."""
    claims = [_claim(raw) for raw in call.body.threats]
    key = call.header(b"idempotency-key")
    partial: bool = call.query.partial
    retry = Retry.of(key, b"partial" if partial else b"whole", call.raw_body) if key is not None else None
    done = await call.services.reporting.submit(claims, call.caller, partial=partial, retry=retry)
    rejected = [ErrorDetail(item.field, item.reason, item.position) for item in done.rejected] if partial else None
    return ok(SubmittedShape(done.received, done.new, done.updated, done.ids, rejected), 201)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/threats",
        summary="Report indicators",
        description="One bad item refuses the whole batch and names every bad item in `details`; with "
        "`partial=true` the good ones are stored. An `Idempotency-Key` makes a retry within 24 hours safe.",
        access=Access.REPORT,
        rate=RateClass.WRITE,
        handler=report,
        query=ThreatQuery,
        body=ThreatBatch,
        documented_body=ThreatBatchShape,
        answer=SubmittedShape,
        status=201,
        tag="Reports",
        errors=("conflict", "busy"),
        headers={
            "Idempotency-Key": "1 to 255 printable characters; the same key and body within 24 h is answered again"
        },
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
