"""``POST /api/threats``: what is taken, what is refused, and that a refusal stores nothing."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from tests.http.conftest import (
    Api,
    Start,
    bad_fields,
    encoded,
    fresh_domain,
    fresh_ip,
    item,
    ok,
    refused,
)


def at(**ago: float) -> str:
    """The time so long ago, as a client writes it."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refused_items(api: Api, *items: Any) -> list[tuple[int, str]]:
    """(index, field) of everything wrong in a batch, of which nothing may be stored."""
    before = ok(api.get("/api/stats"))
    details = refused(api.post("/api/threats", json={"threats": list(items)}), 400, "invalid")["details"]
    after = ok(api.get("/api/stats"))
    changed = {name for name in before if before[name] != after[name]} - {"updatedAt"}
    assert not changed
    assert all(detail["reason"] for detail in details)
    return [(detail["index"], detail["field"]) for detail in details]


def test_a_report_is_counted_and_gets_the_id_of_its_value(api: Api) -> None:
    value = fresh_ip()

    data = api.report(item(value))

    digest = hashlib.sha256(b"ip\0" + value.encode()).hexdigest()
    assert data == {"received": 1, "new": 1, "updated": 0, "iocIds": [f"ioc_{digest[:32]}"]}
    assert api.detail(data["iocIds"][0])["value"] == value


def test_ids_are_in_the_order_of_the_input(api: Api) -> None:
    known, new = fresh_ip(), [fresh_ip(), fresh_domain()]
    api.report(item(known))

    data = api.report(item(new[0]), item(known), item(new[1], "domain"))

    assert (data["received"], data["new"], data["updated"]) == (3, 2, 1)
    assert data["iocIds"] == [api.detail(value)["id"] for value in (new[0], known, new[1])]


def test_the_same_indicator_twice_in_a_batch_is_two_sightings_and_one_id(api: Api) -> None:
    name = fresh_domain()

    data = api.report(item(name, "domain"), item(f"HXXP://{name}/"[7:-1].upper(), "domain"))

    assert (data["received"], data["new"], data["updated"]) == (2, 1, 0)
    assert len(set(data["iocIds"])) == 1
    assert len(data["iocIds"]) == 2
    assert api.detail(name)["sightings"] == 2


def test_100_items_are_taken_and_101_are_not(api: Api) -> None:
    items = [item() for _ in range(101)]

    answer = api.post("/api/threats", json={"threats": items})

    assert bad_fields(answer) == ["threats"]
    assert "100" in answer.json()["error"]
    assert api.report(*items[:100])["new"] == 100


@pytest.mark.parametrize(
    ("kind", "spelling", "canonical"),
    [
        ("ip", "91[.]241[.]0[.]1", "91.241.0.1"),
        ("ip", "91.241.0.2:8080", "91.241.0.2"),
        ("ip", "::ffff:91.241.0.3", "91.241.0.3"),
        ("ip", "2A0D:C2C0:0:0::00A1", "2a0d:c2c0::a1"),
        ("ip", "[2a0d:c2c0::a2]:443", "2a0d:c2c0::a2"),
        ("ip", "91.241.9.77/24", "91.241.9.0/24"),
        ("ip", " 91.241.0.4 ", "91.241.0.4"),
        ("domain", "Bad(dot)Spelling.XYZ.", "bad.spelling.xyz"),
        ("domain", "bücher-spelling.xyz", "xn--bcher-spelling-gsb.xyz"),
        ("url", "hxxps://Spelling-One.xyz:443/A/../B?c=d#e", "https://spelling-one.xyz/B?c=d"),
        ("url", "http://user:pw@spelling-two.XYZ/%7Ea", "http://user:pw@spelling-two.xyz/%7Ea"),
        ("hash", "D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e"),
        ("hash", "AB" * 32, "ab" * 32),
        ("hash", "CD" * 64, "cd" * 64),
        ("email", "Bad.Guy[at]Spelling-Three.XYZ", "Bad.Guy@spelling-three.xyz"),
        ("cve", "cve-2021-44228", "CVE-2021-44228"),
    ],
)
def test_spellings_meet_in_one_canonical_value(api: Api, kind: str, spelling: str, canonical: str) -> None:
    first = api.report(item(spelling, kind))
    second = api.report(item(canonical, kind))

    assert first["iocIds"] == second["iocIds"]
    assert (first["new"], second["updated"]) == (1, 1)
    found = api.detail(spelling)
    assert (found["value"], found["type"], found["sightings"]) == (canonical, kind, 2)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ip", "999.1.1.1"),
        ("ip", "1.2.3"),
        ("ip", "010.1.1.1"),
        ("ip", "1.2.3.4/33"),
        ("ip", "fe80::1%eth0"),
        ("ip", "bad.xyz"),
        ("ip", " "),
        ("domain", "-bad-.xyz"),
        ("domain", "192.0.2.1"),
        ("domain", "a" * 64 + ".xyz"),
        ("domain", "no_such_thing"),
        ("hash", "xyz"),
        ("hash", "ab" * 17),
        ("url", "not a url"),
        ("url", "http://"),
        ("email", "nobody"),
        ("email", "@bad.xyz"),
        ("cve", "CVE-21-1"),
        ("domain", "a\x00b.xyz"),
        ("url", "http://bad.xyz/" + "a" * 8192),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(api: Api, kind: str, value: str) -> None:
    assert refused_items(api, item(value, kind)) == [(0, "value")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "ipv4"),
        ("type", None),
        ("type", 5),
        ("value", ""),
        ("value", None),
        ("value", 5),
        ("value", "x" * 9000),
        ("source", ""),
        ("source", "a" * 65),
        ("source", "with space"),
        ("source", "new\nline"),
        ("source", "line\n"),
        ("source", "ümlaut"),
        ("source", None),
        ("category", "bad"),
        ("category", 1),
        ("severity", "HIGH"),
        ("severity", 3),
        ("confidence", 1.01),
        ("confidence", -0.1),
        ("confidence", "0.5"),
        ("confidence", True),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", {"blob": "x" * 16_384}),
        ("metadata", {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}),
        ("metadata", {"deep": json.loads("[" * 300 + "]" * 300)}),
        ("metadata", {"deep": json.loads("[" * 700 + "]" * 700)}),
        ("metadata", {"port": 65_536}),
        ("metadata", {"ports": [22, -1]}),
        ("metadata", {"mitreId": "T11"}),
        ("metadata", {"mitreIds": ["T1110", 7]}),
        ("metadata", {"tags": ["x" * 65]}),
        ("timestamp", "yesterday"),
        ("timestamp", "2026-13-01T00:00:00Z"),
        ("timestamp", ""),
        ("timestamp", 1_700_000_000),
        ("timestamp", "1969-12-31T23:59:59Z"),
        ("timestamp", "0001-01-01T00:00:00+14:00"),
        ("timestamp", "9999-12-31T23:59:59-14:00"),
        pytest.param("timestamp", at(hours=-2), id="timestamp-ahead"),
        pytest.param("expiresAt", at(days=1), id="expiresAt-past"),
        ("expiresAt", "soon"),
        ("tlp", "purple"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(api: Api, field: str, value: Any) -> None:
    [(index, named)] = refused_items(api, {**item(), field: value})

    assert (index, named.partition(".")[0]) == (0, field)


@pytest.mark.parametrize("field", ["type", "value", "source"])
def test_a_missing_field_is_named(api: Api, field: str) -> None:
    bad = item()
    del bad[field]

    assert refused_items(api, bad) == [(0, field)]


def test_every_bad_item_is_named_and_no_good_one_is_stored(api: Api) -> None:
    good = fresh_ip()

    found = refused_items(api, item("nonsense"), item(good), item(severity="huge"), item(good), item("1.2", "hash"))

    assert found == [(0, "value"), (2, "severity"), (4, "value")]
    assert api.get(f"/api/iocs/{good}").status_code == 404


def test_everything_wrong_with_an_item_is_named(api: Api) -> None:
    bad = item("nonsense", timestamp=at(hours=-2), expiresAt=at(hours=1), tlp="x", metadata={"port": -1})

    found = refused_items(api, bad)

    assert {field for _, field in found} == {"value", "timestamp", "expiresAt", "tlp", "metadata"}


def test_partial_stores_the_good_items_and_names_the_rest(api: Api) -> None:
    good = [fresh_ip(), fresh_ip()]
    items = [item(good[0]), item("nonsense"), item(good[1]), item(severity="huge")]

    data = ok(api.post("/api/threats?partial=true", json={"threats": items}), 201)

    assert (data["received"], data["new"], data["updated"]) == (4, 2, 0)
    assert [api.detail(value)["id"] for value in good] == data["iocIds"]
    assert [(bad["index"], bad["field"]) for bad in data["rejected"]] == [(1, "value"), (3, "severity")]


def test_partial_without_a_bad_item_rejects_none(api: Api) -> None:
    data = ok(api.post("/api/threats?partial=true", json={"threats": [item()]}), 201)

    assert data["rejected"] == []


def test_partial_with_nothing_but_bad_items_stores_nothing(api: Api) -> None:
    answer = api.post("/api/threats?partial=true", json={"threats": [item("nonsense"), item("none")]})

    assert [detail["index"] for detail in refused(answer, 400, "invalid")["details"]] == [0, 1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"threats": [{"type": "ip", "value": "\xff", "source": "x"}]}',
        b'{"threats": [{"type": "ip", "value": "\\ud800", "source": "x"}]}',
        b'{"threats": [{"type": "domain", "value": "a.xyz", "source": "x", "metadata": {"a": "\\udfff"}}]}',
        b'{"threats": [{"type": "domain", "value": "a.xyz", "source": "x", "metadata": {"a": "\xc3"}}]}',
    ],
    ids=["not UTF-8", "lone surrogate", "lone surrogate in metadata", "not UTF-8 in metadata"],
)
def test_text_that_is_none_is_a_400(api: Api, body: bytes) -> None:
    refused(api.post("/api/threats", content=body), 400, "invalid")


@pytest.mark.parametrize("text", ["NUL \0 in it", "RTL \u202e text", "\U0001f480", "'; DROP TABLE indicator; --", "%s"])
def test_hostile_text_in_metadata_is_kept_as_it_is(api: Api, text: str) -> None:
    value = fresh_ip()

    api.report(item(value, metadata={"note": text, "tags": [text[:64]]}))

    found = api.detail(value)
    assert found["metadata"]["note"] == text
    assert found["tags"] == [text]


@pytest.mark.parametrize(
    "metadata",
    [
        {"attempts": 10**40},
        {"attempts": -(10**40)},
        {"asn": "AS" + "9" * 5000},
        {"asn": 10**25},
        {"score": -1e308},
        {"country": "\u0130\u0130"},
        {"relatedTo": [{}, None, "x" * 9000, "", 5]},
        {"ports": [22] * 3000},
        {"protocols": [{"a": 1}, ["b"]], "tag": None},
    ],
    ids=lambda metadata: next(iter(metadata)),
)
def test_odd_metadata_is_taken_or_refused_and_never_a_500(api: Api, metadata: dict[str, Any]) -> None:
    value = fresh_ip()
    body = json.dumps({"threats": [item(value, metadata=metadata)]}).encode()

    statuses = {api.post("/api/threats", content=body).status_code for _ in range(3)}

    assert statuses in ({201}, {400})
    assert api.get(f"/api/iocs/{value}").status_code == (200 if statuses == {201} else 404)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-" + "9" * 400, "0." + "3" * 5000])
def test_numbers_beyond_measure_are_no_500(api: Api, number: str) -> None:
    body = json.dumps({"threats": [item(metadata={"note": "NUMBER", "attempts": "NUMBER"})]})

    assert api.post("/api/threats", content=body.replace('"NUMBER"', number)).status_code in {201, 400}


def test_attempts_that_grow_beyond_measure_are_no_500(api: Api) -> None:
    body = {"threats": [item(fresh_ip(), metadata={"attempts": 2**63 - 1})]}

    assert {api.post("/api/threats", json=body).status_code for _ in range(4)} <= {201, 400}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-07T08:15:00.000Z", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07T08:15:00+02:00", "2026-03-07T06:15:00.000Z"),
        ("2026-03-07T08:15:00.123456-05:30", "2026-03-07T13:45:00.123Z"),
        ("2026-03-07T08:15:00", "2026-03-07T08:15:00.000Z"),
        ("2026-03-07", "2026-03-07T00:00:00.000Z"),
    ],
)
def test_times_may_carry_any_offset(api: Api, text: str, shown: str) -> None:
    value = fresh_ip()

    api.report(item(value, timestamp=text))

    found = api.detail(value)
    assert (found["firstSeen"], found["lastSeen"]) == (shown, shown)
    assert found["updatedAt"] > shown


def test_a_time_less_than_an_hour_ahead_is_taken(api: Api) -> None:
    value, soon = fresh_ip(), at(minutes=-55)

    api.report(item(value, timestamp=soon))

    assert api.detail(value)["lastSeen"] == soon


def test_without_a_timestamp_it_is_now(api: Api) -> None:
    value, before = fresh_ip(), at()

    api.report(item(value))

    assert before <= api.detail(value)["firstSeen"] <= at()


def test_concurrent_reports_all_count(start: Start) -> None:
    server = start()
    shared = fresh_ip()
    with ThreadPool(6) as pool:
        pool.map(lambda client: [client.report(item(shared), item()) for _ in range(20)], [server.client()] * 6)

    assert server.client().detail(shared)["sightings"] == 120
    stats = ok(server.client().get("/api/stats"))
    assert (stats["totalIocs"], stats["totalSightings"]) == (121, 240)


def test_tlp_and_expiry_are_shown(api: Api) -> None:
    value, end = fresh_ip(), at(days=-2)

    api.report(item(value, tlp="TLP:AMBER", expiresAt=end))

    found = api.detail(value)
    assert (found["tlp"], found["expiresAt"]) == ("amber", end)


@pytest.mark.parametrize("kind", ["ip", "url"])
def test_values_of_8_kib_pass_or_are_refused_whole(api: Api, kind: str) -> None:
    """The longest value that is taken can be looked up in a body, if not in a path."""
    value = "http://long.xyz/" + "a" * (8192 - 16)
    answer = api.post("/api/threats", json={"threats": [item(value, kind)]})

    if kind == "ip":
        assert bad_fields(answer) == ["value"]
        return
    assert ok(answer, 201)["new"] == 1
    [verdict] = ok(api.post("/api/iocs/lookup", json={"values": [value]}))
    assert verdict["sightings"] == 1
    refused(api.get(f"/api/iocs/{encoded(value)}"), 414, "uri_too_long")
