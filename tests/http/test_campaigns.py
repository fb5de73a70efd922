"""``/api/campaigns``: found by correlation, made and edited by hand, shown with why and what helps."""

import time
from typing import Any

import pytest

from tests.http.conftest import Api, LiveServer, bad_fields, fresh_domain, fresh_ip, ok, refused
from tests.http.test_threats import at


def report(api: Api, *values: tuple[str, str], **said: Any) -> None:
    items = [
        {
            "type": kind,
            "value": value,
            "source": "manual",
            "category": "c2",
            "severity": "high",
            "confidence": 0.9,
            **said,
        }
        for kind, value in values
    ]
    ok(api.post("/api/threats", json={"threats": items}), 201)


def found(api: Api, value: str) -> str:
    """The id of the campaign correlation puts the value in."""
    deadline = time.monotonic() + 30
    while not (within := api.detail(value)["campaigns"]):
        assert time.monotonic() < deadline, "correlation found nothing"
        time.sleep(0.1)
    return str(within[0])


@pytest.fixture
def host(api: Api) -> str:
    """A host with two URLs, reported."""
    name = fresh_domain()
    report(
        api, ("domain", name), ("url", f"http://{name}/a"), ("url", f"http://{name}/b"), metadata={"mitreId": "T1110"}
    )
    return name


def made(api: Api, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ok(api.post("/api/campaigns", json={"name": "Operation Example", **said}), 201)
    return answer


def test_a_campaign_is_found_and_says_why_and_what_helps(api: Api, host: str) -> None:
    campaign = found(api, host)
    full = ok(api.get(f"/api/campaigns/{campaign}"))
    assert (full["name"], full["status"], full["severity"], full["byHand"]) == (f"c2: {host}", "active", "high", False)
    assert full["iocs"]["total"] == full["iocCount"] == 3
    assert full["iocs"]["byType"] == {"ip": 0, "domain": 1, "hash": 0, "url": 2, "email": 0, "cve": 0}
    assert [item["value"] for item in full["iocs"]["topDomains"]] == [host]
    assert {"feature": "host", "value": host, "members": 3, "reason": f"3 are on the host {host}"} in full["evidence"]
    day = full["firstSeen"][:10]
    assert full["description"].startswith(f"3 indicators (1 domain, 2 url), seen on {day}. 3 are on the host ")
    assert full["mitreIds"] == ["T1110"]
    assert any(text.startswith("M1032 Multi-factor Authentication:") for text in full["recommendations"])
    assert [item["event"] for item in full["timeline"]] == ["first seen", "created"]
    assert full["timeline"][0]["details"] == "3 indicators first seen: 1 domain, 2 url"
    members = ok(api.get(f"/api/campaigns/{campaign}/iocs"))
    assert {item["ioc"]["value"] for item in members} == {host, f"http://{host}/a", f"http://{host}/b"}
    assert all(f"3 are on the host {host}" in item["reasons"] for item in members)
    assert campaign in [item["id"] for item in ok(api.get("/api/campaigns", params={"status": "active", "limit": 100}))]
    shown = ok(api.get("/api/iocs", params={"campaign": campaign}))
    assert len(shown) == 3


def test_a_second_visit_falls_in_the_campaign_of_the_first(api: Api) -> None:
    payload = f"{time.time_ns():064x}"
    visit = {
        "trapId": "trap-1",
        "honeypotType": "ssh",
        "interactions": [{"timestamp": at(), "action": "connect", "data": None}],
        "payloads": [payload],
    }
    attackers = [fresh_ip(), fresh_ip(), fresh_ip()]
    for attacker in attackers[:2]:
        done = ok(api.post("/api/trap-intel", json={**visit, "attackerIp": attacker}), 201)
        assert done["campaignMatch"] is None
    campaign = found(api, attackers[0])
    done = ok(api.post("/api/trap-intel", json={**visit, "attackerIp": attackers[2]}), 201)
    assert done["campaignMatch"] == campaign == found(api, attackers[2])


def test_one_made_by_hand_holds_what_was_put_there(api: Api) -> None:
    one, other = fresh_ip(), fresh_ip()
    report(api, ("ip", one), ("ip", other))
    full = made(api, iocs=[one, other.replace(".", "[.]")], severity="critical", tags=["apt"], description=" why ")
    assert (full["severity"], full["tags"], full["description"], full["byHand"]) == ("critical", ["apt"], "why", True)
    assert full["evidence"][-1]["reason"] == "2 were put together by an operator"
    assert api.detail(one)["campaigns"] == [full["id"]]
    changed = ok(api.patch(f"/api/campaigns/{full['id']}", json={"name": "Renamed", "removeIocs": [other]}))
    assert (changed["name"], changed["iocCount"], changed["severity"]) == ("Renamed", 1, "critical")
    entries = ok(api.get("/api/audit-log", params={"limit": 10}))
    assert [item["action"] for item in entries if item["resource"] == "campaign"][:2] == ["update", "create"]


def test_what_was_taken_out_stays_out(api: Api, host: str) -> None:
    campaign = found(api, host)
    ok(api.patch(f"/api/campaigns/{campaign}", json={"removeIocs": [f"http://{host}/b"]}))
    report(api, ("url", f"http://{host}/c"), ("url", f"http://{host}/b"))
    assert found(api, f"http://{host}/c") == campaign
    assert campaign not in api.detail(f"http://{host}/b")["campaigns"]


def test_merged_the_old_id_leads_to_the_new(api: Api, host: str) -> None:
    campaign = found(api, host)
    into = made(api)["id"]
    merged = ok(api.patch(f"/api/campaigns/{into}", json={"merge": [campaign]}))
    assert merged["iocCount"] == 3
    assert ok(api.get(f"/api/campaigns/{campaign}"))["id"] == into
    assert api.detail(host)["campaigns"] == [into]
    assert len(ok(api.get("/api/iocs", params={"campaign": campaign}))) == 3


def test_deleted_it_does_not_come_again(api: Api, host: str) -> None:
    campaign = found(api, host)
    assert ok(api.delete(f"/api/campaigns/{campaign}"))["id"] == campaign
    refused(api.get(f"/api/campaigns/{campaign}"), 404, "not_found")
    refused(api.delete(f"/api/campaigns/{campaign}"), 404, "not_found")
    report(api, ("url", f"http://{host}/c"))
    witness = fresh_domain()
    report(api, ("domain", witness), ("url", f"http://{witness}/a"), ("url", f"http://{witness}/b"))
    found(api, witness)
    assert api.detail(f"http://{host}/c")["campaigns"] == []


def test_statistics_add_up(api: Api, host: str) -> None:
    found(api, host)
    stats = ok(api.get("/api/campaigns/stats"))
    assert stats["totalCampaigns"] == sum(stats[f"{word}Campaigns"] for word in ("active", "dormant", "resolved")) > 0
    assert set(stats["bySeverity"]) == {"low", "medium", "high", "critical"}
    assert {"id", "name", "campaigns"} == set(stats["topMitreTechniques"][0])
    assert stats["avgIocsPerCampaign"] > 0


def test_organisations_whose_keys_reported_are_counted(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    for org in ("acme", "globex"):
        key = ok(api.post("/api/keys", json={"name": org, "scopes": ["write"], "org": org}), 201)
        assert key["info"]["org"] == org
        report(server.client(key["key"]), ("ip", value))
    assert made(api, iocs=[value])["affectedOrgs"] == 2


def test_targets_are_where_reporters_saw_it(api: Api) -> None:
    value = fresh_ip()
    report(api, ("ip", value), metadata={"region": "Germany", "country": "CN"})
    for _ in range(2):
        ok(api.post("/api/sightings", json={"value": value, "source": "manual", "context": {"country": "fr"}}), 201)
    assert made(api, iocs=[value])["geography"]["targetCountries"] == ["FR", "DE"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x", "severity": "awful"}, "severity"),
        ({"name": "x", "iocs": ["8.8.4.99"]}, "iocs[0]"),
        ({"name": "x", "iocs": ["no such thing"]}, "iocs[0]"),
        ({"name": "x", "tags": ["\u0007"]}, "tags[0]"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_made(api: Api, body: dict[str, Any], field: str) -> None:
    before = ok(api.get("/api/campaigns/stats"))["totalCampaigns"]
    assert bad_fields(api.post("/api/campaigns", json=body)) == [field]
    assert ok(api.get("/api/campaigns/stats"))["totalCampaigns"] == before


def test_a_campaign_cannot_go_into_itself_nor_an_unknown_one_anywhere(api: Api) -> None:
    campaign = made(api)["id"]
    assert bad_fields(api.patch(f"/api/campaigns/{campaign}", json={"merge": [campaign]})) == ["merge[0]"]
    assert bad_fields(api.patch(f"/api/campaigns/{campaign}", json={"merge": ["cmp_0"]})) == ["merge[0]"]
    refused(api.get("/api/campaigns/cmp_0"), 404, "not_found")
    refused(api.patch("/api/campaigns/cmp_0", json={"name": "x"}), 404, "not_found")
    assert bad_fields(api.get("/api/campaigns", params={"limit": 101})) == ["limit"]
