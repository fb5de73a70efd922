"""Over HTTP: a large list that expires at once stays for every consumer until an operator confirms."""

from typing import Any

import pytest

from tests.clock import Clock
from tests.http.conftest import READER, Api, Start, item, ok, refused, within
from threatcloud import bootstrap
from threatcloud.domain.times import DAY_MS, iso

ENTRIES = 1_100
LASTING = 100
VALUES = [f"bad-{number}.xyz" for number in range(ENTRIES)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(bootstrap, "clock", turned)
    monkeypatch.setattr(bootstrap, "_HOUR_S", 0.4)
    return turned


def report_all(api: Api, ends_at: str) -> None:
    """A hundred domains that last and a thousand that end."""
    for start in range(0, ENTRIES, 100):
        end: dict[str, Any] = {} if start < LASTING else {"expiresAt": ends_at}
        api.report(*(item(value, kind="domain", **end) for value in VALUES[start : start + 100]))
    assert within(15, lambda: len(api.blocked("domain")) == ENTRIES)


def domains(api: Api) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {feed["name"]: feed for feed in ok(api.get("/api/feeds"))}
    assert list(found) == ["ip-blocklist", "domain-blocklist", "hash-blocklist"]
    return found["domain-blocklist"]


def package(api: Api, **params: str) -> Any:
    return ok(api.get("/api/feeds/agent-update", params=params))["iocs"]


def held_entries(api: Api) -> str:
    wanted = 'threatcloud_feed_held_entries{feed="domain-blocklist"} '
    return next(line for line in api.get("/metrics").text.splitlines() if line.startswith(wanted)).removeprefix(wanted)


def test_a_list_that_would_be_halved_is_held_for_everybody_until_confirmed(start: Start, clock: Clock) -> None:
    server = start()
    api = server.client()
    report_all(api, iso(clock.now + DAY_MS))
    assert domains(api) == {
        "name": "domain-blocklist",
        "state": "current",
        "entries": ENTRIES,
        "heldSince": None,
        "wouldHave": None,
    }
    refused(api.post("/api/feeds/domain-blocklist/confirm"), 409, "conflict")
    whole = api.get("/api/feeds/domain-blocklist")
    version, etag = whole.headers["x-feed-version"], whole.headers["etag"]

    clock.now += DAY_MS
    assert within(15, lambda: domains(api)["state"] == "held")
    found = domains(api)
    assert (found["entries"], found["wouldHave"]) == (ENTRIES, LASTING)
    assert found["heldSince"] >= iso(clock.now)
    assert held_entries(api) == "1000.0"
    assert ok(api.get("/api/stats"))["heldFeeds"] == ["domain-blocklist"]
    assert api.detail(VALUES[-1])["status"] == "expired"

    # A day later nothing has moved: the lists, the package, their deltas, what retention would remove.
    clock.now += DAY_MS
    server.stop()
    server = start()
    api = server.client()
    assert api.get("/api/feeds/domain-blocklist", headers={"If-None-Match": etag}).status_code == 304
    assert len(api.blocked("domain", hosts="true")) == ENTRIES
    assert len(package(api)["domainBlocklist"]) == ENTRIES
    assert package(api, currentVersion=version, delta="true")["removed"]["domain"] == []

    # What is erased leaves the held list at once.
    ok(api.delete(f"/api/iocs/{VALUES[-1]}"))
    assert VALUES[-1] not in api.blocked("domain")
    assert len(api.blocked("domain")) == ENTRIES - 1
    version = api.get("/api/feeds/domain-blocklist").headers["x-feed-version"]

    refused(server.client(READER).post("/api/feeds/domain-blocklist/confirm"), 403, "forbidden")
    refused(api.post("/api/feeds/iocs/confirm"), 404, "not_found")
    confirmed = ok(api.post("/api/feeds/domain-blocklist/confirm"))
    assert (confirmed["state"], confirmed["entries"]) == ("current", LASTING)
    assert within(5, lambda: set(api.blocked("domain")) == set(VALUES[:LASTING]))
    assert len(package(api, currentVersion=version, delta="true")["removed"]["domain"]) == ENTRIES - LASTING - 1
    assert len(package(api)["domainBlocklist"]) == LASTING
    entry = ok(api.get("/api/audit-log", params={"action": "update"}))[0]
    assert (entry["resource"], entry["details"]) == (
        "feed",
        {"feed": "domain-blocklist", "before": ENTRIES - 1, "after": LASTING},
    )
    assert held_entries(api) == "0.0"
    assert ok(api.get("/api/stats"))["heldFeeds"] == []


def test_what_is_withdrawn_leaves_at_once_however_much_it_is(start: Start, clock: Clock) -> None:
    api = start().client()
    report_all(api, iso(clock.now + DAY_MS))
    key = next(key["id"] for key in ok(api.get("/api/keys")) if "admin" in key["scopes"])
    ok(api.delete(f"/api/keys/{key}/contributions"))
    assert within(5, lambda: api.blocked("domain") == [])
    assert domains(api)["state"] == "current"
