"""What holds on every route: envelope, methods, bodies, parameters, paging, headers, codings."""

import gzip
import http.client
import json
from typing import Any

import pytest
import zstandard

from tests.http.conftest import OPERATOR, READER, Api, LiveServer, bad_fields, fresh_ip, item, ok, refused

COLLECTIONS = ("/api/iocs", "/api/audit-log", "/api/agents")
FLAT_GETS = (
    "/api/iocs",
    "/api/stats",
    "/api/audit-log",
    "/api/agents",
    "/api/keys",
    "/api/feeds/ip-blocklist",
    "/api/feeds/domain-blocklist",
    "/api/feeds/iocs",
    "/api/feeds/agent-update",
    "/health",
    "/metrics",
    "/openapi.json",
    "/docs",
)


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/api", "/api/", "/api/nothing", "/api/iocs/", "/api/iocs/192.0.2.1/nothing", "//", "/%00"],
)
def test_an_unknown_route_is_a_404_in_the_envelope(api: Api, path: str) -> None:
    body = refused(api.get(path), 404, "not_found")

    assert body["details"] == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/iocs", {"GET", "HEAD"}),
        ("GET", "/api/threats", {"POST"}),
        ("PUT", "/api/sightings", {"GET", "HEAD", "POST"}),
        ("PATCH", "/api/iocs/192.0.2.1", {"DELETE", "GET", "HEAD"}),
        ("GET", "/api/iocs/lookup", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("GET", "/api/keys/key_0", {"DELETE"}),
        ("OPTIONS", "/api/stats", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_names_the_right_ones(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = api.request(method, path)

    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", FLAT_GETS)
def test_head_answers_as_get_without_a_body(api: Api, path: str) -> None:
    got, headed = api.get(path), api.head(path)

    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert int(headed.headers["content-length"]) > 0


def test_head_of_an_unknown_indicator_is_a_404(api: Api) -> None:
    answer = api.head(f"/api/iocs/{fresh_ip()}")

    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("path", FLAT_GETS)
def test_an_unknown_parameter_is_named(api: Api, path: str) -> None:
    answer = api.get(path, params={"limitt": "5"})

    assert bad_fields(answer) == ["limitt"]
    assert "limitt" in answer.json()["error"]


def test_an_unknown_parameter_of_a_post_is_named(api: Api) -> None:
    answer = api.post("/api/threats", params={"partiall": "true"}, json={"threats": [item()]})

    assert bad_fields(answer) == ["partiall"]


def test_a_repeated_parameter_is_refused(api: Api) -> None:
    assert bad_fields(api.get("/api/iocs?type=ip&type=domain")) == ["type"]


@pytest.mark.parametrize("query", ["type=%ff", "search=%C3%28"])
def test_a_query_that_is_not_utf8_is_refused(api: Api, query: str) -> None:
    assert bad_fields(api.get(f"/api/iocs?{query}")) == ["query"]


@pytest.mark.parametrize("path", COLLECTIONS)
@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("page", "0", "1"),
        ("page", "-1", "1"),
        ("page", "x", "whole number"),
        ("page", "1.5", "whole number"),
        ("page", "", "whole number"),
        ("page", "9" * 30, "10000000"),
        ("limit", "0", "1"),
        ("limit", "201", "200"),
        ("limit", "ten", "200"),
        ("limit", "null", "200"),
    ],
)
def test_paging_out_of_bounds_says_the_bound(api: Api, path: str, name: str, value: str, bound: str) -> None:
    answer = api.get(path, params={name: value})

    assert bad_fields(answer) == [name]
    assert bound in answer.json()["error"]


@pytest.mark.parametrize("path", COLLECTIONS)
def test_a_page_past_the_end_is_empty(api: Api, path: str) -> None:
    answer = api.get(path, params={"page": "100000", "limit": "200"})

    assert ok(answer) == []
    pagination = answer.json()["pagination"]
    assert pagination["page"] == 100_000
    assert pagination["limit"] == 200
    assert pagination["pages"] == -(-pagination["total"] // 200)


def test_pages_are_50_by_default_and_add_up(api: Api) -> None:
    source = "paging-test"
    api.report(*(item(source=source) for _ in range(73)))

    first = api.get("/api/iocs", params={"source": source}).json()
    second = api.get("/api/iocs", params={"source": source, "page": "2"}).json()

    assert first["pagination"] | {"nextCursor": None} == {
        "total": 73,
        "page": 1,
        "limit": 50,
        "pages": 2,
        "nextCursor": None,
    }
    assert (len(first["data"]), len(second["data"])) == (50, 23)
    assert len({ioc["value"] for ioc in first["data"] + second["data"]}) == 73


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "é", "MS4y" * 40, "MQ", "LTE.LTE"])
def test_a_cursor_that_is_none_is_refused(api: Api, cursor: str) -> None:
    assert bad_fields(api.get("/api/iocs", params={"cursor": cursor})) == ["cursor"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (b"{}", "threats"),
        (b'{"threats": null}', "threats"),
        (b'{"threats": []}', "threats"),
        (b'{"threats": [1]}', "body"),
        (b'{"threats": [{}]}', "type"),
        (b'{"threats": [' + b"[" * 100_000, "body"),
        (b'{"threats": [' + b"{}," * 100 + b"{}]}", "threats"),
        (b"\xff\xfe", "body"),
        (b'{"threats": [NaN]}', "body"),
    ],
)
def test_a_malformed_body_is_a_400(api: Api, body: bytes, field: str) -> None:
    answer = api.post("/api/threats", content=body, headers={"Content-Type": "application/json"})

    assert bad_fields(answer) == [field]


def test_unknown_body_fields_are_ignored(api: Api) -> None:
    body = {"threats": [{**item(), "unheardOf": {"a": 1}}], "client": "x"}

    assert ok(api.post("/api/threats", json=body), 201)["new"] == 1


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_a_body_of_another_type_is_a_415(api: Api, media: str) -> None:
    body = json.dumps({"threats": [item()]})

    refused(api.post("/api/threats", content=body, headers={"Content-Type": media}), 415, "unsupported_media_type")


def test_json_with_a_charset_is_json(api: Api) -> None:
    body = json.dumps({"threats": [item()]})

    ok(api.post("/api/threats", content=body, headers={"Content-Type": "Application/JSON; charset=utf-8"}), 201)


def test_a_body_over_1_mib_is_a_413(api: Api) -> None:
    body = b'{"threats": [], "padding": "' + b"x" * (1024 * 1024) + b'"}'

    refused(api.post("/api/threats", content=body), 413, "too_large")


def test_a_body_of_unknown_length_over_1_mib_is_a_413(api: Api) -> None:
    chunks = (b" " * 65_536 for _ in range(17))

    refused(api.post("/api/threats", content=chunks), 413, "too_large")


@pytest.mark.parametrize(
    ("key", "method", "path", "media", "status"),
    [
        (OPERATOR, "POST", "/api/threats", "application/json", 413),
        (OPERATOR, "POST", "/api/threats", "text/plain", 415),
        (READER, "POST", "/api/threats", "application/json", 403),
        (None, "POST", "/api/threats", "application/json", 401),
        (OPERATOR, "PUT", "/api/threats", "application/json", 405),
        (OPERATOR, "POST", "/nothing", "application/json", 404),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_nobody_reads_ends_the_connection_and_says_so(
    server: LiveServer, key: str | None, method: str, path: str, media: str, status: int, chunked: bool
) -> None:
    """A client that did not know would lose its next request (RFC 9112 section 9.6)."""
    client = server.client(key, {"Content-Type": media})
    body = b" " * (2 * 1024 * 1024)

    answer = client.request(method, path, content=iter([body]) if chunked else body)

    assert (answer.status_code, answer.headers["connection"]) == (status, "close")
    ok(client.get("/health"))


def test_a_small_body_nobody_reads_keeps_the_connection(server: LiveServer) -> None:
    answer = server.client(None).post("/api/threats", content=b" " * 10_000)

    assert answer.status_code == 401
    assert "connection" not in answer.headers


def test_a_body_of_1_mib_is_read(api: Api) -> None:
    body = json.dumps({"threats": [item()]}).encode()

    ok(api.post("/api/threats", content=body + b" " * (1024 * 1024 - len(body))), 201)


def test_a_target_over_8_kib_is_a_414(api: Api) -> None:
    refused(api.get(f"/api/iocs/{'a' * 8200}"), 414, "uri_too_long")


@pytest.mark.parametrize("sent", ["abc-123_X.y", "a" * 64])
def test_a_sane_request_id_is_echoed(api: Api, sent: str) -> None:
    assert api.get("/health", headers={"X-Request-Id": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["a" * 65, "a b", "a\x7f", "<x>", "", "a/b"])
def test_any_other_request_id_is_replaced(api: Api, sent: str) -> None:
    given = api.get("/health", headers={"X-Request-Id": sent}).headers["x-request-id"]

    assert given not in ("", sent)


def test_each_request_has_an_id_of_its_own(api: Api) -> None:
    assert len({api.get("/health").headers["x-request-id"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "path", ["/health", "/nothing", "/api/stats", "/api/iocs?x=1", "/api/feeds/ip-blocklist", "/docs", "/metrics"]
)
def test_security_headers_are_on_every_answer(server: LiveServer, path: str) -> None:
    for key in (OPERATOR, None):
        headers = server.client(key).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers
        assert "strict-transport-security" not in headers


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/metrics", "/api/iocs"])
def test_answers_over_1_kib_are_compressed_as_the_client_likes(api: Api, path: str) -> None:
    api.report(*(item() for _ in range(10)))

    assert _fetch(api, path, "gzip")[0] == "gzip"
    assert _fetch(api, path, "zstd")[0] == "zstd"
    assert _fetch(api, path, "gzip;q=1, zstd;q=0.5")[0] == "gzip"
    assert _fetch(api, path, "gzip;q=0.5, zstd;q=0.9, br")[0] == "zstd"
    assert _fetch(api, path, "gzip;q=0")[0] is None
    assert _fetch(api, path, "br, identity")[0] is None
    assert _fetch(api, path, "")[0] is None


def test_a_compressed_answer_says_the_same(api: Api) -> None:
    plain = _fetch(api, "/openapi.json", "identity")[1]

    assert gzip.decompress(_fetch(api, "/openapi.json", "gzip")[1]) == plain
    assert zstandard.ZstdDecompressor().decompress(_fetch(api, "/openapi.json", "zstd")[1]) == plain


def test_a_small_answer_is_sent_plain(api: Api) -> None:
    assert _fetch(api, "/health", "gzip, zstd")[0] is None


def test_what_depends_on_the_coding_varies_by_it(api: Api) -> None:
    for coding in ("gzip", "identity"):
        with api.stream("GET", "/openapi.json", headers={"Accept-Encoding": coding}) as answer:
            assert "accept-encoding" in answer.headers["vary"].lower()


def _fetch(api: Api, path: str, accept: str) -> tuple[str | None, bytes]:
    """The content coding of an answer and its body as it came over the wire."""
    with api.stream("GET", path, headers={"Accept-Encoding": accept}) as answer:
        assert answer.status_code == 200
        return answer.headers.get("content-encoding"), b"".join(answer.iter_raw())


def test_several_requests_share_a_connection(server: LiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))
    statuses: list[Any] = []
    for path in ("/health", "/nothing", "/api/stats", "/health"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert statuses == [200, 404, 401, 200]
