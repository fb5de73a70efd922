"""``/api/v2/report`` and ``bulk-report``: what AbuseIPDB's clients report, one at a time or as a CSV file."""

from typing import Final

from threatcloud.domain.errors import InvalidInput, Problem, invalid
from threatcloud.formats.compat import abuseipdb as shapes
from threatcloud.http.answer import JSON, Answer
from threatcloud.http.compat.abuseipdb_wire import (
    DIALECT,
    BulkBody,
    BulkData,
    BulkShape,
    InvalidReport,
    KeyQuery,
    ReportBody,
    ReportedData,
    ReportedShape,
    address_of,
    answer,
    score,
)
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.forms import FORM, MULTIPART
from threatcloud.services.intake import Claim, observation_time
from threatcloud.services.reporting import MAX_BATCH, Wording

_MAX_BULK_BYTES: Final = 4 * 1024 * 1024
_WORDING: Final = Wording({"value": "ip"})


def _claim(ip: str, categories: str, comment: str, timestamp: str | None) -> Claim | list[Problem]:
    problems = []
    said = None
    try:
        said = shapes.said_in(shapes.parse_categories(categories), comment)
    except ValueError as error:
        problems.append(Problem("categories", str(error)))
    try:
        ip = address_of(ip, "ip")
    except InvalidInput as error:
        problems += error.problems
    if said is None or problems:
        return problems
    return Claim(
        "ip", ip, shapes.SOURCE, said.category, said.severity, shapes.CONFIDENCE, said.metadata, timestamp or None
    )


async def report_address(call: Call) -> Answer:
    """Stores one report."""
    body: ReportBody = call.body
    numbers = (
        body.categories
        if isinstance(body.categories, str)
        else ",".join(str(int(number)) for number in body.categories)
    )
    claim = _claim(body.ip, numbers, body.comment, body.timestamp)
    if isinstance(claim, list):
        raise InvalidInput("the report cannot be stored", claim)
    try:
        await call.services.reporting.submit([claim], call.caller, wording=_WORDING)
    except InvalidInput as error:
        raise InvalidInput(error.message, [item._replace(position=None) for item in error.problems]) from None
    found = await call.services.lookup.reported(claim.value, 0, 0)
    return answer(ReportedShape(ReportedData(claim.value, score(found.state))))


_ROW_ERRORS: Final = {"ip": "Invalid IP", "categories": "Invalid Category", "timestamp": "Invalid Date"}


async def report_many(call: Call) -> Answer:
    """Stores the good rows of a CSV file and names the others."""
    body: BulkBody = call.body
    try:
        rows = list(shapes.rows_of(body.csv))
    except ValueError as error:
        raise invalid("csv", str(error)) from None
    good: list[tuple[shapes.Row, Claim]] = []
    bad: list[InvalidReport] = []
    seen: set[str] = set()
    now = call.services.clock()
    for row in rows:
        claim = _claim(row.ip, row.categories, row.comment, row.reported_at)
        if isinstance(claim, list):
            bad.append(_invalid(row, claim[0].field))
        elif claim.value in seen:
            bad.append(InvalidReport("Duplicate IP", row.ip, row.number))
        elif not _is_time(claim.timestamp, now):
            bad.append(_invalid(row, "timestamp"))
        else:
            seen.add(claim.value)
            good.append((row, claim))
    saved = 0
    for first in range(0, len(good), MAX_BATCH):
        chunk = good[first : first + MAX_BATCH]
        done = await call.services.reporting.submit([claim for _, claim in chunk], call.caller, partial=True)
        saved += done.received - len(done.rejected)
        bad += [_invalid(chunk[item.position or 0][0], item.field) for item in done.rejected]
    return answer(BulkShape(BulkData(saved, sorted(bad, key=lambda item: item.row_number))))


def _is_time(text: str | None, now: int) -> bool:
    try:
        observation_time(text, now)
    except ValueError:
        return False
    return True


def _invalid(row: shapes.Row, field: str) -> InvalidReport:
    wrong = {"categories": row.categories, "timestamp": row.reported_at}.get(field, row.ip)
    return InvalidReport(_ROW_ERRORS.get(field, "Invalid Report"), wrong[:256], row.number)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/v2/report",
        summary="AbuseIPDB: report an address",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=report_address,
        query=KeyQuery,
        body=ReportBody,
        takes=(FORM, JSON),
        answer=ReportedShape,
        errors=("busy",),
        tag="AbuseIPDB",
        dialect=DIALECT,
        example={"ip": "203.0.113.7", "categories": "18,22", "comment": "SSH login attempts"},
    ),
    Endpoint(
        method="POST",
        path="/api/v2/bulk-report",
        summary="AbuseIPDB: report many addresses",
        description="The good rows are stored, the others named. At most 10,000.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=report_many,
        query=KeyQuery,
        body=BulkBody,
        takes=(MULTIPART, FORM, JSON),
        answer=BulkShape,
        errors=("busy",),
        tag="AbuseIPDB",
        dialect=DIALECT,
        max_body_bytes=_MAX_BULK_BYTES,
        example={"csv": "IP,Categories,ReportDate,Comment\n203.0.113.7,18,,SSH\n"},
    ),
)
