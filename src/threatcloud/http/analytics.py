"""``/api/stats``: the whole store in numbers."""

from typing import Final

from threatcloud.http import wire
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass


async def stats(call: Call) -> Answer:
    """Counts by type and category, and the last day."""
    return ok(wire.stats(await call.services.analytics.stats()))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/stats",
        summary="The whole store in numbers",
        access=Access.READ,
        rate=RateClass.READ,
        handler=stats,
        from_database=True,
        answer=wire.StatsShape,
        tag="Analytics",
    ),
)
