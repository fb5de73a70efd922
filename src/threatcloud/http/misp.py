"""``POST /attributes/restSearch`` as MISP has it, and the two routes that PyMISP asks before it does anything.

The key comes in the header Authorization as it is, without a scheme.
"""

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.errors import invalid
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from threatcloud.formats.entries import full_entry
from threatcloud.formats.misp import ORGANISATION, attribute, event_uuid
from threatcloud.http.answer import Answer, encode
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.services.misp_search import KINDS, Search

_VERSION: Final = "2.5.0"
_LIMIT: Final = 1_000
_MAX_LIMIT: Final = 10_000
#: So far in pages are followed: who wants all takes the feed.
_MAX_REACH: Final = 100_000
_UNITS_MS: Final = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_span: Final = re.compile(r"([0-9]{1,6})([smhdw]?)\Z").fullmatch

Words = str | Annotated[list[str], Meta(max_length=1_000)]
Flag = bool | int | str


class RestSearch(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What is looked for. Switches that change nothing here are taken, as scripts send them; other filters are refused.

    Without ``value`` and ``type`` everything published is found.
    """

    return_format: str = "json"
    value: Words | None = None
    type: Words | None = None
    last: Annotated[str | int, Meta(description="changed in the last `5d`, `12h`, `30m`")] | None = None
    timestamp: Annotated[str | int, Meta(description="the same, or changed since this time in seconds")] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    page: Annotated[int, Meta(ge=1, le=_MAX_REACH)] | None = None
    to_ids: Flag | None = msgspec.field(name="to_ids", default=None)
    published: Flag | None = None
    deleted: Flag | None = None
    enforce_warninglist: Flag | None = None
    with_attachments: Flag | None = None
    metadata: Flag | None = None
    include_event_uuid: Flag | None = None
    include_event_tags: Flag | None = None
    include_context: Flag | None = None
    headerless: Flag | None = None
    include_sightings: Flag | None = None
    include_decay_score: Flag | None = None
    include_correlations: Flag | None = None
    exclude_decayed: Flag | None = None
    sg_reference_only: Flag | None = None


async def rest_search(call: Call) -> Answer:
    """Attributes: published indicators."""
    asked: RestSearch = call.body
    if asked.return_format != "json":
        raise invalid("returnFormat", "must be json; the feeds have other formats")
    limit = min(asked.limit or _LIMIT, _MAX_LIMIT)
    offset = ((asked.page or 1) - 1) * limit
    if offset > _MAX_REACH:
        raise invalid("page", f"is beyond the first {_MAX_REACH:,} attributes; take the feed /api/feeds/misp/")
    now = call.services.clock()
    since = max(_since("last", asked.last, now), _since("timestamp", asked.timestamp, now))
    found = await call.services.misp.find(Search(_words(asked.value), _words(asked.type), since, offset, limit))
    return Answer(encode({"response": {"Attribute": [_attribute(state) for state in found]}}))


def _words(given: str | list[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    words = (given,) if isinstance(given, str) else tuple(given)
    if any(word.startswith("!") or "%" in word for word in words if word not in KINDS and "://" not in word):
        raise invalid("value", "is looked for as it is: no % and no !")
    return words


def _since(field: str, given: str | int | None, now: int) -> int:
    """The time that a span of time before now begins at, 0 for none; a large number is a time in seconds."""
    if given is None:
        return 0
    if str(given).isdigit() and int(given) > 1_000_000_000:
        return int(given) * SECOND_MS
    found = _span(str(given))
    if found is None:
        raise invalid(field, "must be a number and a unit: 5d, 12h, 30m")
    return now - int(found[1]) * _UNITS_MS[found[2] or "s"]


def _attribute(state: IndicatorState) -> dict[str, Any]:
    kind = state.indicator.type
    name = f"{kind}-blocklist"
    event = {"uuid": event_uuid(name), "info": f"Threat Cloud: {name}", "Orgc": ORGANISATION}
    known = msgspec.to_builtins(attribute(kind, full_entry(state)))
    return {**known, "event_uuid": event["uuid"], "Event": event}


async def version(_call: Call) -> Answer:
    """What PyMISP takes this for."""
    return Answer(encode({"version": _VERSION, "pymisp_recommended_version": _VERSION, "perm_sync": False}))


async def whoami(call: Call) -> Answer:
    """Whose key it is."""
    user = {"id": "1", "email": call.caller.mask, "org_id": "1", "role_id": "1"}
    role = {"id": "1", "name": call.caller.role.value, "perm_add": False, "perm_modify": False, "perm_auth": True}
    return Answer(encode({"User": user, "Role": role, "UserSetting": {}, "Organisation": ORGANISATION}))


def _endpoint(method: str, path: str, summary: str, handler: Any, **more: Any) -> Endpoint:
    shape = {"access": Access.BARE, "rate": RateClass.FEED, "tag": "MISP", **more}
    return Endpoint(method=method, path=path, summary=summary, handler=handler, **shape)


ENDPOINTS: Final = (
    _endpoint(
        "POST",
        "/attributes/restSearch",
        "Search published indicators as MISP does",
        rest_search,
        description="For scripts with PyMISP: `search(controller='attributes', value=…, type_attribute=…, "
        "timestamp=…, limit=…, page=…)`. Values are looked for as they are.",
        body=RestSearch,
        example={"returnFormat": "json", "value": "203.0.113.7"},
    ),
    _endpoint("GET", "/servers/getVersion", "What PyMISP takes the server for", version),
    _endpoint("GET", "/users/view/me", "Whose key it is, as PyMISP asks", whoami),
)
