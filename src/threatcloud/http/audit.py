"""``/api/audit-log``: who did what."""

from typing import Final, Literal

import msgspec

from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import Cursor, Limit200, PageNumber, Since, read_since


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which entries, and the place."""

    action: Literal["create", "update", "delete", "query"] | None = None
    since: Since | None = None
    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


async def audit_log(call: Call) -> Answer:
    """One page of the ledger, newest first."""
    query: AuditQuery = call.query
    since = read_since(query.since) or 0
    page = await call.services.auditing.page(query.action, since, query.page, query.limit, query.cursor)
    items = [wire.audit_entry(entry) for entry in page.items]
    return collection(items, page.total, query.page, query.limit, page.next_cursor)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/audit-log",
        summary="The audit ledger, newest first",
        description="Reads are entered once a minute for each key, address and route, with their count.",
        access=Access.AUDIT,
        rate=RateClass.READ,
        handler=audit_log,
        query=AuditQuery,
        answer=wire.AuditShape,
        collection=True,
        tag="Audit",
    ),
)
