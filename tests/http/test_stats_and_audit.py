"""``/api/stats`` adds up; ``/api/audit-log`` tells who did what, reads in aggregate, keys masked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import AGENT, OPERATOR, READER, Api, LiveServer, Start, fresh_domain, fresh_ip, item, ok

TYPES = {"ip", "domain", "hash", "url", "email", "cve"}
CATEGORIES = {"malware", "botnet", "phishing", "bruteforce", "scanner", "exploit", "c2", "uncategorized"}


def stats(api: Api) -> Any:
    """The statistics, checked for their sums."""
    found = ok(api.get("/api/stats"))
    assert sum(found["byType"].values()) == sum(found["byCategory"].values()) == found["totalIocs"]
    assert found["byType"].keys() == TYPES
    assert found["byCategory"].keys() == CATEGORIES
    assert min(*found["byType"].values(), *found["byCategory"].values()) >= 0
    assert 0 <= found["activeIocs"] <= found["totalIocs"]
    return found


def test_an_empty_store_has_zeros(start: Start) -> None:
    found = stats(start().client())

    assert found["updatedAt"].endswith("Z")
    assert {
        name: found[name] for name in ("totalIocs", "activeIocs", "totalSightings", "totalSources")
    } == dict.fromkeys(("totalIocs", "activeIocs", "totalSightings", "totalSources"), 0)
    assert found["last24h"] == {"newIocs": 0, "newSightings": 0, "topCategory": None}


def test_statistics_add_up_through_every_change(start: Start) -> None:
    api = start().client()
    moving, known = fresh_ip(), fresh_domain()
    api.report(
        item(moving, severity="low", confidence=0.1),
        item(known, "domain", source="a", category="phishing"),
        item("http://stats.xyz/1", "url", source="b", category="phishing"),
        item("ee" * 16, "hash", source="b", category="malware"),
        item("a@stats.xyz", "email"),
        item("CVE-2026-9009", "cve", category="exploit"),
        item("8.8.8.8", category="c2"),
    )
    first = stats(api)
    assert first["byType"] == {"ip": 2, "domain": 1, "hash": 1, "url": 1, "email": 1, "cve": 1}
    assert {name: count for name, count in first["byCategory"].items() if count} == {
        "uncategorized": 2,
        "phishing": 2,
        "malware": 1,
        "exploit": 1,
        "c2": 1,
    }
    assert (first["totalIocs"], first["activeIocs"], first["totalSightings"], first["totalSources"]) == (7, 6, 7, 3)
    assert first["last24h"] == {"newIocs": 7, "newSightings": 7, "topCategory": "phishing"}

    api.report(item(moving, source="c", category="scanner", severity="critical"))
    api.sight(known, source="d")
    api.sight(known, kind="negative", source="e")

    second = stats(api)
    assert second["byCategory"]["scanner"] == 1
    assert second["byCategory"]["uncategorized"] == 1
    assert (second["totalIocs"], second["totalSightings"]) == (7, 9)
    assert second["last24h"]["newIocs"] == 7
    assert second["last24h"]["newSightings"] == 9


def test_what_was_observed_long_ago_is_not_of_the_last_24_hours(start: Start) -> None:
    api = start().client()
    old = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    api.report(item(timestamp=old, category="c2"))

    found = stats(api)

    assert (found["totalIocs"], found["totalSightings"]) == (1, 1)
    assert found["last24h"] == {"newIocs": 0, "newSightings": 0, "topCategory": None}


def test_an_indicator_that_turns_out_older_is_no_longer_new(start: Start) -> None:
    api, value = start().client(), fresh_ip()
    api.report(item(value))
    api.report(item(value, timestamp=(datetime.now(UTC) - timedelta(days=30)).isoformat()))

    assert stats(api)["last24h"] == {"newIocs": 0, "newSightings": 1, "topCategory": None}


def test_a_refused_batch_counts_nowhere(start: Start) -> None:
    api = start().client()
    assert api.post("/api/threats", json={"threats": [item(source="x"), item("nonsense")]}).status_code == 400

    found = stats(api)

    assert (found["totalIocs"], found["totalSources"]) == (0, 0)


def entries(api: Api, **params: Any) -> list[Any]:
    """Entries of the ledger."""
    return list(ok(api.get("/api/audit-log", params={"limit": 200, **params})))


def test_every_write_is_in_the_ledger_newest_first(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    api.report(item(value), item(value), item())
    server.client(AGENT).sight(value)
    key = ok(api.post("/api/keys", json={"name": "audited", "scopes": ["feeds"]}), 201)["info"]["id"]
    new = ok(api.post(f"/api/keys/{key}/rotate", json={}), 201)["info"]["id"]
    ok(api.delete(f"/api/keys/{new}"))

    found = entries(api)

    newest = [(entry["action"], entry["resource"]) for entry in found[:6]]
    assert newest == [
        ("delete", "key"),
        ("update", "key"),
        ("create", "key"),
        ("create", "key"),
        ("create", "sighting"),
        ("create", "threats"),
    ]
    for entry in found:
        assert entry.keys() == {"id", "action", "resource", "details", "apiKey", "ip", "timestamp"}
        assert entry["ip"] == "127.0.0.1"
        assert entry["timestamp"].endswith("Z")
    assert found[5]["details"]["received"] == 3
    assert (found[5]["details"]["new"], found[5]["details"]["updated"]) == (2, 0)
    assert found[4]["details"]["value"] == value
    assert [entry["id"] for entry in found] == sorted((entry["id"] for entry in found), reverse=True)


def test_keys_are_masked(server: LiveServer) -> None:
    server.client(AGENT).report(item())

    newest = entries(server.client())[0]

    masked = newest["apiKey"]
    assert (masked[:4], masked[-4:]) == (AGENT[:4], AGENT[-4:])
    assert len(masked.replace("…", "")) <= 8
    text = server.client().get("/api/audit-log?limit=200").text
    assert AGENT not in text
    assert OPERATOR not in text


def test_short_keys_show_less(start: Start) -> None:
    server = start(TC_API_KEYS="shortkey")

    server.client("shortkey").report(item())

    assert entries(server.client("shortkey"))[0]["apiKey"] in {"s…y", "sh…ey"}


@pytest.mark.parametrize("action", ["create", "update", "delete", "query"])
def test_actions_filter(api: Api, action: str) -> None:
    found = entries(api, action=action)

    assert {entry["action"] for entry in found} <= {action}
    total = api.get("/api/audit-log", params={"action": action}).json()["pagination"]["total"]
    assert total == len(found)


def test_since_is_inclusive(api: Api) -> None:
    api.report(item())
    api.report(item())
    newest, before = entries(api)[:2]

    since = [entry["id"] for entry in entries(api, since=newest["timestamp"])]
    assert since == [newest["id"]]
    assert [entry["id"] for entry in entries(api, since=before["timestamp"])][:2] == [newest["id"], before["id"]]
    assert api.get("/api/audit-log?action=read").status_code == 400
    assert api.get("/api/audit-log?since=then").status_code == 400


def test_pages_and_cursors_walk_the_ledger(start: Start) -> None:
    api = start().client()
    for _ in range(11):
        api.report(item())

    whole = [entry["id"] for entry in entries(api)]
    paged = [entry["id"] for page in (1, 2, 3) for entry in entries(api, limit=4, page=page)]
    walked, cursor = [], None
    while True:
        answer = api.get("/api/audit-log", params={"limit": 4} | ({"cursor": cursor} if cursor else {}))
        walked += [entry["id"] for entry in ok(answer)]
        cursor = answer.json()["pagination"]["nextCursor"]
        if cursor is None:
            break
        api.report(item())

    assert paged == walked == whole
    assert len(whole) == 11


def test_a_refused_request_is_no_entry(api: Api) -> None:
    before = entries(api)

    assert api.post("/api/threats", json={"threats": [item("nonsense")]}).status_code == 400
    assert api.post("/api/sightings", json={"value": fresh_ip(), "source": "x"}).status_code == 404

    assert entries(api) == before


def test_reads_are_entered_in_aggregate(start: Start) -> None:
    """They cost no write each: key, address and route are counted, and entered by the minute and at the stop."""
    server = start()
    api, reader, value = server.client(), server.client(READER), fresh_ip()
    api.report(item(value))
    for _ in range(5):
        reader.get(f"/api/iocs/{value}")
    reader.get("/api/stats")
    reader.get("/health")
    ok(api.post("/api/iocs/lookup", json={"values": [value]}))
    assert entries(api, action="query") == []
    server.stop()

    queries = entries(start().client(), action="query")

    counted: dict[tuple[str, str], int] = {}
    for entry in queries:
        assert entry["ip"] == "127.0.0.1"
        assert entry["details"]["minute"].endswith(":00.000Z")
        place = entry["resource"], entry["apiKey"][:4]
        counted[place] = counted.get(place, 0) + entry["details"]["count"]
    assert counted["/api/iocs/{value}", READER[:4]] == 5
    assert counted["/api/stats", READER[:4]] == 1
    assert "/health" not in {resource for resource, _ in counted}
    assert len(queries) <= 10
    assert counted["/api/audit-log", OPERATOR[:4]] == 1


def test_a_bulk_lookup_is_a_read_and_entered_as_one(start: Start) -> None:
    server = start()
    ok(server.client(READER).post("/api/iocs/lookup", json={"values": ["192.0.2.1"]}))
    server.stop()

    assert [entry["resource"] for entry in entries(start().client(), action="query")] == ["/api/iocs/lookup"]
