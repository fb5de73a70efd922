"""What the OpenAPI document says of requests and answers is what the server does."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.http.conftest import Api, LiveServer, bad_fields

RULE = {"ruleId": "ATR-2026-00007", "ruleContent": "title: x\n", "source": "atr"}


@pytest.fixture(scope="module")
def document(server: LiveServer) -> Any:
    """The document as served."""
    return server.client(None).get("/openapi.json").json()


def _parameter(document: Any, path: str, name: str, method: str = "get") -> Draft202012Validator:
    found = [item for item in document["paths"][path][method]["parameters"] if item["name"] == name]
    return Draft202012Validator(found[0]["schema"], format_checker=Draft202012Validator.FORMAT_CHECKER)


def _body(document: Any, path: str) -> Draft202012Validator:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


def _headers(document: Any, path: str, status: int) -> set[str]:
    return set(document["paths"][path]["get"]["responses"][str(status)]["headers"])


@pytest.mark.parametrize("path", ["/api/stats", "/health"])
def test_an_answer_has_exactly_the_headers_that_are_promised(server: LiveServer, document: Any, path: str) -> None:
    headers = server.client().get(path).headers
    known = {"X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}

    assert {name for name in known if name in headers} == _headers(document, path, 200)


def test_a_refusal_has_the_headers_that_are_promised(server: LiveServer, document: Any) -> None:
    headers = server.client(None).get("/api/stats").headers

    assert {"WWW-Authenticate", "X-Request-Id"} == _headers(document, "/api/stats", 401)
    assert all(name in headers for name in _headers(document, "/api/stats", 401))
    assert "Retry-After" in _headers(document, "/api/stats", 429)


@pytest.mark.parametrize("name", ["X-Request-Id", "RateLimit-Limit", "Retry-After", "WWW-Authenticate"])
def test_promised_headers_are_required(document: Any, name: str) -> None:
    assert document["components"]["headers"][name]["required"] is True


@pytest.mark.parametrize(("prefix", "is_good"), [("00fF", True), ("00f", False), ("00ff0", False), ("xyzw", False)])
def test_the_document_knows_the_prefixes_of_a_private_look_up(
    api: Api, document: Any, prefix: str, is_good: bool
) -> None:
    path = "/api/iocs/range/{prefix}"

    assert _parameter(document, path, "prefix").is_valid(prefix) is is_good
    assert (api.get(path.format(prefix=prefix)).status_code == 200) is is_good


@pytest.mark.parametrize(("word", "is_good"), [("plain", True), ("nonsense", False)])
def test_the_document_knows_the_formats_of_a_blocklist(api: Api, document: Any, word: str, is_good: bool) -> None:
    path = "/api/feeds/ip-blocklist"

    assert _parameter(document, path, "format").is_valid(word) is is_good
    assert (api.get(path, params={"format": word}).status_code == 200) is is_good


@pytest.mark.parametrize(
    ("key", "is_good"),
    [("a", True), ("two words", True), ("é", True), ("x" * 255, True), ("x" * 256, False), ("\xa0", False)],
)
def test_the_document_knows_idempotency_keys(api: Api, document: Any, key: str, is_good: bool) -> None:
    body = {"threats": [{"type": "ip", "value": "203.0.113.9", "source": "manual"}]}
    answer = api.post("/api/threats", json=body, headers=[(b"Idempotency-Key", key.encode("latin-1"))])

    assert _parameter(document, "/api/threats", "Idempotency-Key", "post").is_valid(key) is is_good
    assert (answer.status_code == 201) is is_good


@pytest.mark.parametrize(
    ("body", "is_good"),
    [
        (RULE, True),
        ({"rules": [RULE]}, True),
        ({}, False),
        ({"rules": []}, False),
        ({**RULE, "ruleId": "-"}, False),
        ({**RULE, "ruleContent": ""}, False),
        ({**RULE, "source": "two words"}, False),
        ({name: text for name, text in RULE.items() if name != "source"}, False),
    ],
)
def test_the_document_knows_rules(api: Api, document: Any, body: Any, is_good: bool) -> None:
    assert _body(document, "/api/rules").is_valid(body) is is_good
    assert (api.post("/api/rules", json=body).status_code == 201) is is_good


@pytest.mark.parametrize(("role", "is_good"), [("agent", True), ("king", False)])
def test_the_document_knows_roles(api: Api, document: Any, role: str, is_good: bool) -> None:
    body = {"name": "x", "role": role}

    assert _body(document, "/api/keys").is_valid(body) is is_good
    assert (api.post("/api/keys", json=body).status_code == 201) is is_good


@pytest.mark.parametrize(("label", "is_good"), [("amber+strict", True), ("purple", False)])
def test_the_document_knows_tlp_labels(api: Api, document: Any, label: str, is_good: bool) -> None:
    body = {"threats": [{"type": "ip", "value": "203.0.113.9", "source": "manual", "tlp": label}]}

    assert _body(document, "/api/threats").is_valid(body) is is_good
    assert (api.post("/api/threats", json=body).status_code == 201) is is_good


@pytest.mark.parametrize(("digest", "is_good"), [("aF" * 32, True), ("af" * 16, False), ("xy" * 32, False)])
def test_the_document_knows_payloads(api: Api, document: Any, digest: str, is_good: bool) -> None:
    visit = {"timestamp": "2026-03-07T08:15:00.000Z", "action": "login"}
    body = {"trapId": "t", "attackerIp": "203.0.113.9", "honeypotType": "ssh", "interactions": [visit]}
    body["payloads"] = [digest]

    assert _body(document, "/api/trap-intel").is_valid(body) is is_good
    assert (api.post("/api/trap-intel", json=body).status_code == 201) is is_good


_OTHERS = {"ReportBody", "RestSearch"}


def test_the_document_calls_every_time_a_date_time(document: Any) -> None:
    names = {"timestamp", "expiresAt", "publishedAt", "authoredAt", "createdAt", "revokedAt", "updatedAt", "firstSeen"}
    names |= {"lastSeen", "generatedAt", "at"}
    # Of AbuseIPDB's form a time may be left empty, and MISP counts seconds back.
    shapes = [shape for title, shape in document["components"]["schemas"].items() if title not in _OTHERS]
    fields = [part for shape in shapes for name, part in shape.get("properties", {}).items() if name in names]

    assert len(fields) > 20
    for part in fields:
        texts = [choice for choice in part.get("anyOf", [part]) if choice.get("type") == "string"]
        assert [text.get("format") for text in texts] == ["date-time"], part


def test_whole_numbers_may_be_written_with_a_point(api: Api) -> None:
    """To JSON 22.0 is the number 22, and to JSON Schema it is an integer."""
    value = "91.250.7.1"
    api.report({"type": "ip", "value": value, "source": "manual", "metadata": {"port": 22.0, "ports": [23.0, 24]}})

    ports = api.detail(value)["metadata"]["ports"]
    assert sorted(ports) == [22, 23, 24]
    assert all(isinstance(port, int) for port in ports)
    bad = {"type": "ip", "value": value, "source": "manual", "metadata": {"port": 22.5}}
    assert bad_fields(api.post("/api/threats", json={"threats": [bad]})) == ["metadata"]
