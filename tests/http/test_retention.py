"""Time passes: what nobody sees any more expires, leaves every feed by its deltas, and is removed."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clock import Clock
from tests.http.conftest import Api, LiveServer, Start, encoded, fresh_domain, fresh_ip, item, ok, refused, within
from threatcloud import bootstrap
from threatcloud.domain.times import DAY_MS, iso

#: How often jobs that run each hour run here.
JOB_S = 0.4


class Aging:
    """A server with a clock to turn, whose hourly jobs run all the time."""

    def __init__(self, server: LiveServer, clock: Clock) -> None:
        self.server = server
        self.api = server.client()
        self.clock = clock

    def pass_days(self, days: float) -> None:
        self.clock.now += int(days * DAY_MS)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        assert within(15, holds)

    def version(self) -> str:
        return self.api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]

    def status(self, value: str) -> str:
        return str(self.api.get(f"/api/iocs/{encoded(value)}").json()["data"]["status"])


@pytest.fixture
def aging(start: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Aging]:
    clock = Clock()
    monkeypatch.setattr(bootstrap, "clock", clock)
    monkeypatch.setattr(bootstrap, "_HOUR_S", JOB_S)
    return lambda **changes: Aging(start(**changes), clock)


def delta(api: Api, since: str, kind: str = "ip") -> list[str]:
    answer = api.get(f"/api/feeds/{kind}-blocklist", params={"since": since})
    assert answer.status_code == 200, answer.text
    return [line for line in answer.text.splitlines() if not line.startswith("#")]


def left_since(api: Api, since: str) -> list[str]:
    return [gone["value"] for gone in ok(api.get("/api/feeds/iocs", params={"since": since}))["removed"]]


def counts(api: Api) -> tuple[int, int, int]:
    found = ok(api.get("/api/stats"))
    assert found["totalIocs"] == sum(found["byType"].values()) == sum(found["byCategory"].values())
    return found["totalIocs"], found["activeIocs"], found["totalSightings"]


def charted(api: Api) -> tuple[int, int]:
    series = ok(api.get("/api/query/timeseries", params={"period": "90d"}))["series"]
    return sum(point["newIocs"] for point in series), sum(point["sightings"] for point in series)


def test_what_nobody_sees_expires_and_is_removed_and_deltas_tell_it(aging: Callable[..., Aging]) -> None:
    world = aging(TC_RETENTION_DAYS="20", TC_PURGE_GRACE_DAYS="30")
    api = world.api
    old, seen, name = fresh_ip(), fresh_ip(), fresh_domain()
    api.report(item(old, category="c2", metadata={"port": 22, "tags": ["a"], "relatedTo": seen}), item(seen))
    api.report(item(name, kind="domain"))
    world.wait_for(lambda: set(api.blocked()) == {old, seen} and api.blocked("domain") == [name])
    before, began = world.version(), iso(world.clock.now)
    world.pass_days(15)
    api.report(item(seen))
    world.pass_days(5.5)
    world.wait_for(lambda: world.status(old) == "expired")

    assert (world.status(seen), world.status(name)) == ("active", "expired")
    world.wait_for(lambda: set(left_since(api, began)) == {old, name})
    assert counts(api) == (3, 1, 4)
    assert old not in api.blocked(maxReputation=100)
    world.wait_for(lambda: f"-{old}" in delta(api, before))

    world.pass_days(10)
    api.report(item(seen))
    world.pass_days(20.1)
    world.wait_for(lambda: world.status(old) == "unknown")
    world.wait_for(lambda: world.status(name) == "unknown")
    assert counts(api)[0] == 1
    assert api.detail(seen)["sightings"] == 3
    assert ok(api.get("/api/iocs", params={"tag": "a"})) == []
    assert api.detail(seen)["relatedIocs"] == []
    refused(api.get("/api/sightings", params={"value": old}), 404, "not_found")


def test_a_delta_names_what_was_removed_meanwhile(aging: Callable[..., Aging]) -> None:
    world = aging(TC_RETENTION_DAYS="10", TC_PURGE_GRACE_DAYS="5")
    api = world.api
    old = fresh_ip()
    api.report(item(old))
    world.wait_for(lambda: api.blocked() == [old])
    before, began = world.version(), iso(world.clock.now)
    world.pass_days(11)
    world.wait_for(lambda: world.status(old) == "expired")
    world.pass_days(5.1)
    world.wait_for(lambda: world.status(old) == "unknown")

    world.wait_for(lambda: delta(api, before) == [f"-{old}"])
    assert left_since(api, began) == [old]
    package = ok(api.get("/api/feeds/agent-update", params={"currentVersion": before, "delta": "true"}))
    assert package["iocs"]["removed"]["ip"] == [old]

    newer = fresh_ip()
    api.report(item(newer), item(old))
    world.wait_for(lambda: set(api.blocked()) == {old, newer})
    world.wait_for(lambda: set(delta(api, before)) == {f"+{old}", f"+{newer}"})
    assert left_since(api, began) == []
    assert counts(api) == (2, 2, 2)


def test_a_report_brings_an_expired_one_back(aging: Callable[..., Aging]) -> None:
    world = aging(TC_RETENTION_DAYS="10", TC_PURGE_GRACE_DAYS="5")
    api, value = world.api, fresh_ip()
    api.report(item(value))
    world.pass_days(10.1)
    world.wait_for(lambda: world.status(value) == "expired")
    api.sight(value, kind="negative")
    assert world.status(value) == "expired"
    api.report(item(value))
    assert world.status(value) == "active"
    world.pass_days(9.9)
    world.wait_for(lambda: value not in api.blocked())  # by age; known it is
    assert (world.status(value), api.detail(value)["sightings"]) == ("active", 2)


def test_withheld_ones_and_networks_go_as_well(aging: Callable[..., Aging]) -> None:
    world = aging(TC_RETENTION_DAYS="10", TC_PURGE_GRACE_DAYS="5")
    api, network = world.api, "91.240.5.16/28"
    api.report(item("8.8.8.8"), item(network))
    assert [around["value"] for around in api.get("/api/iocs/91.240.5.17").json()["data"]["networks"]] == [network]
    world.pass_days(10.1)
    world.wait_for(lambda: world.status(network) == "expired")
    world.pass_days(5.1)
    world.wait_for(lambda: counts(api) == (0, 0, 0))
    assert api.get("/api/iocs/91.240.5.17").json()["data"]["networks"] == []
    assert charted(api) == (0, 0)
    api.report(item(network))
    assert world.status(network) == "active"


def test_nothing_goes_where_all_is_kept(aging: Callable[..., Aging]) -> None:
    world = aging(TC_RETENTION_DAYS="0", TC_PURGE_GRACE_DAYS="0")
    api, kept, ended = world.api, fresh_ip(), fresh_ip()
    api.report(item(kept), item(ended, expiresAt=iso(world.clock.now + DAY_MS)))
    world.pass_days(5000)
    world.wait_for(lambda: world.status(ended) == "expired")
    assert not within(4 * JOB_S, lambda: world.status(kept) != "active" or world.status(ended) != "expired")


def test_who_stayed_away_for_very_long_takes_the_whole(aging: Callable[..., Aging]) -> None:
    world = aging()
    api, value = world.api, fresh_ip()
    api.report(item(value))
    world.wait_for(lambda: api.blocked() == [value])
    before, began = world.version(), iso(world.clock.now)
    api.sight(value, kind="false-positive")
    api.sight(value, kind="false-positive")
    world.wait_for(lambda: api.blocked() == [])
    assert delta(api, before) == [f"-{value}"]
    world.pass_days(91)
    api.report(item(fresh_ip()))

    def is_gone() -> bool:
        return api.get("/api/feeds/ip-blocklist", params={"since": before}).status_code == 410

    world.wait_for(is_gone)
    refused(api.get("/api/feeds/iocs", params={"since": began}), 410, "gone")
    package = ok(api.get("/api/feeds/agent-update", params={"currentVersion": before, "delta": "true"}))
    assert package["full"]
    assert len(ok(api.get("/api/feeds/iocs"))["iocs"]) >= 1
    rows: Any = ok(api.get("/api/feeds/iocs", params={"since": iso(world.clock.now - DAY_MS)}))
    assert rows["removed"] == [] or value not in rows["removed"]
