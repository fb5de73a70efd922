"""Bad input gets a clear 4xx: every parameter, body field and path segment of every route, given nasty values."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.http.conftest import Api, fresh_ip, item, ok
from threatcloud.http.endpoint import Endpoint
from threatcloud.http.routes import ENDPOINTS

TEXTS = (
    "",
    " ",
    "\0",
    "\n",
    "a\r\nX-Injected: 1",
    "null",
    "NaN",
    "-0",
    "1e309",
    "9" * 400,
    "-9223372036854775809",
    "18446744073709551616",
    "\u0661\u0662",
    "\ufeffx",
    "\u202e\u2066",
    "\U0001f480" * 20,
    "x" * 1500,
    "%",
    "%00",
    "../../etc/passwd",
    "' OR 1=1 --",
    "{{7*7}}",
    "2026-03-07T08:15:00Z",
    "0001-01-01",
    "9999-12-31T23:59:59.999999+00:00",
    "AAAA",
    "255.255.255.255/32",
    "::/0",
    "http://[::1]:99999/",
    "http://[",
    "xn--a",
    "a@b@c",
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    2**70,
    1e300,
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"\0": {"a": [1]}},
    ["x"] * 300,
)
READ_ROUTES = [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET"]
WRITE_ROUTES = [endpoint for endpoint in ENDPOINTS if endpoint.body is not None]


def check(answer: httpx.Response) -> None:
    """A good answer, or a refusal in the envelope: never a fault of the server, a foreign page or a broken header."""
    assert answer.status_code < 500, f"{answer.request.method} {answer.request.url}: {answer.text}"
    assert "x-injected" not in answer.headers
    if answer.status_code >= 400:
        body = answer.json()
        if "errors" in body:  # the words of AbuseIPDB
            assert body["errors"]
            assert all(error["detail"] and error["status"] == answer.status_code for error in body["errors"])
            return
        if "message" in body:  # those of CrowdSec
            assert body.keys() == {"message"}
            assert body["message"]
            return
        if "http_status" in body:  # those of TAXII
            assert body["http_status"] == str(answer.status_code)
            assert body["description"]
            return
        assert body["ok"] is (answer.status_code == 404 and "data" in body)
        assert body.get("error") or body["data"]["status"] == "unknown"


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", READ_ROUTES, ids=name_of)
def test_every_parameter_withstands_nasty_values(api: Api, endpoint: Endpoint) -> None:
    path = "/".join("192.0.2.1" if part.startswith("{") else part for part in endpoint.path.split("/"))
    names = [field.encode_name for field in msgspec.structs.fields(endpoint.query)]
    ends = {"follow": "false"} if endpoint.streams else {}
    for name in names:
        for text in TEXTS:
            check(api.get(path, params={**ends, name: text}))
    for text in TEXTS:
        check(api.get(path, params={text: "x"}))


@pytest.mark.parametrize("endpoint", [e for e in READ_ROUTES if "{" in e.path], ids=name_of)
def test_every_segment_withstands_nasty_values(api: Api, endpoint: Endpoint) -> None:
    before, _, after = endpoint.path.partition("{")
    for text in TEXTS:
        segment = "".join(f"%{byte:02X}" for byte in text.encode())
        check(api.get(before + segment + after.partition("}")[2]))


def bent(example: Any) -> Iterator[Any]:
    """The example with one part at a time replaced by something nasty, or missing."""
    yield from VALUES
    if isinstance(example, dict):
        for name in example:
            yield {key: value for key, value in example.items() if key != name}
            for inner in bent(example[name]):
                yield {**example, name: inner}
    elif isinstance(example, list):
        for inner in bent(example[0]):
            yield [inner, *example[1:]]


@pytest.mark.parametrize("endpoint", WRITE_ROUTES, ids=name_of)
def test_every_body_field_withstands_nasty_values(api: Api, endpoint: Endpoint) -> None:
    known = fresh_ip()
    api.report(item(known))
    path = endpoint.path.replace("{id}", "key_0")
    example = endpoint.example
    if endpoint.path == "/api/threats":
        more = {"timestamp": "2026-03-07T08:15:00Z", "expiresAt": "2999-01-01T00:00:00Z", "tlp": "red"}
        labels = {"tags": ["a"], "relatedTo": [known], "asn": "AS64496", "country": "DE", "attempts": 3, "port": 22}
        example = {"threats": [{**item(known), **more, "metadata": labels}]}
    if endpoint.path == "/api/sightings":
        example = {**example, "value": known, "context": {"mitreId": "T1110", "tags": ["a"], "port": 22}}
    for body in bent(example):
        check(api.post(path, content=json.dumps(body).encode()))
    assert ok(api.get(f"/api/iocs/{known}"))["value"] == known
    ok(api.get("/api/stats"))
    ok(api.get("/api/iocs", params={"limit": 200}))
    ok(api.get("/api/feeds/iocs", params={"limit": 5000}))
    ok(api.get("/api/audit-log", params={"limit": 200}))
