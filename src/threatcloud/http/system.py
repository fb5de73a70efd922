"""``/health``, ``/ready``, ``/metrics``, ``/openapi.json`` and ``/docs``."""

from typing import Final, Literal

from threatcloud import __version__
from threatcloud.http import docs, metrics, openapi, wire
from threatcloud.http.answer import Answer, ok
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.storage import probe


class Health(wire.Shape):
    """The server works; ``uptime`` in seconds."""

    status: Literal["healthy"]
    version: str
    uptime: int
    db: Literal["connected"]


async def health(call: Call) -> Answer:
    """Healthy as long as the database answers; 503 when it does not."""
    await call.services.store.read(probe.read)
    return ok(Health("healthy", __version__, call.services.uptime_s(), "connected"))


class Ready(wire.Shape):
    """The server can serve."""

    status: Literal["ready"]


async def ready(call: Call) -> Answer:
    """Ready when the store can be read and written, the lists are rendered and the benign lists loaded."""
    await call.services.readiness.check()
    return ok(Ready("ready"))


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
        path="/ready",
        summary="Whether the server can serve",
        description="For proxies and orchestrators: the database can be read and written, the lists are rendered, the "
        "benign lists loaded. As of a second ago at most.",
        access=Access.OPEN,
        rate=RateClass.NONE,
        handler=ready,
        answer=Ready,
        errors=("not_ready",),
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
