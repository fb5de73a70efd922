"""``/api/feeds/misp/…`` and ``/api/feeds/attack-layer``: files that other systems fetch as they are."""

import asyncio
import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.charts import PERIOD_DAYS
from threatcloud.domain.errors import NotFound
from threatcloud.domain.feed import PLAIN_HEADER_LINES, FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.attack_layer import layer
from threatcloud.formats.feeds import LISTED_KINDS, find_format
from threatcloud.formats.misp import event_uuid, hash_lines, manifest
from threatcloud.http.answer import JSON, Answer
from threatcloud.http.charts import HeatmapPeriodWord
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.published import conditional
from threatcloud.services.publishing import IDENTITY, Published, publish
from threatcloud.services.rendering import Shape

_CSV: Final = "text/csv; charset=utf-8"
_MISP: Final = find_format("misp")
_EVENTS: Final = {f"{event_uuid(f'{kind}-blocklist')}.json": kind for kind in LISTED_KINDS}


class LayerQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Of which days."""

    period: Annotated[HeatmapPeriodWord, Meta(description="up to now")] = "30d"


async def attack_layer(call: Call) -> Answer:
    """The heatmap of techniques as a layer of the ATT&CK Navigator."""
    period = call.query.period
    found = await call.services.charts.heatmap(PERIOD_DAYS[period])
    attack = call.services.screener.attack
    known = [(item.id, item.sightings) for item in found.techniques if attack.get(item.id)]
    name, about = f"Threat Cloud, {period}", f"Techniques named by sightings of the last {period[:-1]} days"
    return Answer(layer(name, about, attack.version, known), media=JSON)


async def misp_feed(call: Call) -> Answer:
    """A file of the feed: the manifest, the hashes of all values, or the event of a list."""
    name = call.params["file"]
    kind = _EVENTS.get(name)
    version = await call.services.publisher.version()
    if kind is not None:
        return await conditional(call, await call.services.renderer.get(FeedList(kind), Shape(_MISP)), JSON, version)
    lists = [(one, await call.services.publisher.get(FeedList(one))) for one in LISTED_KINDS]
    if name == "manifest.json":
        return Answer(manifest((_name(one), one, known.generated_at) for one, known in lists), media=JSON)
    if name != "hashes.csv":
        raise NotFound("there is no such file; manifest.json names the events")

    async def make() -> Published:
        return await asyncio.to_thread(_hashes, lists)

    key = ("misp hashes", *(known.digest for _, known in lists))
    return await conditional(call, await call.services.publisher.renderings.get(key, make), _CSV, version)


def _hashes(lists: list[tuple[IndicatorType, Published]]) -> Published:
    texts = [hash_lines(_name(kind), kind, _values(known)) for kind, known in lists]
    entries = sum(known.entries for _, known in lists)
    return publish(b"".join(texts), entries, "", max(known.generated_at for _, known in lists))


def _values(known: Published) -> list[str]:
    return known.bodies[IDENTITY].decode().split("\n")[PLAIN_HEADER_LINES:-1]


def _name(kind: IndicatorType) -> str:
    return f"{kind}-blocklist"


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/feeds/attack-layer",
        summary="The heatmap of ATT&CK techniques as a layer of the Navigator (4.5)",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=attack_layer,
        query=LayerQuery,
        media=JSON,
        tag="Feeds",
    ),
    Endpoint(
        method="GET",
        path="/api/feeds/misp/{file}",
        summary="A feed of MISP: manifest.json, hashes.csv, and an event for each list",
        description="Enter `/api/feeds/misp/` as the address of a feed of the format MISP Feed, and the key in the "
        "header Authorization.",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=misp_feed,
        media=JSON,
        other_media=(_CSV,),
        params={"file": "`manifest.json`, `hashes.csv`, or an event by its UUID"},
        patterns={"file": f"^({'|'.join(map(re.escape, ('manifest.json', 'hashes.csv', *_EVENTS)))})$"},
        also={304: "unchanged"},
        errors=("not_found", "busy"),
        tag="Feeds",
    ),
)
