"""The API against its own OpenAPI document: generated requests, good and bad, alone and one after another.

TC_FUZZ_EXAMPLES sets how many examples are tried for an operation (by default few, so that this ends within a minute).
"""

import copy
import itertools
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

import schemathesis
from hypothesis import settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.engines import Engine
from tests.http.conftest import OPERATOR, LiveServer, serve_in
from threatcloud.http.openapi import document_bytes
from threatcloud.http.routes import ENDPOINTS

EXAMPLES: Final = int(os.environ.get("TC_FUZZ_EXAMPLES", "20"))
MAX_STORIES: Final = 100
REFUSALS: Final = (400, 401, 403, 404, 405, 409, 410, 413, 414, 415, 422, 429, 431)
HEADERS: Final = {"Authorization": f"Bearer {OPERATOR}"}


def _times(first_s: int, last_s: int) -> st.SearchStrategy[str]:
    zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.builds(
        lambda time_s, zone: datetime.fromtimestamp(time_s, zone).isoformat(), st.integers(first_s, last_s), zones
    )


_LABEL: Final = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
_HOST: Final = st.builds("{}.{}".format, _LABEL, st.sampled_from(["xyz", "com", "co.uk", "example"]))
_HEX: Final = st.sampled_from([32, 40, 64, 128]).flatmap(
    lambda n: st.text("0123456789abcdefABCDEF", min_size=n, max_size=n)
)
_INDICATORS: Final[dict[str, st.SearchStrategy[str]]] = {
    "ip": st.one_of(
        st.sampled_from(["203.0.113.7", "91.240.1.1", "91[.]240[.]1[.]1", "91.240.1.0/24", "91.240.0.0", "2a0e::1"]),
        st.ip_addresses().map(str),
    ),
    "domain": st.one_of(st.just("bad.example"), _HOST),
    "hash": _HEX,
    "url": st.builds("{}://{}/{}".format, st.sampled_from(["http", "hxxps", "ftp"]), _HOST, _LABEL),
    "email": st.builds("{}@{}".format, _LABEL, _HOST),
    "cve": st.builds(
        "{}-{}-{}".format, st.sampled_from(["CVE", "cve"]), st.integers(1999, 2026), st.integers(1000, 99999)
    ),
}
#: What a text has to be beyond what JSON Schema can say of it, by the name it goes under in the sharpened document.
_FORMATS: Final[dict[str, st.SearchStrategy[str]]] = {
    "past": _times(1, 1_767_225_600),
    "future": _times(4_102_444_800, 250_000_000_000),
    "line": st.from_regex(r"[!-~]( ?[!-~]){0,60}", fullmatch=True),
    "yaml": st.dictionaries(_LABEL, st.integers(), min_size=1, max_size=3).map(json.dumps),
    "technique": st.from_regex(r"T1[0-9]{3}(\.00[0-9])?", fullmatch=True),
    "outbound": st.builds("https://{}.invalid/{}".format, _LABEL, _LABEL),
    "indicator": st.one_of(*_INDICATORS.values()),
    "address": st.ip_addresses().map(str),
    "network": st.ip_addresses(v=4).map(lambda address: f"{address}/24"),
    "categories": st.lists(st.integers(1, 23), min_size=1, max_size=5).map(lambda found: ",".join(map(str, found))),
    "csv": st.ip_addresses().map(lambda address: f"IP,Categories,ReportDate,Comment\n{address},18,,x\n"),
    **{f"indicator-{kind}": strategy for kind, strategy in _INDICATORS.items()},
}
for _name, _strategy in _FORMATS.items():
    schemathesis.openapi.format(_name, _strategy)


def _sharpened() -> dict[str, Any]:
    """The document, and in it what no JSON Schema can state of good data, or only this server's settings.

    So the generator's good data is good, and reaches the code behind the validation.
    """
    document: dict[str, Any] = json.loads(document_bytes(ENDPOINTS))
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    by_id = {operation["operationId"]: operation for operation in operations}
    for operation in operations:
        if operation["security"] != [{}]:
            operation["security"] = [way for way in operation["security"] if way]  # nothing is open in the default mode
        for parameter in operation["parameters"]:
            _sharpen(parameter["schema"], _TEXTS.get(parameter["name"]))
    by_id["stream"]["parameters"] = [  # one that follows has no end
        {**parameter, "required": True, "schema": {"const": False}} if parameter["name"] == "follow" else parameter
        for parameter in by_id["stream"]["parameters"]
    ]
    for maker, user, parameter, expression in _LINKS:
        links = by_id[maker]["responses"]["201"].setdefault("links", {})
        links[user] = {"operationId": user, "parameters": {parameter: expression}}
    shapes = document["components"]["schemas"]
    for shape in _BODIES:
        for name, part in shapes[shape]["properties"].items():
            _sharpen(part, _CAMPAIGN_TEXTS.get(name) if shape.startswith("Campaign") else _TEXTS.get(name))
    shapes["ThreatItem"] = {"anyOf": [_threat(shapes["ThreatItem"], kind) for kind in _INDICATORS]}
    return document


#: The format of a field or parameter by its name.
_TEXTS: Final = {
    "value": "indicator",
    "attackerIp": "indicator-ip",
    "attackSourceIP": "indicator-ip",
    "sourceIP": "indicator-ip",
    "since": "past",
    "timestamp": "past",
    "publishedAt": "past",
    "expiresAt": "future",
    "ruleContent": "yaml",
    "org": "line",
    "ip": "address",
    "ipAddress": "address",
    "network": "network",
    "range": "network",
    "categories": "categories",
    "csv": "csv",
    "url": "outbound",
    "mitreTechnique": "technique",
    "mitreTechniques": "technique",
}
_CAMPAIGN_TEXTS: Final = {
    "name": "line",
    "description": "line",
    "tags": "line",
    "iocs": "indicator",
    "addIocs": "indicator",
    "removeIocs": "indicator",
}
_BODIES: Final = (
    "ThreatItem",
    "AgentEvent",
    "SightingBody",
    "TrapBody",
    "TrapSummary",
    "InteractionItem",
    "RuleItem",
    "KeyBody",
    "AllowItem",
    "WebhookBody",
    "SourceBody",
    "CampaignBody",
    "CampaignChange",
    "ReportBody",
    "BulkBody",
)
#: What takes up which part of what was made; the tool itself sees that a rule has an id.
_LINKS: Final = (
    ("report", "detail", "value", "$request.body#/threats/0/value"),
    ("report", "explain", "value", "$request.body#/threats/0/value"),
    ("report", "list_sightings", "value", "$request.body#/threats/0/value"),
    ("report_visit", "detail", "value", "$request.body#/attackerIp"),
    ("create_key", "rotate_key", "id", "$response.body#/data/info/id"),
    ("create_key", "revoke_key", "id", "$response.body#/data/info/id"),
)
_METADATA: Final = {
    "port": {"type": "integer", "minimum": 0, "maximum": 65535},
    "ports": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}, "maxItems": 3},
    "mitreId": {"type": "string", "format": "technique"},
    "tags": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 64}, "maxItems": 3},
    "relatedTo": {"type": "array", "items": {"type": "string", "format": "indicator"}, "maxItems": 3},
    "attempts": {"type": "integer"},
    "asn": {},
    "country": {"type": "string"},
}


def _sharpen(part: dict[str, Any], named: str | None) -> None:
    """Makes the text in a schema (alone, beside null, or as items) one of a format, which says all about it."""
    for choice in part.get("anyOf", [part]):
        text = choice.get("items", choice)
        if named and text.get("type") == "string":
            for bound in ("minLength", "maxLength", "pattern"):
                text.pop(bound, None)
            text["format"] = named


def _threat(item: dict[str, Any], kind: str) -> dict[str, Any]:
    """A report of one type of indicator, with metadata that means something."""
    threat: dict[str, Any] = copy.deepcopy(item)
    threat["properties"]["type"] = {"const": kind}
    _sharpen(threat["properties"]["value"], f"indicator-{kind}")
    _object(threat["properties"]["metadata"])["properties"] = _METADATA
    return threat


def _object(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(choice for choice in part["anyOf"] if choice.get("type") == "object")
    return found


CONFIG: Final = SchemathesisConfig.from_dict(
    {
        "generation": {
            "deterministic": True,
            "database": "none",
            "max-examples": EXAMPLES,
            "with-security-parameters": False,  # each request has the key; what goes without one: ignored_auth
        },
        "checks": {"negative_data_rejection": {"expected-statuses": [str(status) for status in REFUSALS]}},
    }
)
schema = schemathesis.openapi.from_dict(_sharpened(), config=CONFIG)


class Excuse(NamedTuple):
    """Why an operation may refuse what its schema allows: the field or the error code it names, and the reason."""

    operation: str
    word: str
    reason: str


_OPAQUE: Final = "only what the server gave is a cursor"
_KNOWN: Final = "only known indicators are members of a campaign"
_OLD: Final = "410 is what the contract says of a version that is too old for a delta"
_ALONE: Final = "a delta is of the default list only"
_BARE: Final = "joined networks go with formats that say nothing else of an address"
_ONE_NAME: Final = "minReputation is the other name of maxReputation; the contract says 400 for both"
#: What is told of a file of which nothing can be taken.
_OF_FILES: Final = ("body", "line", "value", "type", "pattern")
EXCUSES: Final = (
    Excuse("search", "cursor", _OPAQUE),
    Excuse("search", "minReputation", "must not be above maxReputation"),
    Excuse("list_sightings", "cursor", _OPAQUE),
    Excuse("ioc_feed", "cursor", _OPAQUE),
    Excuse("ioc_feed", "gone", "410 is what it says when what left since then is forgotten"),
    Excuse("stream", "lastEventId", _OPAQUE),
    Excuse("stream", "Last-Event-ID", _OPAQUE),
    Excuse("list_deliveries", "cursor", _OPAQUE),
    Excuse("audit_log", "cursor", _OPAQUE),
    Excuse("list_rules", "cursor", _OPAQUE),
    Excuse("list_campaigns", "cursor", _OPAQUE),
    Excuse("list_campaign_iocs", "cursor", _OPAQUE),
    Excuse("list_allowed", "cursor", _OPAQUE),
    Excuse("create_campaign", "iocs", _KNOWN),
    Excuse("edit_campaign", "addIocs", _KNOWN),
    Excuse("edit_campaign", "removeIocs", _KNOWN),
    Excuse("report_visit", "Idempotency-Key", "it counts for arrays only, so the document states no pattern for it"),
    Excuse("ip_blocklist", "gone", _OLD),
    Excuse("ip_blocklist", "since", _ALONE),
    Excuse("ip_blocklist", "minReputation", _ONE_NAME),
    Excuse("ip_blocklist", "aggregate", _BARE),
    *(
        Excuse(operation, word, why)
        for operation in ("domain_blocklist", "url_blocklist", "hash_blocklist", "all_types", "blocklist_file")
        for word, why in (("gone", _OLD), ("since", _ALONE), ("minReputation", _ONE_NAME))
    ),
    Excuse("blocklist_file", "aggregate", _BARE),
    Excuse("blacklist", "exceptCountries", "does not go with onlyCountries"),
    Excuse("blocklist_file", "minFill", "goes with aggregate only"),
    Excuse("ip_blocklist", "minFill", "goes with aggregate only"),
    Excuse("delta_file", "gone", _OLD),
    Excuse("rest_search", "page", "beyond so many attributes the feed is to be taken"),
    Excuse("rest_search", "value", "wildcards are refused, since they would find nothing"),
    Excuse("rest_search", "returnFormat", "json only"),
    Excuse("rest_search", "limit", "to JSON Schema 1.0 is a whole number, too"),
    Excuse("rest_search", "last", "a number and a unit"),
    Excuse("rest_search", "timestamp", "a number and a unit, or a time"),
    Excuse("delta_file", "since", "the later version comes second"),
    *(Excuse("import_file", word, "a file of any bytes may hold nothing that can be taken") for word in _OF_FILES),
)
_EXCUSED: Final = {(excuse.operation, excuse.word) for excuse in EXCUSES}


def takes_what_its_schema_allows(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """The check of schemathesis, but for what is excused."""
    if response.status_code in {400, 410, 422}:
        refusal = response.json()
        if "errors" in refusal:
            words = {error.get("source", {}).get("parameter") for error in refusal["errors"]}
        elif "http_status" in refusal:
            words = {field.partition("[")[0] for field in refusal.get("details", {})}
        else:
            words = {detail["field"].partition("[")[0] for detail in refusal.get("details", ())}
            words = words or {refusal.get("code")}
        operation = str(case.operation.definition.raw["operationId"])
        if all((operation, word) in _EXCUSED for word in words):
            return None
    return positive_data_acceptance(ctx, response, case)


_CHECKS: Final[dict[str, Any]] = {
    "additional_checks": [takes_what_its_schema_allows],
    "excluded_checks": [positive_data_acceptance],
}


@schema.parametrize()
def test_every_answer_is_as_documented(case: schemathesis.Case[Any], server: LiveServer) -> None:
    case.call_and_validate(base_url=server.url, headers=HEADERS, **_CHECKS)


def test_what_is_made_can_be_used_until_it_is_gone(engine: Engine, tmp_path: Path) -> None:
    """Requests that take up what answers before them gave. Each story begins with an empty server."""
    machine: Any = schemathesis.openapi.from_dict(_sharpened(), config=CONFIG).as_state_machine()
    folders = (tmp_path / str(number) for number in itertools.count())

    class Story(machine):  # type: ignore[misc]
        def setup(self) -> None:
            folder = next(folders)
            folder.mkdir()
            self.server = serve_in(folder, engine, {})

        def teardown(self) -> None:
            self.server.stop()

        def get_call_kwargs(self, case: schemathesis.Case[Any]) -> dict[str, Any]:
            return {"base_url": self.server.url, "headers": HEADERS}

        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case[Any], **kwargs: Any
        ) -> None:
            case.validate_response(
                response, headers=HEADERS, transport_kwargs=kwargs, recorder=self.recorder, **_CHECKS
            )

    stories = min(EXAMPLES, MAX_STORIES)
    Story.run(settings=settings(max_examples=stories, stateful_step_count=8, derandomize=True, database=None))
