"""The publication guard through the API: kept and explained, and in no feed, whoever reports it however often."""

from typing import Any

import pytest

from tests.http.conftest import (
    AGENT,
    COMMUNITY,
    HONEYPOT,
    OPERATOR,
    Api,
    LiveServer,
    encoded,
    fresh_ip,
    item,
    ok,
    within,
)

#: (type, value as reported, why it is held back)
HELD_BACK = (
    ("ip", "8.8.8.8", "benign-list"),
    ("ip", "1.1.1.1", "benign-list"),
    ("ip", "9.9.9.9", "benign-list"),
    ("ip", "2001:4860:4860::8888", "benign-list"),
    ("ip", "::ffff:8.8.4.4", "benign-list"),
    ("ip", "104.16.132.229", "benign-list"),
    ("ip", "104.16.0.0/16", "benign-list"),
    ("ip", "104.16.132.0/24", "benign-list"),
    ("ip", "2606:4700::/32", "benign-list"),
    ("ip", "151.101.1.1", "benign-list"),
    ("ip", "66.249.66.1", "benign-list"),
    ("ip", "13.107.6.152", "benign-list"),
    ("ip", "8.8.8.0/24", "benign-list"),
    ("ip", "10.0.0.5", "non-global"),
    ("ip", "192.168.1.1", "non-global"),
    ("ip", "172.16.0.1", "non-global"),
    ("ip", "100.64.0.1", "non-global"),
    ("ip", "127.0.0.1", "non-global"),
    ("ip", "169.254.169.254", "non-global"),
    ("ip", "0.0.0.1", "non-global"),
    ("ip", "224.0.0.251", "non-global"),
    ("ip", "255.255.255.255", "non-global"),
    ("ip", "240.0.0.1", "non-global"),
    ("ip", "192.0.2.7", "non-global"),
    ("ip", "198.51.100.7", "non-global"),
    ("ip", "203.0.113.7", "non-global"),
    ("ip", "198.18.0.1", "non-global"),
    ("ip", "::1", "non-global"),
    ("ip", "fe80::1", "non-global"),
    ("ip", "fc00::1", "non-global"),
    ("ip", "ff02::1", "non-global"),
    ("ip", "2001:db8::7", "non-global"),
    ("ip", "64:ff9b::a00:1", "non-global"),
    ("ip", "2002:a00:1::", "non-global"),
    ("ip", "9.0.0.0/8", None),
    ("ip", "91.240.0.0/15", "too-wide"),
    ("ip", "2a00::/16", "too-wide"),
    ("ip", "0.0.0.0/0", None),
    ("ip", "::/0", None),
    ("ip", "203.1.0.0", "anonymised"),
    ("ip", "91.162.0.0", "anonymised"),
    ("domain", "google.com", None),
    ("domain", "www.google.com", None),
    ("domain", "paypal.com", None),
    ("domain", "co.uk", "public-suffix"),
    ("domain", "com", None),
    ("domain", "github.io", "public-suffix"),
    ("domain", "example.com", "special-name"),
    ("domain", "printer.local", "special-name"),
    ("url", "https://google.com/", None),
    ("url", "https://www.google.com", None),
    ("url", "http://8.8.8.8/", "benign-list"),
    ("url", "http://10.0.0.5/malware.exe", "non-global"),
    ("url", "http://localhost/", "special-name"),
    ("email", "abuse@bad-host.xyz", "role-mailbox"),
    ("hash", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", None),
)
LET_OUT = (
    ("ip", "91.240.240.1"),
    ("ip", "91.161.0.0/16"),
    ("ip", "91.239.0.0/32"),
    ("ip", "91.238.7.0/24"),
    ("ip", "2a0d:c2c2::/32"),
    ("domain", "phish-one.github.io"),
    ("domain", "google.com.bad-login.xyz"),
    ("url", "https://google.com/redirect?to=bad"),
    ("email", "boss@bad-host.xyz"),
    ("hash", "ab" * 20),
)
WORST: dict[str, Any] = {"severity": "critical", "confidence": 1.0}


def accepted(api: Api, kind: str, value: str) -> bool:
    """Whether a value is an indicator at all (a bare top-level domain may be none)."""
    return api.post("/api/threats", json={"threats": [item(value, kind, **WORST)]}).status_code == 201


def published(api: Api) -> set[str]:
    """Every value in any feed."""
    found = {value for kind in ("ip", "domain") for value in api.blocked(kind, minReputation=100)}
    feed = ok(api.get("/api/feeds/iocs", params={"limit": 5000}))
    assert feed["nextCursor"] is None
    found |= {ioc["value"] for ioc in feed["iocs"]}
    update = ok(api.get("/api/feeds/agent-update"))["iocs"]
    return found | {value for name, values in update.items() for value in values}


def settle(api: Api) -> None:
    """Waits until all that was reported so far is published."""
    marker = fresh_ip()
    api.report(item(marker))
    assert within(10, lambda: marker in ok(api.get("/api/feeds/agent-update"))["iocs"]["ipBlocklist"])
    assert within(10, lambda: marker in api.blocked())


@pytest.fixture(scope="module")
def reported(server: LiveServer) -> dict[str, str]:
    """Everything reported by every kind of key, again and again; gives the stored value of each spelling."""
    api = server.client()
    spellings = [(kind, value) for kind, value, _ in HELD_BACK] + list(LET_OUT)
    taken = [(kind, value) for kind, value in spellings if accepted(api, kind, value)]
    items = [item(value, kind, source=f"s{number}", **WORST) for kind, value in taken for number in range(3)]
    for key in (OPERATOR, AGENT, HONEYPOT, *COMMUNITY):
        client = server.client(key)
        for first in range(0, len(items), 100):
            client.report(*items[first : first + 100])
    settle(api)
    return {value: api.detail(value)["value"] for _, value in taken}


def test_no_feed_lists_what_is_held_back(api: Api, reported: dict[str, str]) -> None:
    listed = published(api)

    assert {reported[value] for _, value, _ in HELD_BACK if value in reported} & listed == set()


def test_what_is_let_out_is_listed(api: Api, reported: dict[str, str]) -> None:
    assert {reported[value] for _, value in LET_OUT} <= published(api)


@pytest.mark.parametrize(("kind", "value", "code"), HELD_BACK)
def test_the_indicator_says_what_held_it_back(
    api: Api, reported: dict[str, str], kind: str, value: str, code: str | None
) -> None:
    if value not in reported:
        assert value == "com", "only a bare top-level domain may be no indicator"
        return
    found = api.detail(value)

    assert (found["type"], found["status"], found["published"]) == (kind, "whitelisted", False)
    assert found["sightings"] == 22
    assert found["withheld"]["list"]
    if code is not None:
        assert found["withheld"]["code"] == code
    search = ok(api.get("/api/iocs", params={"search": found["value"], "status": "whitelisted"}))
    assert found["value"] in [one["value"] for one in search]


@pytest.mark.usefixtures("reported")
def test_what_is_held_back_is_no_active_indicator(api: Api) -> None:
    active = ok(api.get("/api/iocs", params={"status": "active", "limit": 200}))

    assert all(one["withheld"] is None for one in active)


def test_a_cloud_host_waits_for_a_second_voice(server: LiveServer) -> None:
    api, value = server.client(), "52.95.110.9"
    server.client(AGENT).report(item(value, **WORST))
    settle(api)

    assert value not in published(api)
    assert api.detail(value)["withheld"]["code"] == "uncorroborated-cloud"

    server.client(HONEYPOT).report(item(value, **WORST))

    assert within(10, lambda: value in api.blocked())


def test_an_operator_may_list_a_cloud_host_but_no_network_over_it(api: Api) -> None:
    api.report(item("52.95.110.10"), item("52.95.110.0/24"))
    settle(api)

    listed = published(api)
    assert "52.95.110.10" in listed
    assert "52.95.110.0/24" not in listed
    assert api.detail("52.95.110.0/24")["withheld"]["code"] == "shared-network"


class TestAnonymised:
    """``a.b.0.0`` stands for a /16 and is never a host or a network to block."""

    @pytest.mark.parametrize("spelling", ["91.163.0.0", "91.163.0.0/16", "91[.]163.0.0", "91.163.0.0:22"])
    def test_it_is_found_by_either_spelling(self, api: Api, spelling: str) -> None:
        api.report(item("91.163.0.0"))

        found = api.detail(spelling)
        assert (found["value"], found["status"]) == ("91.163.0.0/16", "whitelisted")
        assert found["withheld"]["code"] == "anonymised"

    def test_an_address_in_it_names_it(self, api: Api) -> None:
        api.report(item("91.164.0.0"))

        answer = api.get("/api/iocs/91.164.33.44")

        assert answer.status_code == 404
        assert "91.164.0.0/16" in [network["value"] for network in answer.json()["data"]["networks"]]

    def test_an_anonymised_report_and_a_host_are_two_indicators(self, api: Api) -> None:
        data = api.report(item("91.165.0.0"), item("91.165.0.0/32"), item("91.165.0.1"))

        assert data["new"] == 3
        assert api.detail("91.165.0.0/32")["status"] == "active"

    def test_a_sighting_does_not_let_it_out(self, api: Api) -> None:
        spellings = ("91.166.0.0", "91.167.0.0", "91.168.0.0/16", "91.172.0.0/16")
        values = [spelling.removesuffix("/16") for spelling in spellings]
        api.report(*(item(value, **WORST) for value in values))

        for spelling, kind in zip(spellings, ("positive", "negative") * 2, strict=True):
            api.sight(spelling, kind=kind)

        settle(api)
        assert {api.detail(value)["withheld"]["code"] for value in values} == {"anonymised"}
        assert published(api) & {f"{value}/16" for value in values} == set()

    def test_a_strangers_anonymised_report_does_not_hide_an_operators_network(self, server: LiveServer) -> None:
        """No single stranger decides, not about leaving a feed either."""
        api: Api = server.client()
        api.report(item("91.170.0.0/16", **WORST))
        server.client(COMMUNITY[0]).report(item("91.170.0.0", **WORST))

        settle(api)
        assert "91.170.0.0/16" in published(api)

    def test_anonymised_observations_do_not_corroborate_a_network(self, server: LiveServer) -> None:
        """One stranger names the network; what others saw was some host in it."""
        api: Api = server.client()
        server.client(COMMUNITY[0]).report(item("91.171.0.0", **WORST))
        server.client(COMMUNITY[1]).report(item("91.171.0.0/16", **WORST))

        settle(api)
        assert "91.171.0.0/16" not in published(api)


def test_a_whitelisted_indicator_stays_so_whatever_follows(api: Api) -> None:
    api.report(item("9.9.9.10", **WORST))
    for kind in ("positive", "negative", "false-positive", "positive"):
        api.sight("9.9.9.10", kind=kind)
        assert api.detail("9.9.9.10")["status"] == "whitelisted"


def test_the_lookup_says_whitelisted(api: Api) -> None:
    api.report(item("8.8.8.8", **WORST))

    [verdict] = ok(api.post("/api/iocs/lookup", json={"values": ["8.8.8.8"]}))

    assert verdict["status"] == "whitelisted"


def test_guard_findings_are_searchable_by_value(api: Api) -> None:
    api.report(item("104.17.1.1", **WORST))
    found: dict[str, Any] = ok(api.get(f"/api/iocs/{encoded('104.17.1.1')}"))

    assert found["withheld"] == {"code": "benign-list", "list": "cloudflare"}
