"""Who may call what: keys, scopes, HTTP Basic, open modes, proxies, rate limits, CORS."""

import base64
from pathlib import Path

import httpx
import pytest

from tests.engines import contents
from tests.http.conftest import (
    AGENT,
    COMMUNITY,
    FEEDS_ONLY,
    HONEYPOT,
    OPERATOR,
    READER,
    WRITER,
    LiveServer,
    Start,
    fresh_ip,
    item,
    ok,
    refused,
    within,
)

READS = ("/api/iocs", "/api/iocs/192.0.2.1", "/api/iocs/range/abcd", "/api/stats")
PRIVATE_READS = ("/api/sightings?value=192.0.2.1", "/api/agents", "/api/agents/a", "/metrics")
FEEDS = ("/api/feeds/ip-blocklist", "/api/feeds/domain-blocklist", "/api/feeds/iocs", "/api/feeds/agent-update")
ADMIN = (("GET", "/api/keys"), ("POST", "/api/keys"), ("DELETE", "/api/keys/key_0"), ("POST", "/api/keys/key_0/rotate"))
LOOKUP = ("POST", "/api/iocs/lookup", {"values": ["192.0.2.1"]})
BODY = {"threats": [{"type": "ip", "value": "192.0.2.77", "source": "manual"}]}


def status(client: httpx.Client, path: str, method: str = "GET", body: object = None) -> int:
    return client.request(method, path, json=body).status_code


@pytest.mark.parametrize("path", [*READS, *PRIVATE_READS, *FEEDS, "/api/audit-log", "/api/keys"])
def test_without_a_key_there_is_a_401(server: LiveServer, path: str) -> None:
    answer = server.client(key=None).get(path)

    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/api/threats", "/api/sightings", "/api/iocs/lookup", "/api/keys"])
def test_nothing_is_posted_without_a_key(server: LiveServer, path: str) -> None:
    refused(server.client(key=None).post(path, json=BODY), 401, "unauthenticated")


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong-0123456789abcdef",
        "Bearer",
        f"Bearer {OPERATOR}x",
        f"Bearer {OPERATOR[:-1]}",
        OPERATOR,
        f"Token {OPERATOR}",
        f"Basic {OPERATOR}",
        "Bearer ÿ",
        "",
    ],
)
def test_an_unknown_key_is_a_401(server: LiveServer, authorization: str) -> None:
    headers = {"Authorization": authorization.encode("latin-1")}
    answer = httpx.get(f"{server.url}/api/stats", headers=headers, trust_env=False)  # type: ignore[arg-type]

    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_scheme_is_not_case_sensitive(server: LiveServer) -> None:
    ok(server.client(None, {"Authorization": f"bearer {OPERATOR}"}).get("/api/stats"))


@pytest.mark.parametrize(
    ("key", "reads", "feeds", "writes"),
    [
        (READER, 200, 200, 403),
        (FEEDS_ONLY, 403, 200, 403),
        (WRITER, 403, 403, 201),
        (AGENT, 200, 200, 201),
        (HONEYPOT, 200, 200, 201),
        (COMMUNITY[0], 403, 403, 201),
        (OPERATOR, 200, 200, 201),
    ],
)
def test_scopes_open_their_routes_and_no_others(
    server: LiveServer, key: str, reads: int, feeds: int, writes: int
) -> None:
    client = server.client(key)

    assert status(client, "/api/stats") == reads
    assert status(client, "/api/agents") == reads
    assert status(client, "/metrics") == reads
    assert status(client, LOOKUP[1], LOOKUP[0], LOOKUP[2]) == reads
    assert {status(client, path) for path in FEEDS} == {feeds}
    assert status(client, "/api/threats", "POST", BODY) == writes


@pytest.mark.parametrize("key", [READER, FEEDS_ONLY, WRITER, AGENT, COMMUNITY[0]])
def test_only_the_scope_audit_reads_the_ledger(server: LiveServer, key: str) -> None:
    body = refused(server.client(key).get("/api/audit-log"), 403, "forbidden")

    assert "audit" in body["error"]


@pytest.mark.parametrize("key", [READER, FEEDS_ONLY, WRITER, AGENT])
@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_only_the_scope_admin_handles_keys(server: LiveServer, key: str, method: str, path: str) -> None:
    refused(server.client(key).request(method, path, json={"name": "x"}), 403, "forbidden")


def test_a_key_may_not_be_told_by_its_answer(server: LiveServer) -> None:
    """An unknown key is refused before anything of the request is looked at."""
    client = server.client("unknown-0123456789abcdef")

    refused(client.get("/api/iocs?nonsense=1"), 401, "unauthenticated")
    refused(client.post("/api/threats", content=b"{"), 401, "unauthenticated")


def test_a_missing_scope_is_found_before_the_body_is_read(server: LiveServer) -> None:
    refused(server.client(READER).post("/api/threats", content=b"{"), 403, "forbidden")


def _basic(password: str, user: str = "firewall") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", FEEDS)
@pytest.mark.parametrize("user", ["", "anyone"])
def test_feeds_take_the_key_as_basic_password(server: LiveServer, path: str, user: str) -> None:
    assert status(server.client(None, _basic(FEEDS_ONLY, user)), path) == 200
    assert status(server.client(None, _basic(READER, user)), path) == 200
    assert status(server.client(None, _basic(WRITER, user)), path) == 403
    assert status(server.client(None, _basic("wrong-password", user)), path) == 401


@pytest.mark.parametrize("path", [*READS, *PRIVATE_READS, "/api/audit-log", "/api/keys"])
def test_no_other_route_takes_basic(server: LiveServer, path: str) -> None:
    assert status(server.client(None, _basic(OPERATOR)), path) == 401


@pytest.mark.parametrize("sent", ["Basic", "Basic !!!", "Basic /w==", "Basic YWJj"])
def test_broken_basic_is_a_401(server: LiveServer, sent: str) -> None:
    refused(server.client(None, {"Authorization": sent}).get(FEEDS[0]), 401, "unauthenticated")


def test_public_read_opens_reads_and_feeds_and_nothing_else(start: Start) -> None:
    anyone = start(TC_PUBLIC_READ="true").client(key=None)

    assert {path: status(anyone, path) for path in READS} == dict.fromkeys(READS, 200) | {READS[1]: 404}
    assert {status(anyone, path) for path in FEEDS} == {200}
    assert status(anyone, LOOKUP[1], LOOKUP[0], LOOKUP[2]) == 200
    assert {status(anyone, path) for path in (*PRIVATE_READS, "/api/audit-log", "/api/keys")} == {401}
    assert status(anyone, "/api/threats", "POST", BODY) == 401
    assert status(anyone, "/api/sightings", "POST", {"value": "192.0.2.1", "source": "x"}) == 401


def test_public_read_still_refuses_a_wrong_key(start: Start) -> None:
    refused(start(TC_PUBLIC_READ="true").client("wrong-0123456789").get("/api/stats"), 401, "unauthenticated")


def test_anonymous_upload_opens_reports_and_nothing_else(start: Start) -> None:
    server = start(ALLOW_ANONYMOUS_UPLOAD="true")
    anyone, value = server.client(key=None), fresh_ip()

    data = anyone.report(item(value, severity="critical", confidence=1.0))

    assert data["new"] == 1
    assert server.client().detail(value)["reputation"] > 30
    assert status(anyone, "/api/sightings", "POST", {"value": value, "source": "x"}) == 401
    assert {status(anyone, path) for path in (*READS, *PRIVATE_READS, *FEEDS)} == {401}


def test_anonymous_upload_still_refuses_a_wrong_key(start: Start) -> None:
    anyone = start(ALLOW_ANONYMOUS_UPLOAD="true").client("wrong-0123456789")

    refused(anyone.post("/api/threats", json=BODY), 401, "unauthenticated")


@pytest.mark.parametrize("key", [READER, FEEDS_ONLY])
def test_anonymous_upload_lends_no_weight_to_a_key_that_may_not_write(start: Start, key: str) -> None:
    """Such a key is refused or counts as anybody: never as the operator whose role it has."""
    server = start(ALLOW_ANONYMOUS_UPLOAD="true")
    value = fresh_ip()

    answer = server.client(key).post("/api/threats", json={"threats": [item(value, severity="critical")]})

    assert answer.status_code == 403 or server.client().detail(value)["reputation"] > 30


def _reported_from(server: LiveServer, forwarded: str | None) -> str:
    """The address the ledger shows for a report that came with this X-Forwarded-For."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    server.client(headers=headers).report(item())
    entry = ok(server.client().get("/api/audit-log?action=create&limit=1"))[0]
    return str(entry["ip"])


def test_a_forwarded_address_is_not_believed(server: LiveServer) -> None:
    assert _reported_from(server, "203.0.113.9") == "127.0.0.1"


def test_a_trusted_proxy_is_believed_for_the_last_hop_that_is_not_trusted(start: Start) -> None:
    server = start(TC_TRUSTED_PROXIES="127.0.0.0/8,192.0.2.0/24")

    assert _reported_from(server, None) == "127.0.0.1"
    assert _reported_from(server, "203.0.113.9") == "203.0.113.9"
    assert _reported_from(server, "198.51.100.1, 203.0.113.9, 192.0.2.5") == "203.0.113.9"
    assert _reported_from(server, "203.0.113.9:1234") == "203.0.113.9"
    assert _reported_from(server, "[2001:db8::1]:443") == "2001:db8::1"
    assert _reported_from(server, "nonsense") == "127.0.0.1"
    assert _reported_from(server, "198.51.100.1, nonsense, 192.0.2.5") == "192.0.2.5"


def test_forwarded_addresses_in_several_header_lines_are_one_list(start: Start) -> None:
    """RFC 9110 section 5.3: a proxy may add a line of its own instead of extending the one before."""
    server = start(TC_TRUSTED_PROXIES="127.0.0.0/8,192.0.2.0/24")
    headers = [
        ("Authorization", f"Bearer {OPERATOR}"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "192.0.2.5"),
    ]

    ok(httpx.post(f"{server.url}/api/threats", json=BODY, headers=headers, trust_env=False), 201)

    assert ok(server.client().get("/api/audit-log?action=create&limit=1"))[0]["ip"] == "203.0.113.9"


def test_anonymous_callers_are_limited_by_their_forwarded_address(start: Start) -> None:
    server = start(TC_TRUSTED_PROXIES="127.0.0.1", TC_RATE_LIMIT_ANONYMOUS="1", TC_PUBLIC_READ="true")

    assert status(server.client(None, {"X-Forwarded-For": "203.0.113.1"}), "/api/stats") == 200
    assert status(server.client(None, {"X-Forwarded-For": "203.0.113.1"}), "/api/stats") == 429
    assert status(server.client(None, {"X-Forwarded-For": "203.0.113.2"}), "/api/stats") == 200


def test_a_rate_limit_counts_down_and_then_refuses(start: Start) -> None:
    reader = start(TC_RATE_LIMIT_READ="3").client()

    answers = [reader.get("/api/stats") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"3"}
    assert all(int(answer.headers["ratelimit-reset"]) >= 1 for answer in answers)
    refused(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20


def test_limits_are_per_key_and_per_class(start: Start) -> None:
    server = start(
        TC_RATE_LIMIT_READ="1",
        TC_RATE_LIMIT_WRITE="1",
        TC_RATE_LIMIT_FEED="1",
        TC_RATE_LIMIT_ANONYMOUS="1",
    )
    operator, agent = server.client(), server.client(AGENT)

    assert [status(operator, "/api/stats") for _ in range(2)] == [200, 429]
    assert [status(operator, FEEDS[0]) for _ in range(2)] == [200, 429]
    assert [status(operator, "/api/threats", "POST", BODY) for _ in range(2)] == [201, 429]
    assert [status(agent, "/api/stats") for _ in range(2)] == [200, 429]
    assert [status(server.client(None), "/openapi.json") for _ in range(2)] == [200, 429]


def test_health_is_never_limited(start: Start) -> None:
    anyone = start(TC_RATE_LIMIT_ANONYMOUS="1").client(key=None)

    assert {status(anyone, "/health") for _ in range(5)} == {200}


def test_failed_authentication_is_limited_on_its_own(start: Start) -> None:
    server = start(TC_RATE_LIMIT_ANONYMOUS="2")
    stranger = server.client("wrong-0123456789abcdef")

    answers = [stranger.get("/api/stats") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert status(server.client(), "/api/stats") == 200
    assert status(server.client(None), "/openapi.json") == 200


@pytest.mark.parametrize("path", ["/nothing", "/api/threats"])
def test_strangers_cannot_probe_without_limit(start: Start, path: str) -> None:
    anyone = start(TC_RATE_LIMIT_ANONYMOUS="2").client(None)

    assert [status(anyone, path) for _ in range(3)][-1] == 429


def test_a_refused_request_leaves_nothing(start: Start) -> None:
    server = start(TC_RATE_LIMIT_WRITE="1")
    server.client().report(item())

    refused(server.client().post("/api/threats", json={"threats": [item()]}), 429, "rate_limited")

    assert ok(server.client().get("/api/stats"))["totalIocs"] == 1


ORIGIN = "https://intel.example.org"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


def test_cors_is_closed(server: LiveServer) -> None:
    answer = server.client().get("/api/stats", headers={"Origin": ORIGIN})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = server.client(None).options("/api/threats", headers={"Origin": ORIGIN, **ASKS})
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_cors_opens_to_configured_origins_only(start: Start) -> None:
    server = start(TC_CORS_ORIGINS=f"{ORIGIN},http://localhost:8080")
    client = server.client()

    for answer in (
        client.get("/api/stats", headers={"Origin": ORIGIN}),
        server.client(None).get("/api/stats", headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "origin" in answer.headers["vary"].lower()
        assert "RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
    for other in ("https://evil.example", f"{ORIGIN}.evil.example", "null", ORIGIN.upper()):
        assert "access-control-allow-origin" not in client.get("/api/stats", headers={"Origin": other}).headers


def test_a_preflight_needs_no_key(start: Start) -> None:
    anyone = start(TC_CORS_ORIGINS=ORIGIN).client(None)

    answer = anyone.options("/api/threats", headers={"Origin": ORIGIN, **ASKS})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "content-length" not in answer.headers, "RFC 9110 section 8.6 forbids it with 204"


def test_keys_are_in_no_file(start: Start, tmp_path: Path) -> None:
    server = start()
    new = ok(server.client().post("/api/keys", json={"name": "secret"}), 201)["key"]
    server.client(new).report(item())
    server.stop()

    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for content in (*files, contents(server.settings.place)):
        assert content
        assert new.encode() not in content
        assert OPERATOR.encode() not in content


def test_a_stopped_server_has_kept_everything(start: Start) -> None:
    first, value = start(), fresh_ip()
    first.client().report(item(value))
    assert within(10, lambda: value in first.client().blocked())
    before = first.client().get(FEEDS[0])
    first.stop()

    again = start().client()

    assert again.detail(value)["sightings"] == 1
    after = again.get(FEEDS[0])
    assert after.content == before.content
    assert after.headers["etag"] == before.headers["etag"]
