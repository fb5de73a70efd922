"""Withdrawal: what was reported with a key is taken back in one call, and every feed follows."""

import json
from typing import Any

from tests.http.conftest import COMMUNITY, OPERATOR, READER, Api, LiveServer, Start, fresh_ip, item, ok, refused, within
from tests.http.test_erasure import run
from tests.http.test_trap_intel import visit


def make_key(api: Api, server: LiveServer, role: str = "operator") -> tuple[str, Api]:
    """A new key's id, and a client with it."""
    new = ok(api.post("/api/keys", json={"name": "reporter", "role": role, "scopes": ["read", "write"]}), 201)
    return new["info"]["id"], server.client(new["key"])


def withdraw(api: Api, key_id: str) -> Any:
    return ok(api.delete(f"/api/keys/{key_id}/contributions"))


def done(sightings: int, removed: int, changed: int) -> dict[str, Any]:
    return {"pending": False, "sightings": sightings, "removedIocs": removed, "changedIocs": changed}


def test_what_nobody_else_reported_is_gone_and_the_rest_is_as_before(api: Api, server: LiveServer) -> None:
    key_id, reporter = make_key(api, server)
    alone, both, others = fresh_ip(), fresh_ip(), fresh_ip()
    said: dict[str, Any] = {
        "severity": "low",
        "confidence": 0.2,
        "category": "scanner",
        "metadata": {"port": 22, "tags": ["mine"]},
    }
    api.report(item(both, **said), item(others))
    before = api.detail(both)
    stats = ok(api.get("/api/stats"))
    theirs: dict[str, Any] = {
        "category": "c2",
        "metadata": {"port": 80, "tags": ["theirs"], "relatedTo": others},
        "tlp": "red",
    }
    reporter.report(item(alone, **theirs), item(both, source="theirs", expiresAt="2199-01-01T00:00:00Z", **theirs))
    reporter.sight(both, kind="false-positive")
    assert within(5, lambda: alone in api.blocked())
    version = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]

    assert withdraw(api, key_id) == done(3, 1, 1)

    assert api.get(f"/api/iocs/{alone}").json()["data"]["status"] == "unknown"
    after = api.detail(both)
    for found in (before, after):
        del found["updatedAt"]
    assert after == before
    assert [found["value"] for found in ok(api.get("/api/iocs", params={"tag": "mine"}))] == [both]
    assert ok(api.get("/api/iocs", params={"tag": "theirs"})) == []
    assert len(ok(api.get("/api/sightings", params={"value": both}))) == 1
    now = ok(api.get("/api/stats"))
    ignored = {"updatedAt", "totalSources"}
    assert {name: now[name] for name in now.keys() - ignored} == {name: stats[name] for name in stats.keys() - ignored}
    assert within(2, lambda: alone not in api.blocked())

    def delta() -> list[str]:
        return api.get("/api/feeds/ip-blocklist", params={"since": version}).text.splitlines()

    assert within(2, lambda: f"-{alone}" in delta())
    removed = ok(api.get("/api/feeds/iocs", params={"since": before["firstSeen"]}))["removed"]
    assert alone in [gone["value"] for gone in removed]


def test_it_reaches_the_whole_lineage_also_when_it_has_ended(api: Api, server: LiveServer) -> None:
    key_id, old = make_key(api, server)
    first, second, later = fresh_ip(), fresh_ip(), fresh_ip()
    old.report(item(first))
    new = ok(api.post(f"/api/keys/{key_id}/rotate", json={"overlapHours": 1}), 201)
    client = server.client(new["key"])
    client.report(item(second))
    ok(api.delete(f"/api/keys/{key_id}"))
    assert withdraw(api, key_id) == done(2, 2, 0)
    client.report(item(later), item(first))
    assert api.detail(later)["status"] == "active"
    assert withdraw(api, new["info"]["id"]) == done(2, 2, 0)
    assert withdraw(api, key_id) == done(0, 0, 0)


def test_a_stranger_without_its_second_is_no_longer_published(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    key_id, second = make_key(api, server, "community")
    first = server.client(COMMUNITY[0])
    for client in (first, second):
        client.report(item(value, severity="critical", confidence=1.0))
    assert within(5, lambda: value in api.blocked(maxReputation=100))
    assert withdraw(api, key_id) == done(1, 0, 1)
    assert within(2, lambda: value not in api.blocked(maxReputation=100))
    assert api.detail(value)["sightings"] == 1


def test_keys_of_the_environment_can_be_withdrawn_too(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    server.client(COMMUNITY[3]).report(item(value))
    known = ok(api.get("/api/keys"))
    [key_id] = [key["id"] for key in known if key["mask"].startswith(COMMUNITY[3][:4]) and key["role"] == "community"][
        3:4
    ]
    assert withdraw(api, key_id)["removedIocs"] == 1
    assert api.get(f"/api/iocs/{value}").status_code == 404


def test_it_is_audited_and_needs_an_admin(api: Api, server: LiveServer) -> None:
    key_id, reporter = make_key(api, server)
    refused(server.client(READER).delete(f"/api/keys/{key_id}/contributions"), 403, "forbidden")
    refused(reporter.delete(f"/api/keys/{key_id}/contributions"), 403, "forbidden")
    refused(api.delete("/api/keys/key_unknown/contributions"), 404, "not_found")
    assert withdraw(api, key_id) == done(0, 0, 0)
    newest = ok(api.get("/api/audit-log", params={"limit": 1}))[0]
    assert (newest["action"], newest["resource"]) == ("delete", "contributions")
    assert newest["details"] == {"id": key_id, "lineage": key_id}
    assert newest["apiKey"].startswith(OPERATOR[:4])


def test_the_command_line_withdraws(start: Start) -> None:
    server = start()
    api = server.client()
    key_id, reporter = make_key(api, server)
    reporter.report(*(item() for _ in range(100)))
    reporter.report(*(item() for _ in range(50)))
    server.stop()  # nor is a server needed
    found = run(server, "key", "withdraw", key_id, "--yes", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == done(150, 150, 0)
    api = start().client()
    assert ok(api.get("/api/stats"))["totalIocs"] == 0
    assert api.blocked() == []


def test_a_visit_that_was_withdrawn_can_be_told_again(api: Api, server: LiveServer) -> None:
    key_id, trap = make_key(api, server, "honeypot")
    attacker = fresh_ip()
    said = visit(attacker, sessionId="told-again")
    for _ in range(2):
        ok(trap.post("/api/trap-intel", json=said), 201)
        assert api.detail(attacker)["sightings"] == 1
        assert withdraw(api, key_id)["removedIocs"] == 1
        assert api.get(f"/api/iocs/{attacker}").json()["data"]["status"] == "unknown"
