"""``/api/query/…``: the shapes of charts, their defaults and bounds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import Api, Start, bad_fields, fresh_domain, fresh_ip, item, ok


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def chart(api: Api, name: str, **params: Any) -> Any:
    return ok(api.get(f"/api/query/{name}", params=params))


def test_an_empty_store_has_empty_charts(start: Start) -> None:
    api = start().client()
    found = chart(api, "timeseries")
    assert (found["granularity"], found["period"], len(found["series"])) == ("day", "30d", 30)
    assert {(point["newIocs"], point["sightings"]) for point in found["series"]} == {(0, 0)}
    assert chart(api, "geo") == {"period": "30d", "countries": [], "total": 0}
    assert chart(api, "trends") == {"periodDays": 7, "trends": [], "emergingThreats": []}
    assert chart(api, "mitre-heatmap") == {"period": "30d", "techniques": [], "tactics": {}}


def test_what_was_erased_leaves_no_technique_behind(start: Start) -> None:
    api = start().client()
    address = fresh_ip()
    api.report(item(address, metadata={"mitreId": "T1110"}))
    assert chart(api, "mitre-heatmap")["tactics"] == {"Credential Access": 1}

    ok(api.delete(f"/api/iocs/{address}"))

    assert chart(api, "mitre-heatmap") == {"period": "30d", "techniques": [], "tactics": {}}


def test_charts_of_some_reports(start: Start) -> None:
    api = start().client()
    address, name = fresh_ip(), fresh_domain()
    said = {"port": 22, "mitreId": "T1110", "country": "de"}
    api.report(item(name, "domain", category="c2", metadata=said), item(name, "domain", category="c2", metadata=said))
    api.report(item(name, "domain", category="c2", timestamp=ago(days=8)))
    api.report(item(address, category="scanner", timestamp=ago(days=9), metadata={"mitreId": "T1086"}))

    points = chart(api, "timeseries", type="domain", category="c2", period="90d", granularity="hour")["series"]
    assert len(points) == 90 * 24
    assert all(point["timestamp"].endswith(":00:00.000Z") for point in points)
    assert sum(point["newIocs"] for point in points) == 1
    assert sum(point["sightings"] for point in points) == 3
    weeks = chart(api, "timeseries", granularity="week")["series"]
    assert {datetime.fromisoformat(week["timestamp"]).weekday() for week in weeks} == {0}
    assert sum(week["sightings"] for week in weeks) == 4

    assert chart(api, "geo", type="domain", period="24h", limit=1) == {
        "period": "24h",
        "countries": [{"code": "DE", "name": "Germany", "count": 1, "percentage": 100.0}],
        "total": 1,
    }

    found = chart(api, "trends")
    assert [trend["category"] for trend in found["trends"]] == ["c2", "scanner"]
    assert found["trends"][0] == {
        "category": "c2",
        "direction": "increasing",
        "changePercent": 100.0,
        "currentRate": 2,
        "previousRate": 1,
        "description": "C2 sightings rose by 100 %: 2 in the last 7 days, 1 in the 7 days before. "
        "Of the rise: Germany (+2), port 22 (+2), T1110 Brute Force (+2).",
    }
    assert found["trends"][1]["direction"] == "decreasing"
    assert chart(api, "trends", minChange=100.5)["trends"] == []
    assert found["emergingThreats"] == []

    found = chart(api, "mitre-heatmap")
    assert [(item["id"], item["count"], item["intensity"]) for item in found["techniques"]] == [
        ("T1110", 2, "critical"),
        ("T1059.001", 1, "medium"),
    ]
    assert found["techniques"][0]["name"] == "Brute Force"
    assert found["techniques"][0]["tactic"] == "Credential Access"
    assert found["tactics"] == {"Credential Access": 2, "Execution": 1}


def test_new_and_much_seen_is_emerging(start: Start) -> None:
    api, value = start().client(), fresh_domain()
    api.report(*[item(value, "domain")] * 5)
    (threat,) = chart(api, "trends", periodDays=1)["emergingThreats"]
    assert threat.pop("firstSeen").endswith("Z")
    assert threat == {"indicator": value, "type": "domain", "velocity": "moderate", "sightingsLast24h": 5}


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("timeseries", {"granularity": "month"}, "granularity"),
        ("timeseries", {"period": "1y"}, "period"),
        ("timeseries", {"type": "port"}, "type"),
        ("timeseries", {"category": "uncategorized"}, "category"),
        ("geo", {"period": ""}, "period"),
        ("geo", {"limit": 251}, "limit"),
        ("geo", {"limit": 0}, "limit"),
        ("geo", {"category": "c2"}, "category"),
        ("trends", {"periodDays": 0}, "periodDays"),
        ("trends", {"periodDays": 91}, "periodDays"),
        ("trends", {"minChange": -1}, "minChange"),
        ("trends", {"minChange": "nan"}, "minChange"),
        ("trends", {"minChange": "lots"}, "minChange"),
        ("mitre-heatmap", {"period": "24h"}, "period"),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, name: str, params: dict[str, Any], field: str) -> None:
    assert bad_fields(api.get(f"/api/query/{name}", params=params)) == [field]
