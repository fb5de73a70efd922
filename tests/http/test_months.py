"""A month of sightings is forgotten: what was concluded from them stays, and nothing that goes later counts twice."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clock import Clock
from tests.engines import outside
from tests.http.conftest import Api, LiveServer, Start, fresh_ip, item, ok, refused, within
from tests.http.test_retention import JOB_S, counts
from tests.http.test_withdrawal import make_key, withdraw
from threatcloud import bootstrap
from threatcloud.domain.times import DAY_MS, HOUR_MS, iso, month_start
from threatcloud.storage.rollups import TABLES

KEEP_ALL = {"TC_RETENTION_DAYS": "0"}
KEEP_ONE = {**KEEP_ALL, "TC_SIGHTINGS_KEPT_MONTHS": "1"}
IN_MARCH, IN_MAY = month_start(Clock().now) + 6 * DAY_MS, month_start(Clock().now, 2) + DAY_MS


class Aging:
    """A server with a clock to turn, in March, which has its jobs run all the time once it has been started anew."""

    def __init__(self, start: Start, clock: Clock, patch: pytest.MonkeyPatch) -> None:
        self._start = start
        self._patch = patch
        self.clock = clock
        clock.now = IN_MARCH
        patch.setattr(bootstrap, "clock", clock)
        self.restart(**KEEP_ALL)

    def restart(self, **changes: str) -> None:
        self.server: LiveServer = self._start(**changes)
        self.api: Api = self.server.client()

    def come_to(self, time: int, **changes: str) -> None:
        """Starts anew at a time, with other settings, and with jobs that run all the time."""
        self.server.stop()
        self.clock.now = time
        self._patch.setattr(bootstrap, "_HOUR_S", JOB_S)
        self.restart(**changes)

    def forget(self) -> None:
        """In May: March is forgotten."""
        self.come_to(IN_MAY, **KEEP_ONE)
        self.wait_for_rows(0, before=month_start(IN_MAY, -1))

    def wait_for_rows(self, rows: int, before: int) -> None:
        assert within(15, lambda: self.stored(before) == rows)

    def stored(self, before: int) -> int:
        """How many sightings from before a time are stored."""
        found = outside(self.server.settings.place, f"SELECT count(*) FROM sighting WHERE observed_at < {before}")
        return int(found[0][0])

    def least_count(self) -> int:
        """The least number in any cell of a rollup."""
        columns = [(table, column) for table, (_, names) in TABLES.items() for column in names.split(", ")]
        found = [outside(self.server.settings.place, f"SELECT min({column}) FROM {table}") for table, column in columns]
        return min(int(rows[0][0]) for rows in found if rows[0][0] is not None)


@pytest.fixture
def aging(start: Start, monkeypatch: pytest.MonkeyPatch) -> Aging:
    return Aging(start, Clock(), monkeypatch)


def listed(api: Api, value: str) -> list[str]:
    """When each sighting that is still told of a value was."""
    return [found["timestamp"] for found in ok(api.get("/api/sightings", params={"value": value}))]


def charted(api: Api) -> list[int]:
    series = ok(api.get("/api/query/timeseries", params={"period": "90d"}))["series"]
    return [point["sightings"] for point in series]


def told(api: Api, value: str) -> list[Any]:
    """All that is concluded of a value, and all that is counted."""
    explained = ok(api.get(f"/api/iocs/{value}/explain"))
    stats = {name: count for name, count in ok(api.get("/api/stats")).items() if name != "updatedAt"}
    heat = ok(api.get("/api/query/mitre-heatmap", params={"period": "90d"}))
    return [api.detail(value), explained, stats, charted(api), heat, counts(api)]


def test_a_month_is_forgotten_and_what_was_concluded_stays(aging: Aging) -> None:
    value = fresh_ip()
    said: dict[str, Any] = {"category": "c2", "metadata": {"tags": ["x"], "mitreIds": ["T1110"], "port": 22}}
    aging.api.report(item(value, **said), item(value, source="other"))
    aging.api.sight(value)
    aging.api.sight(value, kind="negative")
    aging.clock.now = month_start(IN_MARCH, 1)
    aging.api.sight(value)
    april = iso(aging.clock.now)
    aging.come_to(IN_MAY, **KEEP_ALL)
    assert within(15, lambda: not aging.api.detail(value)["published"])  # by age, which has its own job
    before = told(aging.api, value)
    assert len(listed(aging.api, value)) == 5

    aging.forget()

    assert told(aging.api, value) == before
    assert listed(aging.api, value) == [april]
    assert [found["value"] for found in ok(aging.api.get("/api/iocs", params={"tag": "x"}))] == [value]
    aging.api.sight(value)
    detail = aging.api.detail(value)
    assert (detail["sightings"], detail["firstSeen"], detail["lastSeen"]) == (5, iso(IN_MARCH), iso(IN_MAY))
    assert sum(charted(aging.api)) == 5
    jobs = aging.api.get("/metrics").text
    assert 'threatcloud_job_failures_total{job="months"} 0' in jobs


def test_nothing_is_forgotten_unless_somebody_says_so(aging: Aging) -> None:
    value = fresh_ip()
    aging.api.report(item(value))
    aging.come_to(IN_MAY + 5_000 * DAY_MS, **KEEP_ALL)
    assert not within(4 * JOB_S, lambda: listed(aging.api, value) == [])


def erased(aging: Aging, value: str) -> None:
    assert ok(aging.api.delete(f"/api/iocs/{value}"))["erased"]["sightings"] == 1


def purged(aging: Aging, value: str) -> None:
    aging.server.stop()
    aging.clock.now += 2 * DAY_MS
    aging.restart(TC_RETENTION_DAYS="1", TC_PURGE_GRACE_DAYS="0", TC_SIGHTINGS_KEPT_MONTHS="1")
    assert within(15, lambda: aging.api.detail(value)["status"] == "expired")
    aging.clock.now += DAY_MS
    assert within(15, lambda: aging.api.get(f"/api/iocs/{value}").status_code == 404)


def withdrawn(aging: Aging, value: str) -> None:
    keys = [key["id"] for key in ok(aging.api.get("/api/keys")) if key["name"] == "reporter"]
    found = withdraw(aging.api, keys[0])
    assert found == {"pending": False, "sightings": 1, "removedIocs": 1, "changedIocs": 0}


@pytest.mark.parametrize("go", [erased, purged, withdrawn])
def test_what_goes_afterwards_is_counted_off_only_where_it_is_stored(
    aging: Aging, go: Callable[[Aging, str], None]
) -> None:
    value = fresh_ip()
    _, reporter = make_key(aging.api, aging.server)
    said: dict[str, Any] = {"category": "c2", "metadata": {"mitreIds": ["T1110"], "tags": ["x"], "port": 22}}
    for _ in range(3):
        reporter.report(item(value, **said))
    aging.clock.now = month_start(IN_MARCH, 1)
    reporter.report(item(value, **said))
    aging.forget()
    assert (counts(aging.api), sum(charted(aging.api))) == ((1, 1, 4), 4)

    go(aging, value)

    refused(aging.api.get("/api/sightings", params={"value": value}), 404, "not_found")
    assert counts(aging.api) == (0, 0, 0)
    assert sum(charted(aging.api)) == 3  # of March, for good
    assert ok(aging.api.get("/api/iocs", params={"tag": "x"})) == []
    assert aging.least_count() >= 0
    aging.api.report(item(value))
    assert (aging.api.detail(value)["sightings"], counts(aging.api)[2], sum(charted(aging.api))) == (1, 1, 4)


def test_a_withdrawal_takes_back_what_was_concluded_of_a_month_that_is_forgotten(aging: Aging) -> None:
    both, theirs = fresh_ip(), fresh_ip()
    key_id, reporter = make_key(aging.api, aging.server)
    aging.api.report(item(both, severity="low", confidence=0.2, category="scanner", tlp="amber"))
    alone = aging.api.detail(both)
    reporter.report(item(both, category="c2", source="theirs", metadata={"tags": ["bad"]}), item(theirs))
    aging.forget()

    assert withdraw(aging.api, key_id) == {"pending": False, "sightings": 0, "removedIocs": 1, "changedIocs": 1}

    after = aging.api.detail(both)
    stays = ("category", "severity", "sightings", "firstSeen", "lastSeen", "source", "sources", "confidence", "tlp")
    assert {name: after.get(name) for name in stays} == {name: alone.get(name) for name in stays}
    assert ok(aging.api.get("/api/iocs", params={"tag": "bad"})) == []
    assert aging.api.get(f"/api/iocs/{theirs}").status_code == 404
    assert (counts(aging.api), sum(charted(aging.api)), aging.least_count()) == ((1, 1, 1), 3, 0)
    assert withdraw(aging.api, key_id) == {"pending": False, "sightings": 0, "removedIocs": 0, "changedIocs": 0}


def test_what_had_ended_stays_so_when_another_is_withdrawn(aging: Aging) -> None:
    value = fresh_ip()
    key_id, reporter = make_key(aging.api, aging.server)
    reporter.report(item(value))
    aging.api.report(item(value, expiresAt=iso(aging.clock.now + DAY_MS)))
    aging.forget()
    assert within(5, lambda: aging.api.detail(value)["status"] == "expired")
    assert withdraw(aging.api, key_id)["changedIocs"] == 1
    assert aging.api.detail(value)["status"] == "expired"


def test_what_comes_late_counts_and_goes_with_the_next_month(aging: Aging) -> None:
    value, april = fresh_ip(), month_start(IN_MARCH, 1)
    aging.api.report(item(value))
    aging.forget()
    aging.api.report(item(value, timestamp=iso(IN_MARCH + HOUR_MS)))
    assert listed(aging.api, value) == [iso(IN_MARCH + HOUR_MS)]
    assert (aging.api.detail(value)["sightings"], sum(charted(aging.api))) == (2, 2)

    aging.clock.now = month_start(IN_MAY, 1)
    aging.wait_for_rows(0, before=april)
    assert (aging.api.detail(value)["sightings"], counts(aging.api)) == (2, (1, 1, 2))
    ok(aging.api.delete(f"/api/iocs/{value}"))
    assert (counts(aging.api), aging.least_count()) == ((0, 0, 0), 0)


@pytest.mark.parametrize("years", [0, 20])
def test_times_far_from_now_are_stored(aging: Aging, years: int) -> None:
    """Also after the server slept for years, and where an hour ahead is another month."""
    if years:
        aging.come_to(month_start(IN_MARCH, 12 * years) - 1, **KEEP_ALL)
    times = [1, IN_MARCH, aging.clock.now, aging.clock.now + HOUR_MS]
    value = fresh_ip()
    aging.api.report(*(item(value, timestamp=iso(time)) for time in times))
    assert listed(aging.api, value) == [iso(time) for time in sorted(times, reverse=True)]
