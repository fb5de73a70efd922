"""The shapes of deployed agents on ``/api/threats`` and ``/api/trap-intel``: the same reports, the same rules."""

from typing import Any

import pytest

from tests.http.conftest import Api, LiveServer, Start, bad_fields, fresh_ip, item, ok, refused
from tests.http.test_threats import at
from tests.http.test_trap_intel import visit


def event(address: str, **more: Any) -> dict[str, Any]:
    return {
        "attackSourceIP": address,
        "attackType": "SSH Brute Force",
        "mitreTechnique": "T1110",
        "sigmaRuleMatched": "sshd-many-failures",
        "timestamp": at(minutes=5),
        "region": "TW",
        "industry": "finance",
        **more,
    }


def summary(address: str, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": at(minutes=5),
        "serviceType": "ssh",
        "sourceIP": address,
        "attackType": "brute_force",
        "mitreTechniques": ["T1110.001", "T1059"],
        "skillLevel": "script_kiddie",
        "intent": "cryptomining",
        "tools": ["hydra"],
        "topCredentials": [{"username": "root", "count": 40}, {"username": "admin", "count": 2}],
        "region": "eu-west",
        **more,
    }


def sightings(api: Api) -> int:
    return int(ok(api.get("/api/stats"))["totalSightings"])


def test_one_event_is_a_report(api: Api) -> None:
    address = fresh_ip()
    done = ok(api.post("/api/threats", json=event(address)), 201)
    found = api.detail(address)
    assert done == {"received": 1, "new": 1, "updated": 0, "iocIds": [found["id"]]}
    assert (found["category"], found["sources"], found["sightings"]) == ("bruteforce", ["guard-agent"], 1)
    assert [technique["id"] for technique in found["techniques"]] == ["T1110"]
    (seen,) = ok(api.get("/api/sightings", params={"value": address}))
    assert {name: seen["context"][name] for name in ("sigmaRuleMatched", "region", "industry")} == {
        "sigmaRuleMatched": "sshd-many-failures",
        "region": "TW",
        "industry": "finance",
    }


def test_events_come_in_batches(api: Api) -> None:
    addresses = [fresh_ip() for _ in range(99)]
    events = [event(address) for address in [*addresses, addresses[0]]]
    done = ok(api.post("/api/threats", json={"events": events}), 201)
    assert (done["received"], done["new"], done["updated"]) == (100, 99, 0)
    assert done["iocIds"][0] == done["iocIds"][99]
    assert api.detail(addresses[0])["sightings"] == 2


def test_an_attack_without_a_category_is_a_tag(api: Api) -> None:
    address = fresh_ip()
    ok(api.post("/api/threats", json=event(address, attackType="DNS <Tunneling>", mitreTechnique="")), 201)
    found = api.detail(address)
    assert (found["category"], found["tags"]) == (None, ["dns-tunneling"])


def test_summaries_of_a_honeypot_are_reports_of_attackers(api: Api) -> None:
    addresses = [fresh_ip(), fresh_ip()]
    done = ok(api.post("/api/trap-intel", json=[summary(address) for address in addresses]), 201)
    found = [api.detail(address) for address in addresses]
    assert done == {"received": 2, "new": 2, "updated": 0, "iocIds": [each["id"] for each in found]}
    metadata = found[0]["metadata"]
    assert (metadata["usernames"], metadata["attempts"], metadata["ports"]) == (["root", "admin"], 42, [22])
    assert (metadata["skillLevel"], metadata["intent"], metadata["tools"]) == (
        "script_kiddie",
        "cryptomining",
        ["hydra"],
    )
    assert (found[0]["category"], found[0]["sources"], found[0]["tags"]) == ("bruteforce", ["honeypot"], ["honeypot"])
    assert found[0]["reputation"] <= 30


def test_an_anonymised_address_is_its_network_and_never_listed(api: Api) -> None:
    ok(api.post("/api/trap-intel", json=[summary("91.199.0.0")]), 201)
    ok(api.post("/api/threats", json=event("91.199.0.0")), 201)
    found = api.detail("91.199.0.0")
    assert (found["value"], found["status"], found["sightings"]) == ("91.199.0.0/16", "whitelisted", 2)
    assert found["withheld"]["code"] == "anonymised"
    assert not [line for line in api.blocked() if line.startswith("91.199.")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"attackSourceIP": "nobody"}, "attackSourceIP"),
        ({"attackSourceIP": None}, "attackSourceIP"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2999-01-01T00:00:00Z"}, "timestamp"),
        ({"mitreTechnique": "brute force"}, "mitreTechnique"),
        ({"attackType": 7}, "attackType"),
        ({"sigmaRuleMatched": "x" * 257}, "sigmaRuleMatched"),
    ],
)
def test_a_bad_event_is_named_and_nothing_is_stored(api: Api, change: dict[str, Any], field: str) -> None:
    before = sightings(api)
    good, bad = event(fresh_ip()), {**event(fresh_ip()), **change}
    batch = refused(api.post("/api/threats", json={"events": [good, good, bad]}), 400, "invalid")["details"]
    assert [(detail["field"], detail["index"]) for detail in batch] == [(f"events[2].{field}", 2)]
    assert bad_fields(api.post("/api/threats", json=bad)) == [field]
    assert sightings(api) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sourceIP": "evil.example.net"}, "sourceIP"),
        ({"timestamp": ""}, "timestamp"),
        ({"mitreTechniques": ["T1110", "nothing"]}, "mitreTechniques"),
        ({"topCredentials": [{"username": "root", "count": -1}]}, "topCredentials[0].count"),
        ({"tools": "hydra"}, "tools"),
    ],
)
def test_a_bad_summary_is_named_and_nothing_is_stored(api: Api, change: dict[str, Any], field: str) -> None:
    before = sightings(api)
    body = [summary(fresh_ip()), {**summary(fresh_ip()), **change}]
    details = refused(api.post("/api/trap-intel", json=body), 400, "invalid")["details"]
    assert [(detail["field"], detail["index"]) for detail in details] == [(f"[1].{field}", 1)]
    assert sightings(api) == before


def test_the_good_part_of_a_batch_is_stored_when_asked(api: Api) -> None:
    events = ok(api.post("/api/threats?partial=true", json={"events": [event(fresh_ip()), event("x")]}), 201)
    assert (events["new"], [(each["index"], each["field"]) for each in events["rejected"]]) == (
        1,
        [(1, "events[1].attackSourceIP")],
    )
    summaries = ok(api.post("/api/trap-intel?partial=true", json=[summary("x"), summary(fresh_ip())]), 201)
    assert (summaries["new"], [each["field"] for each in summaries["rejected"]]) == (1, ["[0].sourceIP"])


def test_a_retry_with_an_idempotency_key_stores_nothing(api: Api) -> None:
    for path, body in (
        ("/api/threats", event(fresh_ip())),
        ("/api/threats", {"events": [event(fresh_ip())]}),
        ("/api/trap-intel", [summary(fresh_ip())]),
    ):
        headers = {"Idempotency-Key": f"agent-{fresh_ip()}"}
        first = api.post(path, json=body, headers=headers)
        before = sightings(api)
        again = api.post(path, json=body, headers=headers)
        assert (again.status_code, again.text) == (201, first.text)
        assert sightings(api) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/threats", {"events": []}),
        ("/api/threats", {"events": [event("203.0.113.7")] * 101}),
        ("/api/trap-intel", []),
        ("/api/trap-intel", [summary("203.0.113.7")] * 21),
        ("/api/threats", [event("203.0.113.7")]),
        ("/api/threats", {"sealed": "x", "threats": 1}),
        ("/api/trap-intel", summary("203.0.113.7")),
        ("/api/trap-intel", {"events": [event("203.0.113.7")]}),
    ],
)
def test_too_few_too_many_and_what_is_no_known_shape_are_refused(api: Api, path: str, body: Any) -> None:
    before = sightings(api)
    refused(api.post(path, json=body), 400, "invalid")
    assert sightings(api) == before


def test_a_body_with_the_native_key_is_native(api: Api) -> None:
    assert bad_fields(api.post("/api/threats", json={"threats": "x", "events": [event(fresh_ip())]})) == ["threats"]
    assert api.report(item())["new"] == 1
    said = {**visit(fresh_ip()), "sealed": "ignored as any unknown field"}
    assert "reputationDelta" in ok(api.post("/api/trap-intel", json=said), 201)


@pytest.mark.parametrize("path", ["/api/threats", "/api/trap-intel"])
def test_a_sealed_upload_is_refused_with_the_reason(api: Api, path: str) -> None:
    body = refused(api.post(path, json={"sealed": {"v": 1, "data": "AAAA"}}), 400, "invalid")
    assert "sealed uploads are not supported" in body["error"]


def test_agents_without_a_key_are_served_where_that_is_allowed_and_not_believed(
    server: LiveServer, start: Start
) -> None:
    address = fresh_ip()
    bodies = (("/api/threats", event(address)), ("/api/trap-intel", [summary(address)]))
    for path, body in bodies:
        refused(server.client(None).post(path, json=body), 401, "unauthenticated")
    opened = start(ALLOW_ANONYMOUS_UPLOAD="true")
    for path, body in bodies:
        ok(opened.client(None).post(path, json=body), 201)
    reader = opened.client()
    assert reader.detail(address)["sightings"] == 2
    assert address not in reader.blocked()
