"""``/api/feeds/agent-update`` and ``/api/agents``: versions, whole packages and deltas, who asked."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.http.conftest import (
    FEEDS_ONLY,
    Api,
    LiveServer,
    Start,
    bad_fields,
    fresh_domain,
    fresh_ip,
    item,
    ok,
    refused,
    within,
)

PATH = "/api/feeds/agent-update"
VERSION = re.compile(r"v\d{8}\.\d{6}")


def update(api: Api, **params: Any) -> Any:
    """An update package."""
    return ok(api.get(PATH, params=params))


def version_with(api: Api, value: str, *, listed: bool = True) -> str:
    """The first version that lists a value (or no longer does)."""

    def holds() -> bool:
        lists = update(api)["iocs"]
        return any(value in values for values in lists.values()) is listed

    assert within(10, holds)
    return str(update(api)["version"])


def test_a_package_is_as_agreed(api: Api) -> None:
    package = update(api)

    assert VERSION.fullmatch(package["version"])
    assert package["version"][1:9] == datetime.now(UTC).strftime("%Y%m%d")
    assert package["full"] is True
    assert package["rules"] == {"atr": {"added": 0, "updated": 0, "removed": 0, "removedIds": [], "files": []}}
    assert package["iocs"].keys() == {"ipBlocklist", "domainBlocklist", "hashBlocklist"}
    assert package["config"]["heartbeatInterval"] > 0
    assert package["config"]["logLevel"] in {"debug", "info", "warning", "error"}


def test_lists_hold_hosts_of_the_default_reputation_only(api: Api) -> None:
    host, name, digest = fresh_ip(), fresh_domain(), "12" * 32
    network, mild, zero = "91.235.4.0/24", fresh_ip(), "91.174.0.0/32"
    api.report(
        item(host),
        item(name, "domain"),
        item(digest, "hash"),
        item(network),
        item(mild, severity="low", confidence=0.1),
        item(zero),
        item("http://agent.xyz/x", "url"),
    )
    version_with(api, digest)
    lists = update(api)["iocs"]

    assert {host, zero} <= set(lists["ipBlocklist"])
    assert not {network, mild} & set(lists["ipBlocklist"])
    assert name in lists["domainBlocklist"]
    assert digest in lists["hashBlocklist"]
    assert sorted(lists["ipBlocklist"]) == sorted(api.blocked(hosts="true"))


def test_versions_grow_with_every_change_and_not_without(api: Api) -> None:
    versions = []
    for _ in range(2):
        value = fresh_ip()
        api.report(item(value))
        versions.append(version_with(api, value))

    assert versions[0] < versions[1]
    assert {update(api)["version"] for _ in range(3)} == {versions[-1]}


def test_versions_grow_over_a_restart(start: Start) -> None:
    server = start()
    value = fresh_ip()
    server.client().report(item(value))
    before = version_with(server.client(), value)
    server.stop()

    again = start().client()

    assert update(again)["version"] == before
    assert update(again, currentVersion=before)["full"] is False
    other = fresh_ip()
    again.report(item(other))
    assert version_with(again, other) > before


def test_lists_are_whole_for_a_known_version_unless_a_delta_is_asked(api: Api) -> None:
    before, new = update(api), fresh_ip()
    api.report(item(new))
    version_with(api, new)

    whole = update(api, currentVersion=before["version"])

    assert whole["full"] is False
    assert {*before["iocs"]["ipBlocklist"], new} <= set(whole["iocs"]["ipBlocklist"])
    assert "removed" not in whole["iocs"]


def test_a_delta_holds_what_came_and_what_left(api: Api) -> None:
    stays, leaves, digest = fresh_ip(), fresh_ip(), "34" * 32
    api.report(item(stays), item(leaves))
    known = version_with(api, leaves)
    comes, name = fresh_ip(), fresh_domain()
    api.report(item(comes), item(name, "domain"), item(digest, "hash"))
    api.sight(leaves, kind="false-positive")
    version_with(api, digest)
    version_with(api, leaves, listed=False)

    delta = update(api, currentVersion=known, delta="true")

    assert delta["full"] is False
    assert delta["version"] > known
    lists = delta["iocs"]
    assert (lists["ipBlocklist"], lists["domainBlocklist"], lists["hashBlocklist"]) == ([comes], [name], [digest])
    assert lists["removed"] == {"ip": [leaves], "domain": [], "hash": []}


def test_what_came_and_went_between_two_versions_is_told_as_gone(api: Api) -> None:
    known, visitor = update(api)["version"], fresh_ip()
    api.report(item(visitor))
    version_with(api, visitor)
    api.sight(visitor, kind="false-positive")
    version_with(api, visitor, listed=False)

    delta = update(api, currentVersion=known, delta="true")["iocs"]

    assert visitor not in delta["ipBlocklist"]
    assert visitor in delta["removed"]["ip"], "a list may have held it before its version was entered"


def test_deltas_lead_from_any_version_to_the_present(api: Api) -> None:
    """An agent that applies deltas has, at every version, what a whole package would hold."""
    package = update(api)
    held, version = set(package["iocs"]["ipBlocklist"]), package["version"]
    values: list[str] = []
    for turn in range(3):
        values.append(fresh_ip())
        api.report(item(values[-1]))
        if turn:
            api.sight(values[turn - 1], kind="false-positive")
        version_with(api, values[-1])
        delta = update(api, currentVersion=version, delta="true")
        held = (held | set(delta["iocs"]["ipBlocklist"])) - set(delta["iocs"]["removed"]["ip"])
        version = delta["version"]
    current = update(api, currentVersion=version, delta="true")
    held = (held | set(current["iocs"]["ipBlocklist"])) - set(current["iocs"]["removed"]["ip"])

    assert held == set(update(api)["iocs"]["ipBlocklist"])


def test_an_unknown_version_gets_the_whole_package(api: Api) -> None:
    whole = update(api)

    for version in ("v20000101.000001", "v29991231.000001", "v20000101", "nonsense", "", "v1"):
        for delta in ("true", "false"):
            package = update(api, currentVersion=version, delta=delta)
            assert package["full"] is True, version
            assert package["iocs"]["ipBlocklist"] == whole["iocs"]["ipBlocklist"], version


def test_a_plain_day_is_accepted_as_a_version(api: Api) -> None:
    version = update(api)["version"]

    package = update(api, currentVersion=version[:9], delta="true")

    assert package["full"] is False
    assert package["version"] == version


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"agentId": "with space"}, "agentId"),
        ({"agentId": "a" * 65}, "agentId"),
        ({"agentId": ""}, "agentId"),
        ({"agentId": "line\n"}, "agentId"),
        ({"agentId": "ümlaut"}, "agentId"),
        ({"currentVersion": "v" * 65}, "currentVersion"),
        ({"hostname": "h" * 254}, "hostname"),
        ({"delta": "maybe"}, "delta"),
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_is_refused(api: Api, params: dict[str, str], field: str) -> None:
    assert bad_fields(api.get(PATH, params=params)) == [field]


def test_an_agent_that_asks_is_remembered(server: LiveServer) -> None:
    api, version = server.client(), update(server.client())["version"]
    asking = server.client(FEEDS_ONLY)
    update(asking, agentId="edge-1", hostname="edge.internal", agentVersion="2.3.4", currentVersion=version)
    first = ok(api.get("/api/agents/edge-1"))

    update(asking, agentId="edge-1")

    second = ok(api.get("/api/agents/edge-1"))
    assert first.keys() == {"id", "hostname", "version", "lastSeen", "ruleVersion"}
    assert (first["id"], first["hostname"], first["version"]) == ("edge-1", "edge.internal", "2.3.4")
    assert first["ruleVersion"] == version
    assert {name: second[name] for name in ("id", "hostname", "version")} == {
        name: first[name] for name in ("id", "hostname", "version")
    }
    assert second["lastSeen"] > first["lastSeen"]
    assert second["lastSeen"].endswith("Z")


def test_agents_are_listed_in_pages(api: Api) -> None:
    for number in range(5):
        update(api, agentId=f"listed-{number}")

    answer = api.get("/api/agents", params={"limit": 2, "page": 2})

    everyone = [agent["id"] for agent in ok(api.get("/api/agents", params={"limit": 200}))]
    assert {f"listed-{number}" for number in range(5)} <= set(everyone)
    assert [agent["id"] for agent in ok(answer)] == everyone[2:4]
    assert answer.json()["pagination"]["total"] == len(everyone)


def test_a_stranger_is_not_remembered(start: Start) -> None:
    server = start(TC_PUBLIC_READ="true")

    update(server.client(None), agentId="stranger")

    refused(server.client().get("/api/agents/stranger"), 404, "not_found")
    assert ok(server.client().get("/api/agents")) == []


def test_an_unknown_agent_is_a_404(api: Api) -> None:
    assert refused(api.get("/api/agents/nobody"), 404, "not_found")["error"] == "Agent not found"
