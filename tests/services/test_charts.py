"""Every chart, over random histories, is what counting the reports themselves gives."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.clock import NOW
from tests.services.conftest import System, claim
from threatcloud.domain.charts import Granularity, HourCount, Rates
from threatcloud.domain.indicator import IndicatorType, detect
from threatcloud.domain.report import SightingKind
from threatcloud.domain.times import DAY_MS, HOUR_MS, MINUTE_MS, iso
from threatcloud.services.access import LOCAL_OPERATOR
from threatcloud.services.charts import Charts, Trends
from threatcloud.services.screening import Screener

VALUES = (
    *(f"91.240.118.{number}" for number in range(1, 6)),
    "8.8.8.8",
    "2a01:4f8::1",
    *(f"bad-{number}.xyz" for number in range(5)),
    "http://bad.xyz/1",
    "http://91.240.118.9:8080/1",
    "ab" * 32,
)
CATEGORIES = (None, "c2", "scanner", "phishing")
#: T1086 was revoked by T1059.001; T9999 never was.
TECHNIQUES = ("T1110", "T1110.001", "T1086", "T1059.001", "T1078", "T9999")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    value: str
    at: int
    category: str | None
    country: str | None
    techniques: tuple[str, ...]
    ports: tuple[int, ...]


def random_report(chance: random.Random) -> Said:
    ago = chance.choice([DAY_MS, 7 * DAY_MS, 14 * DAY_MS, 40 * DAY_MS, 200 * DAY_MS])
    return Said(
        chance.choice(VALUES),
        NOW + 50 * MINUTE_MS - chance.randrange(ago),
        chance.choice(CATEGORIES),
        chance.choice([None, "DE", "FR", "XX"]),
        tuple(chance.sample(TECHNIQUES, chance.randrange(3))),
        tuple(chance.sample([22, 80, 443], chance.randrange(2))),
    )


class History:
    """A system that was told random reports, and the reports."""

    def __init__(self, system: System, screener: Screener, chance: random.Random) -> None:
        self.charts = Charts(system.store, screener, system.clock)
        self.run = system.run
        self.locate = screener.locator.country
        self.said = [random_report(chance) for _ in range(chance.randrange(80))]
        for first in range(0, len(self.said), 20):
            claims = [_claim(item) for item in self.said[first : first + 20]]
            system.run(system.reporting.submit(claims, LOCAL_OPERATOR))
        for value in sorted({item.value for item in self.said})[:3]:
            for kind in (SightingKind.POSITIVE, SightingKind.NEGATIVE):
                system.run(system.reporting.sight(value, "manual", kind, {}, LOCAL_OPERATOR))
            self.said.append(Said(value, system.clock.now, None, None, (), ()))

    def of(self, value: str) -> list[Said]:
        return [item for item in self.said if item.value == value]

    def values(self, kind: IndicatorType | None = None) -> Iterator[str]:
        return (value for value in VALUES if self.of(value) and kind in {None, detect(value).type})

    def first_seen(self, value: str) -> int:
        return min(item.at for item in self.of(value))

    def category(self, value: str) -> str | None:
        """All reports weigh the same here: the newest that says one."""
        named = [(item.at, item.category) for item in self.of(value) if item.category]
        return max(named)[1] if named else None

    def own_country(self, value: str) -> str | None:
        host = urlsplit(value).hostname or value
        return self.locate(host) if detect(host).type is IndicatorType.IP else None

    def country(self, value: str) -> str | None:
        said = [item.country for item in self.of(value) if item.country]
        return self.own_country(value) or (said[-1] if said else None)

    def sightings(self, since: int, until: int = NOW + DAY_MS) -> list[Said]:
        return [item for item in self.said if since <= item.at < until]


def _claim(item: Said) -> Any:
    metadata: dict[str, Any] = {"mitreIds": list(item.techniques), "ports": list(item.ports)}
    if item.country:
        metadata["country"] = item.country
    return claim(item.value, category=item.category, timestamp=iso(item.at), metadata=metadata)


@pytest.fixture(params=range(30))
def history(request: pytest.FixtureRequest, system: System, screener: Screener) -> History:
    return History(system, screener, random.Random(request.param))


def since_of(days: int) -> int:
    """When a period of so many times 24 hours begins: NOW is the start of an hour, which is in it."""
    return NOW + HOUR_MS - days * DAY_MS


def starts(width: Granularity, days: int) -> list[int]:
    """The starts of all buckets, by the calendar."""
    now = EPOCH + timedelta(milliseconds=NOW)
    if width is Granularity.HOUR:
        found = [now - timedelta(hours=back) for back in range(24 * days)]
    else:
        found = [now.replace(hour=0) - timedelta(days=back) for back in range(days)]
    if width is Granularity.WEEK:
        found = [day - timedelta(days=day.weekday()) for day in found]
    return sorted({(start - EPOCH) // timedelta(milliseconds=1) for start in found})


@pytest.mark.parametrize("width", Granularity)
def test_timeseries(history: History, width: Granularity) -> None:
    for days, kind, category in ((1, None, None), (7, None, "c2"), (30, IndicatorType.IP, None), (90, None, None)):
        found = history.run(history.charts.timeseries(width, days, kind, category))
        edges = starts(width, days)
        expected = []
        for start, end in zip(edges, [*edges[1:], NOW + DAY_MS], strict=True):
            new = [
                value
                for value in history.values(kind)
                if start <= history.first_seen(value) < end and category in {None, history.category(value)}
            ]
            seen = [
                item
                for item in history.sightings(start, end)
                if kind in {None, detect(item.value).type} and category in {None, item.category}
            ]
            expected.append(HourCount(start // HOUR_MS, len(new), len(seen)))
        assert found == expected


def test_geo(history: History) -> None:
    for days, kind in ((1, None), (7, None), (30, IndicatorType.DOMAIN), (90, IndicatorType.IP)):
        seen = {item.value for item in history.sightings(since_of(days))}
        countries = Counter(
            country for value in history.values(kind) if value in seen and (country := history.country(value))
        )
        found = history.run(history.charts.geo(days, kind, 2))
        assert found.total == countries.total()
        expected = sorted(countries.items(), key=lambda item: (-item[1], item[0]))[:2]
        assert [(item.code, item.indicators) for item in found.countries] == expected
        for item in found.countries:
            assert item.percentage == round(100 * item.indicators / countries.total(), 2)


@pytest.mark.parametrize("days", [1, 7, 90])
def test_trends(history: History, days: int) -> None:
    since, before = since_of(days), since_of(2 * days)
    now = Counter(item.category or "uncategorized" for item in history.sightings(since))
    then = Counter(item.category or "uncategorized" for item in history.sightings(before, since))
    found: Trends = history.run(history.charts.trends(days, 25.0))
    expected = {}
    for category in now | then:
        change = 100 * (now[category] - then[category]) / then[category] if then[category] else 100.0
        if abs(change) >= 25:
            direction = "increasing" if change > 0 else "decreasing"
            expected[category] = (direction, round(abs(change), 2), Rates(now[category], then[category]))
    assert {item.trend.category: tuple(item.trend[1:]) for item in found.trends} == expected
    changes = [item.trend.change_percent for item in found.trends]
    assert changes == sorted(changes, reverse=True)


def test_the_words_of_trends(history: History) -> None:
    """Each country, port and technique named with a change did change so."""
    since, before = since_of(7), since_of(14)
    for trend, description in history.run(history.charts.trends(7, 0)).trends:
        changes: Counter[str] = Counter()
        for item in history.sightings(before):
            if (item.category or "uncategorized") == trend.category:
                sign = 1 if item.at >= since else -1
                country = history.own_country(item.value) or item.country
                changes.update({f"country {country}": sign} if country else {})
                changes.update({f"port {port}": sign for port in item.ports})
                for technique in item.techniques:
                    resolved = history.charts._screener.attack.resolve(technique)
                    changes[resolved.id if resolved else technique] += sign
        named = description.partition(" Of the ")[2].partition(": ")[2].removesuffix(".")
        for part in named.split("), ") if named else ():
            name, _, change = part.removesuffix(")").rpartition(" (")
            if name.startswith(("port", "T")):
                key = name if name.startswith("port") else name.split(" ")[0]
                assert changes[key] == int(change), description
            else:
                assert int(change) in {count for key, count in changes.items() if key.startswith("country")}
        up = trend.direction == "increasing"
        least = abs(trend.rates.current - trend.rates.previous) / 20
        assert bool(named) == any((count > 0) == up and abs(count) >= least for count in changes.values())


def test_emerging_threats(history: History, system: System) -> None:
    seen = Counter(item.value for item in history.sightings(since_of(1)))
    expected = {
        value: count
        for value, count in seen.items()
        if history.first_seen(value) >= since_of(7) and system.find(value).status == "active"
    }
    found = history.run(history.charts.trends(7, 10.0)).emerging
    assert {item.found.indicator.value: item.found.sightings for item in found} == expected
    counts = [item.found.sightings for item in found]
    assert counts == sorted(counts, reverse=True)
    assert all(item.found.first_seen == history.first_seen(item.found.indicator.value) for item in found)


SUCCESSOR = {"T1086": "T1059.001"}
TACTIC = {
    "T1110": "Credential Access",
    "T1110.001": "Credential Access",
    "T1059.001": "Execution",
    "T1078": "Initial Access",
}


@pytest.mark.parametrize("days", [7, 30, 90])
def test_heatmap(history: History, days: int) -> None:
    counts = Counter(
        SUCCESSOR.get(technique, technique)
        for item in history.sightings(since_of(days))
        for technique in item.techniques
    )
    found = history.run(history.charts.heatmap(days))
    assert [(item.id, item.sightings) for item in found.techniques] == sorted(
        counts.items(), key=lambda item: (-item[1], item[0])
    )
    assert all(item.tactic == TACTIC.get(item.id) for item in found.techniques)
    tactics: Counter[str] = Counter()
    for technique, count in counts.items():
        if technique in TACTIC:
            tactics[TACTIC[technique]] += count
    assert found.tactics == tactics


def test_at_most_twenty_threats_emerge_and_they_are_the_most_sighted(system: System, screener: Screener) -> None:
    values = [f"new-{number}.xyz" for number in range(25)]
    system.report(*values)
    system.report(*values[5:10], values[7], values[7])
    found = system.run(Charts(system.store, screener, system.clock).trends(7, 10.0)).emerging
    assert len(found) == 20
    assert (found[0].found.indicator.value, found[0].found.sightings) == (values[7], 4)
    assert {item.found.indicator.value for item in found[:5]} == set(values[5:10])
