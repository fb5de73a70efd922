"""``/api/iocs``: search, one indicator, verdicts in bulk, the private range."""

import socket
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.http.conftest import OPERATOR, Api, LiveServer, bad_fields, encoded, fresh_ip, item, ok, refused

SEARCH_FIELDS = {
    "id",
    "value",
    "type",
    "reputation",
    "category",
    "source",
    "severity",
    "confidence",
    "sightings",
    "firstSeen",
    "lastSeen",
    "updatedAt",
    "status",
    "tags",
    "metadata",
}


def found(api: Api, **params: Any) -> list[str]:
    """The values a search finds, all pages of 200, in order."""
    values: list[str] = []
    page = 1
    while True:
        answer = api.get("/api/iocs", params={"limit": 200, **params, "page": page})
        items = ok(answer)
        values += [one["value"] for one in items]
        pagination = answer.json()["pagination"]
        if page >= pagination["pages"]:
            assert pagination["total"] == len(values)
            return values
        page += 1


@pytest.fixture(scope="module")
def world(api: Api) -> dict[str, str]:
    """Indicators of a known kind each, by what is special about them."""
    values = {
        "worst": "91.243.1.1",
        "mild": "91.243.1.2",
        "outside": "91.243.2.1",
        "network": "91.243.1.64/26",
        "six": "2a0d:c2c1::1",
        "domain": "world-one.xyz",
        "url": "http://world-one.xyz/a/b?c=d",
        "hash": "cafe" * 16,
        "email": "bad@world-one.xyz",
        "cve": "CVE-2026-4242",
        "internal": "10.9.8.7",
    }
    api.report(
        item(values["worst"], source="world-a", category="c2", severity="critical", confidence=1.0),
        item(values["mild"], source="world-b", category="scanner", severity="low", confidence=0.1),
        item(values["outside"], source="world-a", metadata={"tags": ["world-tag"], "mitreId": "T1110"}),
        item(values["network"], source="world-b"),
        item(values["six"], source="world-b"),
        item(values["domain"], "domain", source="world-c", category="phishing"),
        item(values["url"], "url", source="world-c", category="phishing"),
        item(values["hash"], "hash", source="world-c", category="malware"),
        item(values["email"], "email", source="world-c"),
        item(values["cve"], "cve", source="world-c", category="exploit"),
        item(values["internal"], source="world-a", metadata={"country": "NZ"}),
    )
    api.report(item(values["mild"], source="world-b", severity="low", confidence=0.1))
    return values


def test_an_item_has_the_fields_of_the_contract(api: Api, world: dict[str, str]) -> None:
    [one] = ok(api.get("/api/iocs", params={"search": world["worst"]}))

    assert one.keys() >= SEARCH_FIELDS
    assert one["metadata"].keys() >= {"ports", "protocols", "mitreIds"}
    assert (one["type"], one["category"], one["source"], one["severity"]) == ("ip", "c2", "world-a", "critical")
    assert (one["status"], one["sightings"], one["confidence"]) == ("active", 1, 1.0)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"type": "domain"}, {"domain"}),
        ({"type": "cve"}, {"cve"}),
        ({"source": "world-a"}, {"worst", "outside", "internal"}),
        ({"source": "no-such-source"}, set()),
        ({"category": "phishing"}, {"domain", "url"}),
        ({"category": "phishing", "type": "url"}, {"url"}),
        ({"status": "whitelisted"}, {"internal"}),
        ({"status": "expired"}, set()),
        ({"minReputation": 60, "maxReputation": 100, "status": "active"}, {"mild"}),
        ({"search": "orld-one"}, {"domain", "url", "email"}),
        ({"search": "WORLD-ONE"}, {"domain", "url", "email"}),
        ({"search": "world[.]one"}, set()),
        ({"search": "world-one[.]xyz/a"}, {"url"}),
        ({"search": "91.243.1.0/24"}, {"worst", "mild", "network"}),
        ({"search": "91.243.1.9/24"}, {"worst", "mild", "network"}),
        ({"search": "91.243.1.1/32"}, {"worst"}),
        ({"search": "91.243.0.0/16"}, {"worst", "mild", "network", "outside"}),
        ({"search": "2a0d:c2c1::/32"}, {"six"}),
        ({"search": "10.8.0.0/13"}, {"internal"}),
        ({"search": "%"}, set()),
        ({"search": "_"}, set()),
        ({"tag": "world-tag"}, {"outside"}),
        ({"tag": "WORLD"}, set()),
        ({"mitreId": "t1110"}, {"outside"}),
        ({"mitreId": "T9999"}, set()),
        ({"country": "nz"}, {"internal"}),
        ({"since": "2999-01-01T00:00:00Z"}, set()),
    ],
    ids=lambda part: str(sorted(part) if isinstance(part, set) else part),  # the same in every process
)
def test_filters_find_what_they_name(api: Api, world: dict[str, str], params: dict[str, Any], names: set[str]) -> None:
    ours = {value: name for name, value in world.items()}

    values = found(api, **params)

    assert {ours[value] for value in values if value in ours} == names
    if params.keys() & {"tag", "source", "country", "search"}:
        assert len(values) == len(names)


def test_bounds_of_reputation_are_inclusive(api: Api, world: dict[str, str]) -> None:
    reputation = api.detail(world["worst"])["reputation"]

    assert world["worst"] in found(api, minReputation=reputation, maxReputation=reputation)
    assert world["worst"] not in found(api, minReputation=reputation + 1)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"type": "ipv4"}, "type"),
        ({"status": "unknown"}, "status"),
        ({"category": "bad"}, "category"),
        ({"minReputation": "-1"}, "minReputation"),
        ({"maxReputation": "101"}, "maxReputation"),
        ({"minReputation": "ten"}, "minReputation"),
        ({"minReputation": "60", "maxReputation": "50"}, "minReputation"),
        ({"since": "yesterday"}, "since"),
        ({"since": ""}, "since"),
        ({"search": ""}, "search"),
        ({"tag": ""}, "tag"),
        ({"mitreId": "1110"}, "mitreId"),
        ({"mitreId": "T1110\n"}, "mitreId"),
        ({"mitreId": "T\u0661\u0661\u0661\u0660"}, "mitreId"),
        ({"country": "DEU"}, "country"),
        ({"country": "DE\n"}, "country"),
        ({"sort": "worst"}, "sort"),
        ({"source": ""}, "source"),
        ({"type": "null"}, "type"),
        ({"minReputation": "null"}, "minReputation"),
        ({"maxReputation": "NULL"}, "maxReputation"),
        ({"category": "null"}, "category"),
        ({"status": "null"}, "status"),
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_is_refused(api: Api, params: dict[str, str], field: str) -> None:
    """Never answered with everything, as if nothing had been asked."""
    assert bad_fields(api.get("/api/iocs", params=params)) == [field]


@pytest.mark.parametrize(
    ("sort", "field", "falls"),
    [
        (None, "updatedAt", True),
        ("updated", "updatedAt", True),
        ("reputation", "reputation", False),
        ("sightings", "sightings", True),
        ("firstSeen", "firstSeen", True),
    ],
)
@pytest.mark.usefixtures("world")
def test_orders(api: Api, sort: str | None, field: str, falls: bool) -> None:
    params: dict[str, Any] = {"limit": 200} | ({} if sort is None else {"sort": sort})

    items = ok(api.get("/api/iocs", params=params))

    keys = [one[field] for one in items]
    assert keys == sorted(keys, reverse=falls)
    assert len(keys) > 10


@pytest.mark.parametrize("sort", ["updated", "reputation", "sightings", "firstSeen"])
def test_a_cursor_walks_each_order_whole(api: Api, sort: str) -> None:
    source = f"walk-{sort}"
    times = [(datetime.now(UTC) - timedelta(hours=number // 3)).isoformat() for number in range(25)]
    api.report(*(item(source=source, confidence=(number % 4) / 4, timestamp=at) for number, at in enumerate(times)))
    params: dict[str, Any] = {"source": source, "sort": sort, "limit": 4}

    pages: list[list[str]] = []
    cursor = None
    while True:
        answer = api.get("/api/iocs", params=params if cursor is None else {**params, "cursor": cursor})
        pages.append([one["value"] for one in ok(answer)])
        cursor = answer.json()["pagination"]["nextCursor"]
        if cursor is None:
            break

    walked = [value for page in pages for value in page]
    assert len(walked) == len(set(walked)) == 25
    assert {len(page) for page in pages[:-1]} == {4}
    assert walked == found(api, source=source, sort=sort)


def test_a_walk_is_not_upset_by_what_comes_meanwhile(api: Api) -> None:
    source = "walk-meanwhile"
    old = [fresh_ip() for _ in range(10)]
    api.report(*(item(value, source=source) for value in old))
    params: dict[str, Any] = {"source": source, "limit": 3}
    answer = api.get("/api/iocs", params=params)
    seen = [one["value"] for one in ok(answer)]
    while (cursor := answer.json()["pagination"]["nextCursor"]) is not None:
        api.report(item(source=source))
        answer = api.get("/api/iocs", params={**params, "cursor": cursor})
        seen += [one["value"] for one in ok(answer)]

    assert sorted(seen) == sorted(old)


def test_since_goes_by_the_update_and_includes_its_time(api: Api) -> None:
    first, second = fresh_ip(), fresh_ip()
    api.report(item(first, timestamp="2026-01-01T00:00:00Z"))
    api.report(item(second, timestamp="2025-01-01T00:00:00Z"))
    since = api.detail(second)["updatedAt"]

    assert found(api, since=since) == [second]
    assert found(api, since=api.detail(first)["updatedAt"])[:2] == [second, first]


def test_since_may_carry_an_offset_with_a_bare_plus(api: Api) -> None:
    ok(api.get("/api/iocs?since=2026-03-07T08:15:00+02:00"))


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ("http://world-one.xyz/a/b?c=d", "http://world-one.xyz/a/b?c=d"),
        ("hxxp://World-One[.]xyz:80/a/b?c=d#frag", "http://world-one.xyz/a/b?c=d"),
        ("WORLD-ONE.XYZ.", "world-one.xyz"),
        ("world-one[.]xyz", "world-one.xyz"),
        ("::ffff:91.243.1.1", "91.243.1.1"),
        ("91.243.1.1:22", "91.243.1.1"),
        ("91.243.1.65/26", "91.243.1.64/26"),
        ("CAFE" * 16, "cafe" * 16),
        ("cve-2026-4242", "CVE-2026-4242"),
        ("bad@World-One.xyz", "bad@world-one.xyz"),
    ],
)
@pytest.mark.usefixtures("world")
def test_any_spelling_finds_the_indicator(api: Api, spelling: str, value: str) -> None:
    one = api.detail(spelling)

    assert one["value"] == value
    assert ok(api.get(f"/api/iocs/{one['id']}")) == one


@pytest.mark.usefixtures("world")
def test_an_encoded_url_is_one_segment_and_an_unencoded_one_is_not(api: Api) -> None:
    assert api.get("/api/iocs/http%3A%2F%2Fworld-one.xyz%2Fa%2Fb%3Fc%3Dd").status_code == 200
    refused(api.get("/api/iocs/http://world-one.xyz/a/b"), 404, "not_found")


def test_a_percent_in_a_value_is_encoded_once(api: Api) -> None:
    value = "http://percent.xyz/%2e%41"
    api.report(item(value, "url"))

    assert api.detail(value)["sightings"] == 1


def test_detail_says_everything(api: Api, world: dict[str, str]) -> None:
    one = api.detail(world["outside"])

    wanted = (SEARCH_FIELDS - {"source"}) | {"sources", "campaigns", "relatedIocs", "networks"}
    assert one.keys() >= wanted
    assert "source" not in one
    assert one["sources"] == ["world-a"]
    assert one["metadata"]["mitreIds"] == ["T1110"]
    assert len(one["metadata"]["country"]) == 2


def test_an_address_names_the_networks_around_it(api: Api, world: dict[str, str]) -> None:
    inside, wide = "91.243.1.70", "91.243.0.0/20"
    api.report(item(wide, source="wide"))

    unknown = api.get(f"/api/iocs/{inside}")
    assert unknown.status_code == 404
    around = unknown.json()["data"]["networks"]
    assert [network["value"] for network in around] == [wide, world["network"]]
    api.report(item(inside, source="host"))
    assert [network["value"] for network in api.detail(inside)["networks"]] == [wide, world["network"]]
    assert [network["value"] for network in api.detail(world["network"])["networks"]] == [wide]


@pytest.mark.parametrize(
    "value", ["nonsense", "1.2.3", "http%3A%2F%2F", "a b.xyz", "%ff", "%00", "..%2f..", "ioc_zz", "-"]
)
def test_what_is_no_indicator_is_a_400(api: Api, value: str) -> None:
    assert bad_fields(api.get(f"/api/iocs/{value}")) == ["value"]


@pytest.mark.parametrize(
    ("value", "kind", "canonical"),
    [
        ("unheard-of.xyz", "domain", "unheard-of.xyz"),
        ("hxxp://unheard-of[.]xyz", "url", "http://unheard-of.xyz/"),
        ("00" * 16, "hash", "00" * 16),
        ("2001:DB8::9", "ip", "2001:db8::9"),
    ],
)
def test_an_unknown_indicator_is_a_404_that_is_ok(api: Api, value: str, kind: str, canonical: str) -> None:
    answer = api.get(f"/api/iocs/{encoded(value)}")

    assert answer.status_code == 404
    body = answer.json()
    assert body["ok"] is True
    data = body["data"]
    assert (data["value"], data["type"], data["reputation"], data["status"]) == (canonical, kind, 80, "unknown")


def test_an_unknown_id_is_a_plain_404(api: Api) -> None:
    refused(api.get(f"/api/iocs/ioc_{'0' * 32}"), 404, "not_found")


def test_more_look_ups_at_once_than_connections_to_a_database(server: LiveServer, world: dict[str, str]) -> None:
    url, value = httpx.URL(server.url), encoded(world["worst"])
    request = f"GET /api/iocs/{value} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n".encode()
    with ExitStack() as open_lines:
        lines = [
            open_lines.enter_context(socket.create_connection((url.host, url.port or 80), timeout=30))
            for _ in range(40)
        ]
        for line in lines:
            line.sendall(request)
        assert {line.recv(12) for line in lines} == {b"HTTP/1.1 200"}


def test_reads_see_whole_batches_while_writes_go_on(server: LiveServer) -> None:
    """A batch is one commit: a reader that sees any of it sees all of it."""
    stop = threading.Event()
    source = "atomic-batches"

    def write() -> None:
        while not stop.is_set():
            server.client().report(*(item(source=source) for _ in range(7)))

    writer = threading.Thread(target=write)
    writer.start()
    reader = server.client()
    totals = [
        reader.get("/api/iocs", params={"source": source, "limit": 1}).json()["pagination"]["total"] for _ in range(60)
    ]
    stop.set()
    writer.join()

    assert totals == sorted(totals)
    assert {total % 7 for total in totals} == {0}
