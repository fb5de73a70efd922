"""TAXII 2.1, asked by an unmodified client."""

import base64
import uuid
from typing import Any

import httpx
import pytest
from stix2validator import ValidationOptions, validate_instance  # type: ignore[import-untyped]
from taxii2client.exceptions import AccessError  # type: ignore[import-untyped]
from taxii2client.v21 import ApiRoot, Collection, Server, as_pages  # type: ignore[import-untyped]

from tests.http.conftest import (
    OPERATOR,
    WRITER,
    Api,
    LiveServer,
    fresh_domain,
    fresh_ip,
    item,
    within,
)
from threatcloud.http.taxii_dialect import MEDIA

ROOT = "/taxii2/api/"
COUNT = 37


@pytest.fixture(scope="module", autouse=True)
def listed(api: Api) -> list[str]:
    """Addresses that were all added at the same time, and a name."""
    values = [fresh_ip() for _ in range(COUNT)]
    api.report(*(item(value, category="c2", confidence=1.0) for value in values), item(fresh_domain(), "domain"))
    assert within(10, lambda: set(values) <= set(api.blocked()))
    return values


@pytest.fixture(scope="module")
def taxii(server: LiveServer) -> Server:
    """The client of a server, with a key as the password."""
    return Server(f"{server.url}/taxii2/", user="anybody", password=OPERATOR)


@pytest.fixture(scope="module")
def root(taxii: Server) -> ApiRoot:
    """The default API root."""
    return taxii.default


def by_alias(root: ApiRoot, alias: str) -> Collection:
    """A collection."""
    return next(found for found in root.collections if found.alias == alias)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error message (section 3.6.1) of a refusal of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA
    body: dict[str, Any] = answer.json()
    assert body.keys() - {"details"} == {"title", "description", "http_status"}
    assert (body["http_status"], bool(body["description"])) == (str(status), True)
    return body


def crawled(collection: Collection, per_request: int, **filters: Any) -> list[dict[str, Any]]:
    """All objects of a collection, page by page."""
    pages = as_pages(collection.get_objects, per_request=per_request, **filters)
    return [found for page in pages for found in page.get("objects", [])]


def test_a_client_finds_its_way_from_discovery_to_the_collections(taxii: Server, root: ApiRoot) -> None:
    assert taxii.title == "Threat Cloud"
    assert root.versions == ["taxii-2.1"]
    assert {found.alias for found in root.collections} == {
        *("ip-blocklist", "domain-blocklist", "url-blocklist", "hash-blocklist"),
        *("all", "campaigns", "reports"),
    }
    assert all(uuid.UUID(found.id) for found in root.collections)
    assert [found.can_write for found in root.collections] == [False] * 6 + [True]


@pytest.mark.parametrize("per_request", [1, 7, 36, 37, 1_000])
def test_pages_hold_every_object_once_though_all_have_the_same_time(
    root: ApiRoot, listed: list[str], per_request: int
) -> None:
    found = crawled(by_alias(root, "ip-blocklist"), per_request)

    assert sorted(each["name"] for each in found) == sorted(listed)
    assert len({each["modified"] for each in found}) == 1


def test_what_is_served_passes_the_validator_in_its_strict_mode(root: ApiRoot) -> None:
    for each in crawled(by_alias(root, "all"), 100):
        assert validate_instance(each, ValidationOptions(strict=True, version="2.1", silent=True)).is_valid


def test_a_client_goes_on_with_what_was_added_since(server: LiveServer, api: Api, root: ApiRoot) -> None:
    collection = by_alias(root, "domain-blocklist")
    answer = api.get(f"{ROOT}collections/{collection.id}/objects/")
    last = answer.headers["x-taxii-date-added-last"]
    assert collection.get_objects(added_after=last).get("objects", []) == []
    new = fresh_domain()
    api.report(item(new, "domain"))

    assert within(10, lambda: [one["name"] for one in crawled(collection, 10, added_after=last)] == [new])


def test_a_manifest_says_what_the_objects_are(root: ApiRoot) -> None:
    collection = by_alias(root, "ip-blocklist")

    records = [found for page in as_pages(collection.get_manifest, per_request=10) for found in page["objects"]]

    objects = crawled(collection, 10)
    assert [(one["id"], one["version"]) for one in records] == [(one["id"], one["modified"]) for one in objects]
    assert {one["media_type"] for one in records} == {"application/stix+json;version=2.1"}


def test_an_object_is_found_by_its_id_with_its_version(api: Api, root: ApiRoot) -> None:
    collection = by_alias(root, "all")
    wanted = crawled(collection, 100)[3]

    assert collection.get_object(wanted["id"])["objects"] == [wanted]
    assert collection.object_versions(wanted["id"])["versions"] == [wanted["modified"]]
    missing = f"{ROOT}collections/{collection.id}/objects/indicator--{uuid.uuid4()}/"
    refused(api.get(missing), 404)
    refused(api.get(f"{ROOT}collections/{by_alias(root, 'campaigns').id}/objects/{wanted['id']}/"), 404)


def test_objects_are_matched(root: ApiRoot) -> None:
    collection = by_alias(root, "ip-blocklist")
    first, second, *_ = crawled(collection, 100)

    def names(**match: str) -> list[str]:
        return [one["name"] for one in collection.get_objects(**match).get("objects", [])]

    assert names(id=f"{first['id']},{second['id']}") == [first["name"], second["name"]]
    assert names(type="campaign") == []
    assert len(names(type="campaign,indicator")) == COUNT
    assert names(id=first["id"], version=first["modified"]) == [first["name"]]
    assert names(id=first["id"], version="last") == [first["name"]]
    assert names(id=first["id"], version="2020-01-01T00:00:00Z") == []
    assert names(spec_version="2.0") == []


def test_a_campaign_is_an_object(api: Api, root: ApiRoot, listed: list[str]) -> None:
    collection = by_alias(root, "campaigns")
    made = api.post("/api/campaigns", json={"name": "Night shift", "iocs": listed[:3]})
    assert made.status_code == 201

    found = next(one for one in crawled(collection, 1) if one["name"] == "Night shift")

    assert found["type"] == "campaign"
    assert collection.get_object(found["id"])["objects"] == [found]


def stix(pattern: str, **more: Any) -> dict[str, Any]:
    """An indicator of somebody else's."""
    at = "2026-03-07T08:15:00.000Z"
    plain = {"type": "indicator", "spec_version": "2.1", "id": f"indicator--{uuid.uuid4()}"}
    return {
        **plain,
        "created": at,
        "modified": at,
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": at,
        **more,
    }


def test_indicators_that_are_sent_become_reports_and_the_others_are_named(
    server: LiveServer, api: Api, root: ApiRoot
) -> None:
    address, name = fresh_ip(), fresh_domain()
    sent = [
        stix(f"[ipv4-addr:value = '{address}']", confidence=80, labels=["c2", "night"]),
        stix(f"[domain-name:value = '{name}']"),
        stix("[file:hashes.'SHA-256' = 'nonsense']"),
        stix(f"[ipv4-addr:value = '{address}' AND url:value = 'http://x/']"),
        {"type": "malware", "id": f"malware--{uuid.uuid4()}"},
    ]

    status = by_alias(root, "reports").add_objects({"objects": sent})

    assert (status.status, status.total_count, status.success_count, status.failure_count) == ("complete", 5, 2, 3)
    assert [one["id"] for one in status.successes] == [sent[0]["id"], sent[1]["id"]]
    assert all(one["message"] for one in status.failures)
    detail = api.detail(address)
    assert (detail["category"], detail["confidence"], detail["tags"]) == ("c2", 0.8, ["c2", "night"])
    status.refresh()
    assert status.success_count == 2
    other = server.client(WRITER).get(f"{ROOT}status/{status.id}/")
    refused(other, 404)


def test_what_is_read_is_not_written(api: Api, root: ApiRoot) -> None:
    with pytest.raises(AccessError):
        by_alias(root, "all").add_objects({"objects": [stix("[url:value = 'http://x.example/']")]})
    path = f"{ROOT}collections/{by_alias(root, 'all').id}/objects/"
    refused(api.post(path, json={"objects": [stix("[url:value = 'http://x.example/']")]}), 404)


def test_media_types_are_those_of_the_specification(api: Api) -> None:
    assert api.get("/taxii2/", headers={"Accept": MEDIA}).headers["content-type"] == MEDIA
    older = {"Accept": "application/vnd.oasis.taxii+json;version=2.0"}
    refused(api.get("/taxii2/", headers=older), 406)
    refused(api.get(f"{ROOT}collections/no-such/"), 404)


def test_a_refusal_is_an_error_message_that_names_what_is_wrong(server: LiveServer, api: Api) -> None:
    assert refused(api.get(f"{ROOT}collections/all/objects/?limit=0"), 400)["details"].keys() == {"limit"}
    assert refused(api.get(f"{ROOT}collections/all/objects/?next=nonsense"), 400)["details"].keys() == {"cursor"}
    assert refused(server.client("wrong-key-0123456789abcdef").get("/taxii2/"), 401)["title"] == "Unauthorized"
    assert refused(server.client(WRITER).get("/taxii2/"), 403)["title"] == "Forbidden"


def test_a_key_as_bearer_works_too(server: LiveServer) -> None:
    password = base64.b64encode(f"x:{OPERATOR}".encode()).decode()
    for value in (f"Bearer {OPERATOR}", f"Basic {password}"):
        assert httpx.get(f"{server.url}/taxii2/", headers={"Authorization": value}, trust_env=False).status_code == 200
