"""``/api/agents``: who fetched updates."""

from typing import Final

import msgspec

from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import Limit200, PageNumber


class AgentQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The place."""

    page: PageNumber = 1
    limit: Limit200 = 50


async def list_agents(call: Call) -> Answer:
    """Agents in order of id."""
    page = await call.services.agents.page(call.query.page, call.query.limit)
    items = [wire.agent(agent) for agent in page.items]
    return collection(items, page.total, call.query.page, call.query.limit, None)


async def one_agent(call: Call) -> Answer:
    """One agent."""
    return ok(wire.agent(await call.services.agents.find(call.params["id"])))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/agents",
        summary="Agents that fetched updates",
        access=Access.READ_PRIVATE,
        rate=RateClass.READ,
        handler=list_agents,
        query=AgentQuery,
        answer=wire.AgentShape,
        collection=True,
        tag="Agents",
    ),
    Endpoint(
        method="GET",
        path="/api/agents/{id}",
        summary="One agent",
        access=Access.READ_PRIVATE,
        rate=RateClass.READ,
        handler=one_agent,
        answer=wire.AgentShape,
        params={"id": "the agent's id"},
        errors=("not_found",),
        tag="Agents",
    ),
)
