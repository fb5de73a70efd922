"""The operator's allowlist through the API: who may, what it takes, and what it does to look-ups and feeds."""

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import (
    AGENT,
    COMMUNITY,
    FEEDS_ONLY,
    HONEYPOT,
    READER,
    WRITER,
    Api,
    LiveServer,
    Start,
    bad_fields,
    encoded,
    fresh_domain,
    fresh_ip,
    item,
    ok,
    refused,
    within,
)

#: What the contract promises for every feed.
FEED_S = 2.0
_blocks = itertools.count(1)


def block() -> str:
    """The first three octets of a network that no other test has used."""
    return f"91.247.{next(_blocks)}"


def allow(api: Api, value: str, **more: Any) -> Any:
    """Allows one value and gives the entry."""
    (entry,) = ok(api.post("/api/allowlist", json={"value": value, **more}), 201)["entries"]
    return entry


def disallow(api: Api, value: str) -> Any:
    return ok(api.delete(f"/api/allowlist/{encoded(value)}"))


def standing(api: Api, value: str) -> tuple[str, str | None]:
    """The status of an indicator and the code of what withholds it."""
    detail = api.detail(value)
    withheld = detail["withheld"]
    assert detail["status"] == "active" or not detail["published"]
    return detail["status"], withheld and withheld["code"]


def test_an_entry_is_stored_shown_renewed_and_removed(api: Api) -> None:
    domain = fresh_domain()
    until = "2199-01-01T01:00:00+01:00"
    entry = allow(api, f"hxxps://{domain.replace('.', '[.]')}/x", note="ours", expiresAt=until)
    assert entry.pop("id").startswith("alw_")
    assert entry.pop("createdAt").endswith("Z")
    assert entry == {
        "value": f"https://{domain}/x",
        "type": "url",
        "kind": "value",
        "note": "ours",
        "createdBy": "opsk…cdef",
        "expiresAt": "2199-01-01T00:00:00.000Z",
        "withheld": 0,
    }
    again = allow(api, f"https://{domain}/x", note="still ours")
    assert (again["note"], again["expiresAt"]) == ("still ours", None)
    shown = [item for item in ok(api.get("/api/allowlist")) if item["value"] == f"https://{domain}/x"]
    assert shown == [{name: said for name, said in again.items() if name != "withheld"}]
    gone = disallow(api, f"https://{domain}/x")
    assert gone == {**shown[0], "released": 0}
    refused(api.delete(f"/api/allowlist/{encoded(domain)}"), 404, "not_found")
    refused(api.delete(f"/api/allowlist/{gone['id']}"), 404, "not_found")


def test_a_batch_is_answered_in_order_and_the_last_of_a_value_counts(api: Api) -> None:
    net, domain = block(), fresh_domain()
    values = [f"{net}.7", f"{net}.9/24", f".{domain}", f"{net}[.]7"]
    body = {"entries": [{"value": value, "note": str(number)} for number, value in enumerate(values)], "ignored": 1}
    entries = ok(api.post("/api/allowlist", json=body), 201)["entries"]
    assert [(entry["value"], entry["kind"], entry["note"]) for entry in entries] == [
        (f"{net}.7", "value", "3"),
        (f"{net}.0/24", "network", "1"),
        (f"*.{domain}", "zone", "2"),
        (f"{net}.7", "value", "3"),
    ]
    assert entries[0] == entries[3]
    for entry in entries[:3]:
        disallow(api, entry["id"])


def test_pages_are_walked_newest_first(api: Api) -> None:
    values = [fresh_ip() for _ in range(5)]
    for value in values:
        allow(api, value)
    first = api.get("/api/allowlist", params={"limit": 2}).json()
    assert [entry["value"] for entry in first["data"]] == values[:-3:-1]
    assert first["pagination"]["total"] >= 5
    second = api.get("/api/allowlist", params={"limit": 2, "page": 2}).json()["data"]
    allow(api, fresh_ip())
    by_cursor = api.get("/api/allowlist", params={"limit": 2, "cursor": first["pagination"]["nextCursor"]}).json()
    assert [entry["value"] for entry in second] == values[2:0:-1]
    assert by_cursor["data"] == second
    assert ok(api.get("/api/allowlist", params={"page": 999})) == []
    assert bad_fields(api.get("/api/allowlist", params={"limit": 201})) == ["limit"]
    assert bad_fields(api.get("/api/allowlist", params={"value": "x"})) == ["value"]
    assert bad_fields(api.get("/api/allowlist", params={"cursor": "x"})) == ["cursor"]


@pytest.mark.parametrize("key", [READER, FEEDS_ONLY, WRITER, AGENT, HONEYPOT, COMMUNITY[0], None])
def test_only_admins_see_or_change_it(server: LiveServer, api: Api, key: str | None) -> None:
    value = fresh_ip()
    allow(api, value)
    other = server.client(key)
    status, code = (403, "forbidden") if key else (401, "unauthenticated")
    refused(other.get("/api/allowlist"), status, code)
    refused(other.post("/api/allowlist", json={"value": fresh_ip()}), status, code)
    refused(other.delete(f"/api/allowlist/{value}"), status, code)
    assert value in [entry["value"] for entry in ok(api.get("/api/allowlist", params={"limit": 200}))]


def test_public_reading_does_not_open_it(start: Start) -> None:
    refused(start(TC_PUBLIC_READ="true").client(None).get("/api/allowlist"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "value"),
        ({"value": 7}, "value"),
        ({"value": ""}, "value"),
        ({"value": "what is this"}, "value"),
        ({"value": "*.com"}, "value"),
        ({"value": "9.0.0.0/7"}, "value"),
        ({"value": "::/0"}, "value"),
        ({"value": "example.org", "note": "x" * 501}, "note"),
        ({"value": "example.org", "note": 7}, "note"),
        ({"value": "example.org", "expiresAt": "soon"}, "expiresAt"),
        ({"value": "example.org", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"entries": []}, "entries"),
        ({"entries": [{"value": "example.org"}] * 101}, "entries"),
        ({"entries": [{"value": "example.org"}], "value": "example.org"}, "entries"),
    ],
)
def test_bad_input_is_named_and_stores_nothing(api: Api, body: dict[str, Any], field: str) -> None:
    before = api.get("/api/allowlist").json()
    assert bad_fields(api.post("/api/allowlist", json=body)) == [field]
    assert api.get("/api/allowlist").json() == before


def test_one_bad_entry_refuses_all_and_every_bad_one_is_named(api: Api) -> None:
    before = api.get("/api/allowlist").json()
    entries = [{"value": fresh_ip()}, {"value": "x", "expiresAt": "y"}, {}, {"value": fresh_ip(), "note": "n" * 501}]
    answer = api.post("/api/allowlist", json={"entries": entries})
    details = refused(answer, 400, "invalid")["details"]
    assert [(detail["index"], detail["field"]) for detail in details] == [
        (1, "value"),
        (1, "expiresAt"),
        (2, "value"),
        (3, "note"),
    ]
    assert api.get("/api/allowlist").json() == before
    assert bad_fields(api.delete("/api/allowlist/what%20is%20this")) == ["value"]


def test_every_change_is_in_the_audit_log(api: Api) -> None:
    value = fresh_ip()
    allow(api, value, note="ours")
    allow(api, value)
    disallow(api, value)
    log = [entry for entry in ok(api.get("/api/audit-log")) if entry["resource"] == "allowlist"]
    log = [entry for entry in log if entry["details"] and entry["details"]["value"] == value]
    assert [(entry["action"], entry["details"]["note"], entry["apiKey"]) for entry in log] == [
        ("delete", None, "opsk…cdef"),
        ("update", None, "opsk…cdef"),
        ("create", "ours", "opsk…cdef"),
    ]


def test_what_is_listed_is_withheld_at_once_and_comes_back(api: Api) -> None:
    net, outside = block(), fresh_ip()
    reported = [f"{net}.7", f"{net}.8", outside]
    api.report(*map(item, reported))
    assert within(FEED_S, lambda: set(reported) <= set(api.blocked()))
    before = api.blocked()
    version = ok(api.get("/api/feeds/agent-update"))["version"]

    entry = allow(api, f"{net}.0/24", note="our office")
    assert entry["withheld"] == 2
    for value in reported[:2]:
        assert standing(api, value) == ("whitelisted", "allowlist")
        assert ok(api.get(f"/api/iocs/{value}"))["withheld"]["list"] == "allowlist"
        assert ok(api.get(f"/api/iocs/{value}/explain"))["withheld"]["code"] == "allowlist"
    assert standing(api, outside) == ("active", None)
    assert within(FEED_S, lambda: not set(reported[:2]) & set(api.blocked()))
    assert outside in api.blocked()
    left = {f"-{value}" for value in reported[:2]}  # in a delta once the release is entered, a moment after the list
    since = {"since": version}
    assert within(FEED_S, lambda: left <= set(api.get("/api/feeds/ip-blocklist", params=since).text.splitlines()))
    packet = ok(api.get("/api/feeds/agent-update", params={"currentVersion": version, "delta": "true"}))["iocs"]
    assert set(reported[:2]) <= set(packet["removed"]["ip"])
    removed = ok(api.get("/api/feeds/iocs", params={"since": "2020-01-01T00:00:00Z"}))["removed"]
    assert set(reported[:2]) <= {gone["value"] for gone in removed}

    assert disallow(api, f"{net}.0/24")["released"] == 2
    assert standing(api, reported[0]) == ("active", None)
    assert within(FEED_S, lambda: sorted(api.blocked()) == sorted(before))


@pytest.mark.parametrize(
    ("entry", "caught", "free"),
    [
        (
            "{net}.0/24",
            [("ip", "{net}.9"), ("ip", "{net}.128/25"), ("url", "http://{net}.9:81/x")],
            [("ip", "{other}.9")],
        ),
        (
            "{net}.9",
            [("ip", "{net}.0/24"), ("url", "http://u@{net}.9/x")],
            [("ip", "{net}.8"), ("url", "http://{net}.8/")],
        ),
        (
            "{name}",
            [("domain", "{name}"), ("url", "https://{name}/x"), ("email", "bob@{name}")],
            [("domain", "a.{name}"), ("url", "https://a.{name}/x"), ("domain", "x{name}")],
        ),
        (
            "*.{name}",
            [("domain", "{name}"), ("domain", "a.b.{name}"), ("url", "https://a.{name}/x"), ("email", "bob@a.{name}")],
            [("domain", "x{name}"), ("url", "https://x{name}/{name}")],
        ),
        ("a.{name}", [("domain", "a.{name}"), ("domain", "{name}")], [("domain", "b.{name}")]),
        ("https://{name}/x", [("url", "https://{name}/x")], [("url", "https://{name}/y"), ("domain", "{name}")]),
    ],
)
@pytest.mark.parametrize("reported_first", [True, False])
def test_what_an_entry_covers(
    api: Api, entry: str, caught: list[tuple[str, str]], free: list[tuple[str, str]], reported_first: bool
) -> None:
    names = {"net": block(), "other": block(), "name": fresh_domain()}
    held = [(kind, text.format(**names)) for kind, text in caught]
    others = [(kind, text.format(**names)) for kind, text in free]
    reports = [item(text, kind) for kind, text in (*held, *others)]
    if reported_first:
        api.report(*reports)
    made = allow(api, entry.format(**names))
    assert made["withheld"] == (len(held) if reported_first else 0)
    if not reported_first:
        api.report(*reports)
    assert [standing(api, text) for _, text in held] == [("whitelisted", "allowlist")] * len(held)
    assert [standing(api, text) for _, text in others] == [("active", None)] * len(others)
    shared = {found["value"] for found in ok(api.get("/api/feeds/iocs", params={"limit": 5000}))["iocs"]}
    assert not shared & {text for _, text in held}
    assert {text for _, text in others} <= shared
    disallow(api, entry.format(**names))
    assert [standing(api, text) for _, text in held] == [("active", None)] * len(held)


def test_another_entry_or_list_still_withholds(api: Api) -> None:
    net = block()
    api.report(item(f"{net}.9"), item("1.1.1.1"), item("10.247.0.9"), item("91.247.0.0"))
    for value in (f"{net}.0/24", f"{net}.9", "1.1.1.1", "10.247.0.9", "91.247.255.1"):
        allow(api, value)
    assert disallow(api, f"{net}.9")["released"] == 0
    assert standing(api, f"{net}.9") == ("whitelisted", "allowlist")
    # What a benign list vouches for keeps its good name, and what was only seen anonymised is just that.
    assert standing(api, "1.1.1.1") == ("whitelisted", "benign-list")
    assert standing(api, "91.247.0.0") == ("whitelisted", "anonymised")
    assert standing(api, "10.247.0.9") == ("whitelisted", "allowlist")
    for value in ("1.1.1.1", "10.247.0.9", f"{net}.0/24", "91.247.255.1"):
        disallow(api, value)
    assert standing(api, "10.247.0.9") == ("whitelisted", "non-global")
    assert standing(api, f"{net}.9") == ("active", None)


def test_allowing_changes_no_reputation(api: Api) -> None:
    values = [fresh_ip(), "9.9.9.9"]
    api.report(*map(item, values))
    before = [api.detail(value)["reputation"] for value in values]
    for value in values:
        allow(api, value)
    assert [api.detail(value)["reputation"] for value in values] == before
    for value in values:
        disallow(api, value)
    assert [api.detail(value)["reputation"] for value in values] == before


def test_a_honeypot_visit_honours_it(server: LiveServer, api: Api) -> None:
    net, name = block(), fresh_domain()
    for value in (f"{net}.0/24", f"*.{name}"):
        allow(api, value)
    now = datetime.now(UTC).isoformat()
    action = {"timestamp": now, "action": "command", "data": f"wget http://a.{name}/x.sh"}
    visit = {"trapId": "t", "attackerIp": f"{net}.9", "honeypotType": "ssh", "interactions": [action]}
    ok(server.client(HONEYPOT).post("/api/trap-intel", json=visit), 201)
    assert standing(api, f"{net}.9") == ("whitelisted", "allowlist")
    assert standing(api, f"http://a.{name}/x.sh") == ("whitelisted", "allowlist")


def test_an_entry_ends_by_itself(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value))
    ends_at = datetime.now(UTC) + timedelta(seconds=1)
    allow(api, value, expiresAt=ends_at.isoformat())
    assert standing(api, value) == ("whitelisted", "allowlist")
    time.sleep(1)
    assert within(2 * FEED_S, lambda: standing(api, value) == ("active", None))
    assert within(FEED_S, lambda: value in api.blocked())
    assert value not in [entry["value"] for entry in ok(api.get("/api/allowlist", params={"limit": 200}))]
    (ended, *_) = [entry for entry in ok(api.get("/api/audit-log")) if entry["resource"] == "allowlist"]
    assert (ended["action"], ended["details"]["reason"], ended["apiKey"]) == ("delete", "expired", "")


def test_a_restart_keeps_it_and_ends_what_expired_meanwhile(start: Start) -> None:
    net = block()
    server = start()
    api = server.client()
    api.report(item(f"{net}.7"), item("91.246.0.7"))
    allow(api, f"{net}.0/24")
    allow(api, "91.246.0.7", expiresAt=(datetime.now(UTC) + timedelta(seconds=0.3)).isoformat())
    server.stop()
    time.sleep(0.3)
    api = start().client()
    assert standing(api, "91.246.0.7") == ("active", None)
    api.report(item(f"{net}.8"))
    assert [standing(api, f"{net}.{host}") for host in (7, 8)] == [("whitelisted", "allowlist")] * 2
    assert [entry["value"] for entry in ok(api.get("/api/allowlist"))] == [f"{net}.0/24"]
    assert within(FEED_S, lambda: api.blocked() == ["91.246.0.7"])
