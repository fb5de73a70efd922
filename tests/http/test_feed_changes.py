"""All types in one file, formats by Accept, filters, and deltas in every format over HTTP."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pymisp import MISPEvent

from tests.http.conftest import Api, bad_fields, fresh_domain, fresh_ip, item, ok, refused, within
from threatcloud.formats.feeds import FORMATS, Format

URL = "http://bad-place.xyz/a"
DIGEST = "ab" * 32


@pytest.fixture(scope="module", autouse=True)
def listed(api: Api) -> list[str]:
    """A value of every type there is a list of, an address first."""
    values = [fresh_ip(), fresh_domain(), URL, DIGEST]
    kinds = ("ip", "domain", "url", "hash")
    said = {"mitreId": "T1110", "country": "NL"}
    api.report(*(item(value, kind, category="c2", metadata=said) for value, kind in zip(values, kinds, strict=True)))
    assert within(10, lambda: URL in api.blocked("url") and values[0] in api.blocked())
    return values


def test_all_types_come_in_one_file(api: Api, listed: list[str]) -> None:
    entries = ok(api.get("/api/feeds/all", params={"format": "json"}))["entries"]

    assert [entry["value"] for entry in entries] == [listed[0], listed[1], listed[3], listed[2]]
    assert {entry["type"] for entry in entries} == {"ip", "domain", "url", "hash"}
    assert api.get("/api/feeds/all.json").json()["data"]["entries"] == entries


@pytest.mark.parametrize("format_", [one for one in FORMATS if one.write_all], ids=lambda one: one.name)
def test_the_format_is_what_accept_asks_for(api: Api, format_: Format) -> None:
    answer = api.get("/api/feeds/all", headers={"Accept": f"application/pdf, {format_.media};q=0.9"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == format_.media.partition(";")[0]


def test_what_no_format_is_is_not_acceptable_and_the_answer_says_what_is(api: Api) -> None:
    answer = api.get("/api/feeds/all", headers={"Accept": "application/pdf"})

    assert "application/json (json)" in refused(answer, 406, "not_acceptable")["error"]


def test_a_device_that_asks_for_what_is_not_there_gets_the_plain_list_of_a_type(api: Api, listed: list[str]) -> None:
    answer = api.get("/api/feeds/ip-blocklist", headers={"Accept": "application/octet-stream"})

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    named = api.get("/api/feeds/ip-blocklist", headers={"Accept": "application/json"})
    assert named.headers["content-type"] == "application/json"


def test_a_format_that_cannot_say_all_types_is_refused(api: Api) -> None:
    assert bad_fields(api.get("/api/feeds/all", params={"format": "hosts"})) == ["format"]
    assert bad_fields(api.get("/api/feeds/all.nft")) == ["format"]


def test_lists_are_filtered_by_confidence_age_and_country(api: Api) -> None:
    sure, doubtful, old = (fresh_ip() for _ in range(3))
    foreign = "193.0.6.139"
    long_ago = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    api.report(
        item(sure, confidence=1.0),
        item(doubtful, confidence=0.6),
        item(old, confidence=1.0, timestamp=long_ago),
        item(foreign, confidence=1.0),
    )
    assert within(10, lambda: {sure, doubtful, old, foreign} <= set(api.blocked(maxReputation="100")))

    def shown(**params: str) -> set[str]:
        return set(api.blocked(maxReputation="100", **params)) & {sure, doubtful, old, foreign}

    assert shown(maxAgeDays="7") == {sure, doubtful, foreign}
    home, abroad = (api.detail(value)["metadata"]["country"] for value in (sure, foreign))
    assert home != abroad
    assert shown(country=home) == {sure, doubtful, old}
    assert shown(minConfidence="0.99") == {sure, old, foreign}
    assert shown(minConfidence="0.99", maxAgeDays="7", country=home) == {sure}
    assert bad_fields(api.get("/api/feeds/ip-blocklist?country=sweden")) == ["country"]


@pytest.mark.parametrize("format_", [one for one in FORMATS if one.delta], ids=lambda one: one.name)
def test_a_delta_comes_in_every_format_and_has_an_address_for_good(api: Api, format_: Format) -> None:
    kind = next(iter(format_.kinds))
    version = api.get(f"/api/feeds/{kind}-blocklist").headers["x-feed-version"]

    answer = api.get(f"/api/feeds/{kind}-blocklist.{format_.extension}", params={"since": version})

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == format_.media
    again = api.get(answer.headers["content-location"])
    assert (again.status_code, again.content) == (200, answer.content)
    assert "immutable" in again.headers["cache-control"]


def test_a_delta_says_what_came_and_what_left(api: Api) -> None:
    gone = fresh_ip()
    api.report(item(gone))
    assert within(10, lambda: gone in api.blocked())
    before = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]
    new = fresh_ip()
    api.report(item(new))
    api.sight(gone, kind="false-positive")

    def told() -> bool:
        data = ok(api.get("/api/feeds/ip-blocklist.json", params={"since": before}))
        return new in {entry["value"] for entry in data["new"]}

    assert within(10, told)
    commands = api.get("/api/feeds/ip-blocklist.ipset", params={"since": before}).text.splitlines()
    assert f"add threat-cloud-4 {new} -exist" in commands
    everything = ok(api.get("/api/feeds/all.json", params={"since": before}))
    assert new in {entry["value"] for entry in everything["new"]}


def test_a_version_nobody_had_is_gone_with_the_way_out(api: Api) -> None:
    for path in (
        "/api/feeds/ip-blocklist.nft?since=v20200101.000001",
        "/api/feeds/ip-blocklist/deltas/v20200101.000001..v20200101.000002",
    ):
        assert "load the whole list" in refused(api.get(path), 410, "gone")["error"]


def test_misp_pulls_the_feed(api: Api, listed: list[str]) -> None:
    manifest = api.get("/api/feeds/misp/manifest.json").json()
    hashes = dict(line.split(",") for line in api.get("/api/feeds/misp/hashes.csv").text.split())

    assert len(manifest) == 4
    found = set()
    for uuid, about in manifest.items():
        answer = api.get(f"/api/feeds/misp/{uuid}.json")
        event = MISPEvent()
        event.load(answer.text)
        assert (event.uuid, event.info) == (uuid, about["info"])
        assert json.loads(answer.text)["Event"]["timestamp"] == about["timestamp"]
        for attribute in event.attributes:
            assert hashes[attribute.hash_values("md5")[0]] == uuid
            found.add(attribute.value)
    assert set(listed) <= found
    refused(api.get("/api/feeds/misp/nonsense.json"), 404, "not_found")


def test_the_heatmap_is_a_layer_of_the_navigator(api: Api) -> None:
    layer = api.get("/api/feeds/attack-layer?period=7d").json()

    assert layer["versions"]["layer"] == "4.5"
    assert layer["domain"] == "enterprise-attack"
    assert {"techniqueID": "T1110", "score": 4, "comment": "4 sightings", "enabled": True} in layer["techniques"]


def test_a_bundle_has_what_was_reported(api: Api, listed: list[str]) -> None:
    objects = json.loads(api.get("/api/feeds/all.stix").text)["objects"]
    indicators = {each["name"]: each for each in objects if each["type"] == "indicator"}

    assert set(listed) <= indicators.keys()
    found = indicators[listed[0]]
    assert found["labels"] == ["c2"]
    assert found["external_references"] == [{"source_name": "mitre-attack", "external_id": "T1110"}]
    assert found["confidence"] == 90
