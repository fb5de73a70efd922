"""``/v1/decisions``: CrowdSec's local API as its bouncers use it (crowdsec 1.4)."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from threatcloud.domain.address import parse_network
from threatcloud.domain.errors import Problem, invalid
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, canonical
from threatcloud.formats.compat import crowdsec as shapes
from threatcloud.formats.compat.crowdsec import Selection
from threatcloud.http.answer import JSON, Answer
from threatcloud.http.dialect import Dialect
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.published import kept_body

#: What is told of every refusal for want of a key: crowdsec says no more either.
_FORBIDDEN: Final = "access forbidden"


def _tell(status: int, message: str, _: tuple[Problem, ...]) -> bytes:
    return msgspec.json.encode(shapes.Message(_FORBIDDEN if status == 403 else message))


DIALECT: Final = Dialect(name="crowdsec", key_header="X-Api-Key", tell=_tell, shape=shapes.Message, statuses={401: 403})
Words = Annotated[str, Meta(max_length=1024, description="with commas")]
Flag = Literal["true", "false", "True", "False", "1", "0"]


class StreamQuery(msgspec.Struct):
    """What of the changes is wanted."""

    startup: Annotated[str, Meta(max_length=16, description="`true` for all there is")] = "false"
    scopes: Words = "ip,range"
    origins: Words = ""
    scenarios_containing: Words = ""
    scenarios_not_containing: Words = ""


class DecisionsQuery(msgspec.Struct):
    """Which decisions are wanted."""

    ip: Annotated[str, Meta(max_length=64)] = ""
    range: Annotated[str, Meta(max_length=64)] = ""
    contains: Annotated[Flag, Meta(description="decisions around the range, or (`false`) within it")] = "true"
    value: Annotated[str, Meta(max_length=64)] = ""
    type: Annotated[str, Meta(max_length=64)] = ""
    scope: Words = ""
    scopes: Words = ""
    origins: Words = ""
    scenarios_containing: Words = ""
    scenarios_not_containing: Words = ""


async def stream_decisions(call: Call) -> Answer:
    """What is new and what is over since this bouncer asked last."""
    query: StreamQuery = call.query
    wanted = Selection(
        scopes=_scopes(query.scopes),
        origins=_words(query.origins),
        containing=_words(query.scenarios_containing),
        not_containing=_words(query.scenarios_not_containing),
    )
    caller = call.caller
    name = f"{caller.reporter} {caller.address}" if caller.mask else None
    found = await call.services.bouncing.stream(name, query.startup.lower() == "true", wanted)
    return await kept_body(call, found, JSON, {})


async def list_decisions(call: Call) -> Answer:
    """The decisions on an address or network, or all."""
    query: DecisionsQuery = call.query
    wanted = Selection(
        scopes=_scopes(query.scopes or query.scope),
        origins=_words(query.origins),
        types=_words(query.type),
        containing=_words(query.scenarios_containing),
        not_containing=_words(query.scenarios_not_containing),
        value=query.value or None,
    )
    bouncing = call.services.bouncing
    field, text = ("ip", query.ip) if query.ip else ("range", query.range)
    if not text:
        return await kept_body(call, await bouncing.decisions(wanted), JSON, {})
    value = _address(field, text)
    network = parse_network(value)
    if query.contains.lower() in ("false", "0"):
        return await kept_body(call, await bouncing.decisions(wanted._replace(within=network)), JSON, {})
    return Answer(shapes.encoded(await bouncing.on(network, value), wanted))


def _address(field: str, text: str) -> str:
    """The canonical value of an address or network; ``a.b.0.0`` is the address."""
    try:
        value = canonical(IndicatorType.IP, text).value
    except InvalidIndicator as error:
        raise invalid(field, error.reason) from None
    return value if "/" in text or not value.endswith(".0.0/16") else f"{value.removesuffix('/16')}/32"


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",")) - {""}


def _scopes(text: str) -> frozenset[str]:
    """Scopes in lower case; none where all that there are here are wanted."""
    scopes = frozenset(word.lower() for word in _words(text))
    return frozenset() if scopes >= {"ip", "range"} else scopes


_ANSWER: Final = "Durations are as Go writes them. `null` where there is nothing."

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/decisions",
        summary="CrowdSec: decisions on an address or network, or all",
        description=_ANSWER,
        access=Access.FEEDS,
        rate=RateClass.READ,
        handler=list_decisions,
        query=DecisionsQuery,
        answer=list[shapes.Decision] | None,
        errors=("busy",),
        tag="CrowdSec",
        dialect=DIALECT,
    ),
    Endpoint(
        method="GET",
        path="/v1/decisions/stream",
        summary="CrowdSec: what is new and what is over",
        description=f"Since this key last asked from this address; what was told is told again. {_ANSWER}",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=stream_decisions,
        query=StreamQuery,
        answer=shapes.Stream,
        errors=("busy",),
        tag="CrowdSec",
        dialect=DIALECT,
    ),
)
