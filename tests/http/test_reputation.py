"""Reputation: who can move it how far, the operator guarantee, strangers, sightings against, explanation."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import AGENT, COMMUNITY, HONEYPOT, OPERATOR, Api, LiveServer, Start, fresh_ip, item, ok, within

CLAIMED = ("guard-agent", "honeypot", "manual", "community", "feed:some-list", "anything-else", "feed", "HONEYPOT:x")


def reputation(server: LiveServer, key: str, **claim: Any) -> int:
    """What one report of a fresh address through a key makes of its reputation."""
    value = fresh_ip()
    server.client(key).report(item(value, **claim))
    return int(server.client().detail(value)["reputation"])


def test_what_nobody_reported_reads_80(api: Api) -> None:
    value = fresh_ip()

    answer = api.get(f"/api/iocs/{value}")

    assert answer.status_code == 404
    body = answer.json()
    assert body["ok"] is True
    assert body["data"]["message"]
    assert {name: body["data"][name] for name in ("value", "type", "reputation", "status", "sightings")} == {
        "value": value,
        "type": "ip",
        "reputation": 80,
        "status": "unknown",
        "sightings": 0,
    }


@pytest.mark.parametrize("severity", ["high", "critical"])
@pytest.mark.parametrize("source", CLAIMED)
def test_one_operators_report_brings_an_unknown_indicator_to_30(server: LiveServer, source: str, severity: str) -> None:
    assert reputation(server, OPERATOR, source=source, severity=severity, confidence=0.5) <= 30


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("domain", "guarantee.xyz"),
        ("url", "http://guarantee.xyz/path"),
        ("hash", "ab" * 32),
        ("email", "bad@guarantee.xyz"),
        ("cve", "CVE-2026-1000"),
        ("ip", "2a0d:c2c0:1::1"),
        ("ip", "91.242.7.0/24"),
    ],
)
def test_the_guarantee_holds_for_every_type(api: Api, kind: str, value: str) -> None:
    api.report(item(value, kind, severity="high", confidence=0.5))

    assert api.detail(value)["reputation"] <= 30


@pytest.mark.parametrize("source", CLAIMED)
@pytest.mark.parametrize("key", [COMMUNITY[0], AGENT])
def test_a_claimed_source_never_weighs_more_than_its_role(server: LiveServer, key: str, source: str) -> None:
    honest = "community" if key == COMMUNITY[0] else "guard-agent"

    assert reputation(server, key, source=source) >= reputation(server, key, source=honest)


def test_honeypot_evidence_weighs_more_than_an_agents(server: LiveServer) -> None:
    honeypot = reputation(server, HONEYPOT, source="honeypot")
    agent = reputation(server, AGENT, source="guard-agent")
    community = reputation(server, COMMUNITY[0], source="community")

    assert honeypot < agent < community < 80


def test_severity_and_confidence_make_it_worse(server: LiveServer) -> None:
    by_severity = [reputation(server, OPERATOR, severity=word) for word in ("low", "medium", "high", "critical")]
    by_confidence = [reputation(server, OPERATOR, confidence=number) for number in (0.1, 0.4, 0.7, 1.0)]

    assert by_severity == sorted(by_severity, reverse=True)
    assert by_confidence == sorted(by_confidence, reverse=True)
    assert len({*by_severity}) == len({*by_confidence}) == 4


def test_old_evidence_weighs_less(server: LiveServer) -> None:
    ages = [
        reputation(server, OPERATOR, timestamp=(datetime.now(UTC) - timedelta(days=days)).isoformat())
        for days in (0, 14, 60, 365)
    ]

    assert ages == sorted(ages)
    assert ages[0] < ages[1] < ages[2]
    assert ages[-1] >= 79


def test_one_voice_cannot_shout(server: LiveServer) -> None:
    """A thousand reports of one community key weigh less than two of its peers."""
    loud, two = fresh_ip(), fresh_ip()
    for _ in range(10):
        server.client(COMMUNITY[0]).report(*(item(loud, severity="critical", confidence=1.0) for _ in range(100)))
    for key in COMMUNITY[:2]:
        server.client(key).report(item(two, severity="critical", confidence=1.0))

    api = server.client()
    assert api.detail(loud)["sightings"] == 1000
    assert api.detail(loud)["reputation"] > 30
    assert api.detail(two)["reputation"] < api.detail(loud)["reputation"]


def is_published(api: Api, value: str) -> bool:
    """Whether an address is in any feed at all, of any reputation."""
    everything: list[str] = api.blocked(minReputation=100) + api.blocked()
    shared = [ioc["value"] for ioc in ok(api.get("/api/feeds/iocs", params={"limit": 5000}))["iocs"]]
    update = ok(api.get("/api/feeds/agent-update"))["iocs"]["ipBlocklist"]
    return value in {*everything, *shared, *update}


def test_one_community_key_reaches_no_feed_and_a_second_does(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    for source in ("honeypot", "manual", "guard-agent", "feed:x"):
        server.client(COMMUNITY[0]).report(item(value, source=source, severity="critical", confidence=1.0))
    marker = fresh_ip()
    api.report(item(marker))
    assert within(10, lambda: is_published(api, marker))

    assert not is_published(api, value)
    assert not api.detail(value)["published"]
    assert api.detail(value)["withheld"]["code"] == "uncorroborated"

    server.client(COMMUNITY[1]).report(item(value, severity="critical", confidence=1.0))

    assert within(10, lambda: value in api.blocked())
    assert api.detail(value)["withheld"] is None


def test_a_trusted_key_acts_at_once(server: LiveServer) -> None:
    values = {key: fresh_ip() for key in (OPERATOR, AGENT, HONEYPOT)}

    for key, value in values.items():
        server.client(key).report(item(value, severity="critical", confidence=1.0))

    assert within(10, lambda: set(values.values()) <= set(server.client().blocked()))


def test_a_rotated_key_is_the_same_voice(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    old = ok(api.post("/api/keys", json={"name": "c", "scopes": ["write"], "role": "community"}), 201)
    new = ok(api.post(f"/api/keys/{old['info']['id']}/rotate", json={}), 201)
    for made in (old, new):
        server.client(made["key"]).report(item(value, severity="critical", confidence=1.0))

    assert api.detail(value)["sightings"] == 2
    assert api.detail(value)["withheld"]["code"] == "uncorroborated"


def test_strangers_of_one_network_are_one_voice(start: Start) -> None:
    server = start(ALLOW_ANONYMOUS_UPLOAD="true", TC_TRUSTED_PROXIES="127.0.0.1")
    api, near, far = server.client(), fresh_ip(), fresh_ip()
    blocks = ["203.0.113.", "198.51.100.", "192.0.2.", "91.1.1.", "91.1.2."]
    for number in range(1, 9):
        stranger = server.client(None, {"X-Forwarded-For": f"{blocks[0]}{number}"})
        stranger.report(item(near, source="honeypot", severity="critical", confidence=1.0))
        six = server.client(None, {"X-Forwarded-For": f"2001:db8:1:{number}::1"})
        six.report(item(near, severity="critical", confidence=1.0))
    for block in blocks:
        stranger = server.client(None, {"X-Forwarded-For": f"{block}1"})
        stranger.report(item(far, severity="critical", confidence=1.0))

    assert within(10, lambda: far in api.blocked())
    assert not is_published(api, near)
    assert api.detail(near)["withheld"]["code"] == "uncorroborated"


def test_a_false_positive_sighting_outweighs_the_report_and_the_feed_follows(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    api.report(item(value))
    assert within(10, lambda: value in api.blocked())

    noted = api.sight(value, kind="false-positive")

    assert noted["reputationChange"] > 0
    assert noted["totalSightings"] == 1
    assert api.detail(value)["reputation"] > 30
    assert within(10, lambda: value not in api.blocked())


def test_a_community_key_cannot_argue_an_operator_down(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    api.report(item(value, severity="critical", confidence=1.0))

    for _ in range(20):
        server.client(COMMUNITY[0]).sight(value, kind="false-positive")

    assert api.detail(value)["reputation"] <= 30


def test_an_explanation_adds_up(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    api.report(item(value, source="a"), item(value, source="b"))
    server.client(AGENT).report(item(value, source="guard-agent"))
    server.client(COMMUNITY[0]).report(item(value))
    server.client(AGENT).sight(value, kind="negative")

    explained = ok(api.get(f"/api/iocs/{value}/explain"))

    terms = explained["terms"]
    assert math.isclose(sum(term["logOdds"] for term in terms), explained["logOdds"], abs_tol=1e-9)
    assert round(100 / (1 + math.exp(explained["logOdds"]))) == explained["reputation"]
    assert explained["reputation"] == api.detail(value)["reputation"]
    assert terms[0]["name"] == "prior"
    assert {term["name"] for term in terms} == {"prior", "evidence", "counter-evidence"}
    assert len(terms) == 5
    for term in terms[1:]:
        left_out = round(100 / (1 + math.exp(explained["logOdds"] - term["logOdds"])))
        assert term["points"] == left_out - explained["reputation"]
        assert term["reporter"]
    assert ["a", "b"] in [term["sources"] for term in terms]


def test_a_benign_list_is_a_term(api: Api) -> None:
    api.report(item("8.8.4.4"))

    explained = ok(api.get("/api/iocs/8.8.4.4/explain"))

    [benign] = [term for term in explained["terms"] if term["name"] == "benign-list"]
    assert benign["logOdds"] < 0
    assert benign["points"] < 0
    assert explained["status"] == "whitelisted"
    assert explained["withheld"]["code"] == "benign-list"


def test_only_a_known_indicator_is_explained(api: Api) -> None:
    unknown = api.get(f"/api/iocs/{fresh_ip()}/explain")

    assert unknown.status_code == 404
    assert unknown.json()["ok"] is False
    assert api.get("/api/iocs/nonsense/explain").status_code == 400
