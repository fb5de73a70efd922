"""Requests that together use every route with every parameter: a store with a little of everything, and what to ask it.

Parameters come from the declarations, so that one nobody has given a value here fails; each value of a parameter meets
each value of every other, since how a page is found follows from the filter and the order together.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from tests.clock import Clock
from tests.http.conftest import HONEYPOT, OPERATOR, Api, LiveServer, encoded, item, ok, within
from tests.http.test_agent_uploads import event, summary
from tests.http.test_campaigns import found, made, report
from tests.http.test_trap_intel import visit
from threatcloud.domain.cursor import make_cursor
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import CATEGORIES, Severity
from threatcloud.domain.times import DAY_MS, iso
from threatcloud.formats.stix import indicator_id
from threatcloud.http.endpoint import Endpoint

PAST: Final = "2020-01-01T00:00:00Z"
ADDRESS: Final = "91.241.0.1"
NETWORK: Final = "91.241.0.0/24"
HOST: Final = "plans.xyz"
URL: Final = f"http://{HOST}/a"
LONER: Final = "91.241.7.1"
ALLOWED: Final = "91.241.1.0/28"
MIN_HELD: Final = 1_100
INBOX: Final = "/taxii2/api/collections/reports/objects/"
_SENT: Final = {"objects": [{"type": "indicator", "id": "indicator--1", "pattern": "[ipv4-addr:value = '91.241.8.1']"}]}


class Request(NamedTuple):
    """One request; ``route`` is the method and declared path of the endpoint it is for."""

    route: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    key: str = ""

    def send(self, api: Api) -> int:
        """Its status."""
        headers = {"Idempotency-Key": self.key} if self.key else {}
        if self.body:
            headers["Content-Type"] = "application/json"
        method, params = self.route.split()[0], dict(self.params)
        return api.request(method, self.path, params=params, content=self.body, headers=headers).status_code


def _write(route: str, path: str, body: Any = None, idempotency: str = "", **params: str) -> Request:
    return Request(route, path, tuple(params.items()), b"" if body is None else msgspec.json.encode(body), idempotency)


class Stock(NamedTuple):
    """What is stored, as far as requests name it."""

    campaign: str
    other_campaign: str
    version: str
    spare_key: str
    withdrawn_key: str
    webhook: str
    list_url: str
    status: str


def route_of(endpoint: Endpoint) -> str:
    """The name of a route."""
    return f"{endpoint.method} {endpoint.path}"


def stock(server: LiveServer, api: Api, list_url: str) -> Stock:
    """Stores a little of everything; ``list_url``: of a list that has values when it is asked for the first time."""
    said = {"metadata": {"mitreId": "T1110", "tags": ["worm"], "port": 22, "country": "NL", "relatedTo": [HOST]}}
    report(api, ("ip", ADDRESS), ("ip", NETWORK), ("domain", HOST), ("url", URL), ("url", f"{URL}b"), **said)
    report(api, ("hash", "ab" * 32), ("email", f"a@{HOST}"), ("cve", "CVE-2024-1234"), **said)
    api.report(*(item(f"91.241.1.{number}", expiresAt="2099-01-01T00:00:00Z") for number in range(100)))
    for kind in ("positive", "negative", "false-positive"):
        api.sight(ADDRESS, kind=kind, context={"host": "web-1"})
    api.report(item(LONER))
    ok(server.client(HONEYPOT).post("/api/trap-intel", json=visit("91.241.2.1", f"wget http://{HOST}/x")), 201)
    ok(api.post("/api/rules", json={"rules": [_rule("ATR-1"), _rule("own-1")]}), 201)
    ok(api.post("/api/allowlist", json={"entries": [{"value": ALLOWED}, {"value": f"*.{HOST}.example"}]}), 201)
    keys = [ok(api.post("/api/keys", json={"name": name, "org": "example"}), 201) for name in ("spare", "withdrawn")]
    server.client(keys[1]["key"]).report(item("91.241.3.1"), item(ADDRESS))
    version = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]
    ok(api.get("/api/feeds/agent-update", params={"agentId": "agent-1"}))
    other = made(api, iocs=[LONER], tags=["apt"])["id"]
    webhook = ok(api.post("/api/webhooks", json={"url": "https://hooks.invalid/"}), 201)["webhook"]["id"]
    status = api.post(INBOX, json=_SENT).json()["id"]
    kept, withdrawn = (key["info"]["id"] for key in keys[:2])
    return Stock(found(api, HOST), other, version, kept, withdrawn, webhook, list_url, status)


def _rule(name: str, title: str = "a rule") -> dict[str, Any]:
    return {"ruleId": name, "ruleContent": f"title: {title}", "source": "manual"}


def reads(endpoint: Endpoint, stocked: Stock) -> Iterator[Request]:
    """Every parameter of a route that reads, in every value alone and with every value of every other."""
    route = route_of(endpoint)
    path = endpoint.path
    for name, value in _segments(stocked).items():
        path = path.replace(f"{{{name}}}", encoded(value))
    if route.startswith("GET /api/agents/"):
        path = "/api/agents/agent-1"
    if route.startswith("GET /api/webhooks/"):
        path = f"/api/webhooks/{stocked.webhook}/deliveries"
    if route.startswith("GET /taxii2/"):
        path = path.replace(encoded(stocked.campaign), stocked.status if "status" in route else "all")
    if route.startswith("GET /api/rules/"):
        path = "/api/rules/ATR-1"
    fields = msgspec.structs.fields(endpoint.query)
    values = {field.encode_name: values_of(route, field, stocked) for field in fields}
    always = tuple((field.encode_name, values[field.encode_name][0]) for field in fields if field.required)
    if endpoint.streams:
        values["follow"] = ["false"]  # the other has no end
        always = (("follow", "false"),)
    yield Request(route, path, always)
    said = [(name, value) for name in values for value in values[name]]
    for first in said:
        yield Request(route, path, _with(always, first))
    for first, second in itertools.combinations(said, 2):
        if first[0] != second[0]:
            yield Request(route, path, _with(always, first, second))


def _with(always: tuple[tuple[str, str], ...], *said: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    names = {name for name, _ in said}
    return (*(item for item in always if item[0] not in names), *said)


def _segments(stocked: Stock) -> dict[str, str]:
    return {
        "value": ADDRESS,
        "prefix": "abcd",
        "id": stocked.campaign,
        "name": "ip-blocklist.txt",
        "versions": f"{stocked.version}..{stocked.version}",
        "file": "manifest.json",
        "object": indicator_id(IndicatorType.IP, LONER),
    }


_PAGES: Final = {"page": ["1", "3"], "limit": ["1", "100"]}
_TEXTS: Final[dict[str, list[str]]] = {
    **_PAGES,
    "source": ["manual"],
    "minReputation": ["5"],
    "maxReputation": ["90"],
    "since": [PAST],
    "search": ["xyz", NETWORK, "91.0.0.0/8", "2a0e::/32"],
    "tag": ["worm"],
    "mitreId": ["T1110"],
    "country": ["NL"],
    "minFill": ["50"],
    "maxAgeDays": ["30"],
    "value": [ADDRESS],
    "agentId": ["agent-1"],
    "hostname": ["web-1"],
    "agentVersion": ["1.0"],
    "periodDays": ["1", "90"],
    "minChange": ["0"],
    "format": ["plain", "csv", "stix"],
    "top": ["5"],
    "ipAddress": [ADDRESS],
    "maxAgeInDays": ["30"],
    "verbose": [""],
    "key": [OPERATOR],
    "network": [NETWORK],
    "confidenceMinimum": ["50"],
    "onlyCountries": ["NL,DE"],
    "exceptCountries": ["US"],
    "plaintext": [""],
    "events": ["listed,unlisted", "changed"],
    "minConfidence": ["0.5"],
    "lastEventId": ["0-0-0-0-0-"],
    "ip": [ADDRESS],
    "range": [NETWORK],
    "type": ["ban"],
    "scope": ["ip"],
    "scopes": ["ip", "ip,range"],
    "origins": ["threat-cloud"],
    "startup": ["true", "false"],
    "scenarios_containing": ["brute"],
    "scenarios_not_containing": ["brute"],
    "columns": ["value=1"],
    "confidence": ["0.5"],
    "added_after": [PAST],
    "next": [make_cursor(0, 0)],
    "match[id]": [indicator_id(IndicatorType.IP, LONER)],
    "match[type]": ["indicator"],
    "match[version]": ["last"],
    "match[spec_version]": ["2.1"],
}
_IMPORTED: Final = ["plain", "delimited", "plain"]
#: How many numbers the cursor of a route has, where it is not two.
_CURSORS: Final = {
    "GET /api/allowlist": 1,
    "GET /api/webhooks/{id}/deliveries": 1,
    "GET /api/audit-log": 1,
    "GET /api/campaigns/{id}/iocs": 1,
    "GET /api/feeds/iocs": 3,
}


def values_of(route: str, field: msgspec.structs.FieldInfo, stocked: Stock) -> list[str]:
    """The values a parameter is asked with: all that there are where they are words, else those given here."""
    name = field.encode_name
    known = _words(inspect.type_info(field.type))
    if known:
        return known
    if name == "cursor":
        return [make_cursor(*[1 << 40] * _CURSORS.get(route, 2))]
    if name == "campaign":
        return [stocked.campaign]
    if name == "currentVersion" or (name == "since" and route.endswith(("blocklist", "feeds/{name}", "feeds/all"))):
        return [stocked.version]
    return _IMPORTED if route == _IMPORT and name == "format" else _TEXTS[name]


def _words(kind: inspect.Type) -> list[str]:
    if isinstance(kind, inspect.Metadata):
        return _words(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [word for part in kind.types for word in _words(part)]
    if isinstance(kind, inspect.BoolType):
        return ["true", "false"]
    if isinstance(kind, inspect.EnumType):
        return [str(member.value) for member in kind.cls]
    return [str(value) for value in kind.values] if isinstance(kind, inspect.LiteralType) else []


_IMPORT: Final = "POST /api/import"
_LISTED: Final = {
    "ip": "91.241.4.7",
    "domain": HOST,
    "hash": "ab" * 32,
    "url": URL,
    "email": f"a@{HOST}",
    "cve": "CVE-2024-1234",
}


def _imports() -> Iterator[Request]:
    """Files of a line, as few as have every value of every parameter among them: each is read by a new process."""
    kinds, dry, formats = itertools.cycle(_LISTED), itertools.cycle(("false", "true")), itertools.cycle(_IMPORTED)
    severities = itertools.cycle(severity.word for severity in Severity)
    for category in CATEGORIES:
        kind, name = next(kinds), next(formats)
        said = {"source": "manual", "type": kind, "category": category, "severity": next(severities)}
        said |= {"confidence": "0.5", "format": name, "dry_run": next(dry)}
        said |= {"columns": "value=1"} if name == "delimited" else {}
        key = f"import {category}" if said["dry_run"] == "false" else ""
        yield Request(_IMPORT, "/api/import", tuple(said.items()), _LISTED[kind].encode(), key)


def writes(stocked: Stock) -> Iterator[Request]:
    """What changes something, in an order in which all of it is there to be changed."""
    threats = {"threats": [item("91.241.4.1"), item(ADDRESS), item("bad.plans.example", kind="domain")]}
    for partial in ("true", "false"):
        yield _write("POST /api/threats", "/api/threats", threats, f"{partial} 1", partial=partial)
        traps = [summary("91.241.5.1"), summary("91.241.5.2")]
        yield _write("POST /api/trap-intel", "/api/trap-intel", traps, partial=partial)
    yield _write("POST /api/threats", "/api/threats", event("91.241.6.1"))
    yield _write("POST /api/trap-intel", "/api/trap-intel", visit("91.241.6.2", "id", payloads=["cd" * 32]))
    yield _write("POST /api/sightings", "/api/sightings", {"value": ADDRESS, "source": "manual"})
    yield _write("POST /api/iocs/lookup", "/api/iocs/lookup", {"values": [ADDRESS, HOST, "203.0.113.9"]})
    yield from _imports()
    yield _write("POST /api/rules", "/api/rules", {"rules": [_rule("ATR-1"), _rule("ATR-2"), _rule("own-1", "new")]})
    yield _write("POST /taxii2/api/collections/{id}/objects/", INBOX, _SENT)
    for wanted in ({}, {"value": LONER}, {"type": ["sha256", "ip-dst"], "last": "5d"}):
        yield _write("POST /attributes/restSearch", "/attributes/restSearch", wanted)
    yield _write("DELETE /api/rules/{id}", "/api/rules/ATR-1")
    yield _write("POST /api/allowlist", "/api/allowlist", {"value": "91.241.4.1", "note": "ours"})
    yield _write("DELETE /api/allowlist/{value}", f"/api/allowlist/{encoded(ALLOWED)}")
    yield from _foreign_writes()
    yield from _campaign_writes(stocked)
    yield from _key_writes(stocked)
    yield from _webhook_writes(stocked)
    yield from _source_writes(stocked)
    yield _write("DELETE /api/iocs/{value}", f"/api/iocs/{encoded(ADDRESS)}")
    yield _write("DELETE /api/iocs/{value}", f"/api/iocs/{encoded(HOST)}")


def _foreign_writes() -> Iterator[Request]:
    """With the key where it may stand, too."""
    row = {"csv": "IP,Categories,ReportDate,Comment\n91.241.8.2,18,,x\n"}
    yield _write("POST /api/v2/report", "/api/v2/report", {"ip": "91.241.8.1", "categories": [18]}, key=OPERATOR)
    yield _write("POST /api/v2/bulk-report", "/api/v2/bulk-report", row, key=OPERATOR)


def _campaign_writes(stocked: Stock) -> Iterator[Request]:
    yield _write("POST /api/campaigns", "/api/campaigns", {"name": "Third", "iocs": [URL]})
    own = f"/api/campaigns/{stocked.campaign}"
    for change in ({"name": "New", "tags": ["apt"]}, {"addIocs": [LONER]}, {"removeIocs": [URL]}):
        yield _write("PATCH /api/campaigns/{id}", own, change)
    yield _write("PATCH /api/campaigns/{id}", own, {"merge": [stocked.other_campaign]})
    yield _write("GET /api/campaigns/{id}", f"/api/campaigns/{stocked.other_campaign}")
    yield _write("DELETE /api/campaigns/{id}", own)


def _key_writes(stocked: Stock) -> Iterator[Request]:
    yield _write("POST /api/keys", "/api/keys", {"name": "another"})
    yield _write("POST /api/keys/{id}/rotate", f"/api/keys/{stocked.spare_key}/rotate", {"overlapHours": 1})
    yield _write("DELETE /api/keys/{id}", f"/api/keys/{stocked.spare_key}")
    yield _write("DELETE /api/keys/{id}/contributions", f"/api/keys/{stocked.withdrawn_key}/contributions")


def _webhook_writes(stocked: Stock) -> Iterator[Request]:
    yield _write("POST /api/webhooks", "/api/webhooks", {"url": "https://other.invalid/", "events": ["version"]})
    own = f"/api/webhooks/{stocked.webhook}"
    yield _write("POST /api/webhooks/{id}/test", f"{own}/test")
    yield _write("POST /api/webhooks/{id}/retry", f"{own}/retry")
    yield _write("DELETE /api/webhooks/{id}", own)


def _source_writes(stocked: Stock) -> Iterator[Request]:
    body = {"name": "feed:plans", "url": stocked.list_url, "format": "plain"}
    yield _write("POST /api/sources", "/api/sources", body)
    yield _write("POST /api/sources/{name}/poll", "/api/sources/feed%3Aplans/poll")
    yield _write("POST /api/sources/{name}/poll", "/api/sources/feed%3Aplans/poll", idempotency="again")
    yield _write("POST /api/sources/{name}/confirm", "/api/sources/feed%3Aplans/confirm")
    yield _write("DELETE /api/sources/{name}", "/api/sources/feed%3Aplans")


def have_held(api: Api, clock: Clock) -> None:
    """Has a list expire that is large enough to be held; a day goes by."""
    ends_at = iso(clock.now + DAY_MS)
    for first in range(0, MIN_HELD, 100):
        api.report(*(item(f"held-{first + n}.xyz", kind="domain", expiresAt=ends_at) for n in range(100)))
    clock.now += DAY_MS
    assert within(20, lambda: "held" in {feed["state"] for feed in ok(api.get("/api/feeds"))})
