"""``/health``, ``/metrics``, ``/openapi.json`` and ``/docs``."""

from typing import Final, Literal

from threatcloud import __version__
from threatcloud.http import docs, metrics, openapi, wire
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass


class Health(wire.Shape):
    """The server works; ``uptime`` in seconds."""

    status: Literal["healthy"]
    version: str
    uptime: int
    db: Literal["connected"]


async def health(call: Call) -> Answer:
    """Healthy as long as the database answers; 503 when it does not."""
    await call.services.store.read(lambda db: db.row("SELECT 1 FROM meta LIMIT 1"))
    return ok(Health("healthy", __version__, call.services.uptime_s(), "connected"))


async def metrics_text(call: Call) -> Answer:
    """Figures for Prometheus."""
    return Answer(metrics.render(call.services.requests, call.services), media=metrics.MEDIA)


async def openapi_document(call: Call) -> Answer:
    """The OpenAPI document."""
    return Answer(openapi.document_bytes(call.services.endpoints))


async def docs_page(call: Call) -> Answer:
    """The same for people."""
    return Answer(docs.page(call.services.endpoints), media=docs.HTML, headers=dict(docs.HEADERS))


async def docs_style(_call: Call) -> Answer:
    """The page's style sheet."""
    return Answer(docs.style(), media=docs.CSS)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/health",
        summary="Whether the server works",
        access=Access.OPEN,
        rate=RateClass.NONE,
        handler=health,
        from_database=True,
        answer=Health,
        errors=("storage_unavailable",),
        tag="System",
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        summary="Figures for Prometheus",
        access=Access.READ_PRIVATE,
        rate=RateClass.READ,
        handler=metrics_text,
        media=metrics.MEDIA,
        tag="System",
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        summary="This document",
        access=Access.OPEN,
        rate=RateClass.READ,
        handler=openapi_document,
        from_database=True,
        media="application/json; profile=openapi",
        tag="System",
    ),
    Endpoint(
        method="GET",
        path="/docs",
        summary="The documentation of the API as a page",
        access=Access.OPEN,
        rate=RateClass.READ,
        handler=docs_page,
        from_database=True,
        media=docs.HTML,
        tag="System",
    ),
    Endpoint(
        method="GET",
        path="/docs/style.css",
        summary="The style sheet of that page",
        access=Access.OPEN,
        rate=RateClass.READ,
        handler=docs_style,
        from_database=True,
        media=docs.CSS,
        tag="System",
    ),
)
