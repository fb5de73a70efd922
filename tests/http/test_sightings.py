"""``/api/sightings``: kinds, what they change, and the list of everything said about an indicator."""

from typing import Any

import pytest

from tests.http.conftest import AGENT, COMMUNITY, Api, LiveServer, bad_fields, fresh_domain, fresh_ip, item, ok, refused


def listed(api: Api, value: str, **params: Any) -> list[Any]:
    """The sightings of an indicator."""
    return list(ok(api.get("/api/sightings", params={"value": value, **params})))


def test_a_sighting_counts_and_moves_the_reputation(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, severity="low"))
    before = api.detail(value)

    noted = api.sight(value, "guard-agent", context={"host": "web-1"})

    after = api.detail(value)
    assert noted.keys() == {"sightingId", "iocValue", "totalSightings", "reputationChange"}
    assert noted["sightingId"].startswith("sig_")
    assert (noted["iocValue"], noted["totalSightings"], after["sightings"]) == (value, 2, 2)
    assert noted["reputationChange"] == after["reputation"] - before["reputation"] < 0
    assert after["lastSeen"] > before["lastSeen"]


@pytest.mark.parametrize("spelling", ["hxxp://{}/x", "http://{}:80/x#y"])
def test_a_sighting_takes_any_spelling(api: Api, spelling: str) -> None:
    name = fresh_domain()
    api.report(item(f"http://{name}/x", "url"))

    assert api.sight(spelling.format(name))["iocValue"] == f"http://{name}/x"


@pytest.mark.parametrize("kind", ["negative", "false-positive"])
def test_sightings_against_are_listed_and_not_counted(api: Api, kind: str) -> None:
    value = fresh_ip()
    api.report(item(value))
    before = api.detail(value)

    noted = api.sight(value, kind=kind, source="doubter", context={"why": "ours"})

    after = api.detail(value)
    assert noted["reputationChange"] > 0
    assert (noted["totalSightings"], after["sightings"], after["lastSeen"]) == (1, 1, before["lastSeen"])
    newest, report = listed(api, value)
    assert (newest["kind"], newest["source"], newest["context"]) == (kind, "doubter", {"why": "ours"})
    assert report["kind"] == "positive"
    assert after["sources"] == ["manual"]


def test_a_false_positive_weighs_more_than_a_negative(api: Api) -> None:
    values = [fresh_ip(), fresh_ip()]
    api.report(*(item(value) for value in values))

    changes = [
        api.sight(value, kind=kind)["reputationChange"]
        for value, kind in zip(values, ("negative", "false-positive"), strict=True)
    ]

    assert 0 < changes[0] < changes[1]


def test_every_report_is_a_sighting_too_newest_first(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, source="first", metadata={"port": 22}, timestamp="2026-03-01T00:00:00Z"))
    api.report(item(value, source="third", timestamp="2026-03-03T00:00:00Z"))
    api.report(item(value, source="second", timestamp="2026-03-02T00:00:00Z"))
    last = api.sight(value, "fourth")

    sightings = listed(api, value)

    assert [sighting["source"] for sighting in sightings] == ["fourth", "third", "second", "first"]
    assert sightings[0]["id"] == last["sightingId"]
    assert all(one.keys() >= {"id", "value", "source", "context", "timestamp", "kind"} for one in sightings)
    assert {one["value"] for one in sightings} == {value}
    assert sightings[-1]["context"] == {"port": 22}
    assert sightings[-1]["timestamp"] == "2026-03-01T00:00:00.000Z"
    assert len({one["id"] for one in sightings}) == 4


def test_pages_and_cursors_walk_all_sightings(api: Api) -> None:
    value = fresh_ip()
    api.report(*(item(value, source=f"s{number}") for number in range(23)))

    pages = [listed(api, value, limit=10, page=page) for page in (1, 2, 3, 4)]
    walked, cursor = [], None
    while True:
        params: dict[str, Any] = {"value": value, "limit": 10} | ({"cursor": cursor} if cursor else {})
        answer = api.get("/api/sightings", params=params)
        walked += ok(answer)
        pagination = answer.json()["pagination"]
        assert (pagination["total"], pagination["pages"]) == (23, 3)
        cursor = pagination["nextCursor"]
        if cursor is None:
            break

    assert [len(page) for page in pages] == [10, 10, 3, 0]
    assert walked == [sighting for page in pages for sighting in page]
    assert len({sighting["id"] for sighting in walked}) == 23


def test_the_context_stays_with_the_sighting(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, metadata={"port": 22}))

    api.sight(value, context={"port": 443, "host": "web-1"})

    assert api.detail(value)["metadata"]["ports"] == [22]
    assert "host" not in api.detail(value)["metadata"]


def test_only_a_known_indicator_is_sighted(api: Api) -> None:
    body = {"value": fresh_ip(), "source": "manual"}

    refused(api.post("/api/sightings", json=body), 404, "not_found")
    refused(api.get("/api/sightings", params={"value": body["value"]}), 404, "not_found")
    assert api.get(f"/api/iocs/{body['value']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": "nonsense"}, "value"),
        ({"value": ""}, "value"),
        ({"value": None}, "value"),
        ({"source": "with space"}, "source"),
        ({"source": None}, "source"),
        ({"source": "line\n"}, "source"),
        ({"kind": "maybe"}, "kind"),
        ({"context": []}, "context"),
        ({"context": "text"}, "context"),
        ({"context": {"blob": "x" * 17_000}}, "context"),
        ({"context": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}}, "context"),
        ({"context": {"port": -5}}, "context"),
        ({"context": {"mitreId": "nonsense"}}, "context"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_field_is_named_and_nothing_is_stored(api: Api, change: dict[str, Any], field: str) -> None:
    value = fresh_ip()
    api.report(item(value))

    answer = api.post("/api/sightings", json={"value": value, "source": "manual", **change})

    assert [named.partition(".")[0] for named in bad_fields(answer)] == [field]
    assert len(listed(api, value)) == 1


@pytest.mark.parametrize("field", ["value", "source"])
def test_value_and_source_are_required(api: Api, field: str) -> None:
    body = {"value": fresh_ip(), "source": "manual"}
    del body[field]

    assert bad_fields(api.post("/api/sightings", json=body)) == [field]


def test_the_list_needs_a_value(api: Api) -> None:
    assert bad_fields(api.get("/api/sightings")) == ["value"]
    assert bad_fields(api.get("/api/sightings", params={"value": "nonsense"})) == ["value"]
    assert bad_fields(api.get("/api/sightings", params={"value": "1.2.3.4", "limit": 201})) == ["limit"]


def test_a_sighting_weighs_as_the_key_that_sends_it(server: LiveServer) -> None:
    api = server.client()
    changes = {}
    for key in (AGENT, COMMUNITY[0]):
        value = fresh_ip()
        server.client(COMMUNITY[1]).report(item(value))
        changes[key] = server.client(key).sight(value, "manual")["reputationChange"]

    assert changes[AGENT] < changes[COMMUNITY[0]] < 0
    assert api.get("/api/stats").status_code == 200
