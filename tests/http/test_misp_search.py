"""``POST /attributes/restSearch``, asked by an unmodified PyMISP."""

import warnings
from typing import Any

import pytest
from pymisp import MISPAttribute, PyMISP

from tests.http.conftest import (
    FEEDS_ONLY,
    OPERATOR,
    Api,
    LiveServer,
    bad_fields,
    fresh_domain,
    fresh_ip,
    item,
    refused,
    within,
)
from threatcloud.formats.misp import event_uuid

DIGEST = "ab" * 32


@pytest.fixture(scope="module", autouse=True)
def listed(api: Api) -> list[str]:
    """Some addresses, a name and a hash."""
    values = [*(fresh_ip() for _ in range(5)), fresh_domain(), DIGEST]
    kinds = [*["ip"] * 5, "domain", "hash"]
    for value, kind in zip(values, kinds, strict=True):  # each in a commit of its own: found in this order
        api.report(item(value, kind, category="c2"))
    assert within(10, lambda: values[0] in api.blocked() and DIGEST in api.blocked("hash"))
    return values


@pytest.fixture(scope="module")
def misp(server: LiveServer) -> PyMISP:
    """The client, which sends the key without a scheme."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PyMISP(server.url, FEEDS_ONLY, ssl=False)


def attributes(misp: PyMISP, **wanted: Any) -> list[MISPAttribute]:
    """What a search finds."""
    answer = misp.search(controller="attributes", pythonify=True, **wanted)
    assert isinstance(answer, list), answer
    return [each for each in answer if isinstance(each, MISPAttribute)]


def found(misp: PyMISP, **wanted: Any) -> list[str]:
    """The values of a search."""
    return [each.value for each in attributes(misp, **wanted)]


def test_a_value_is_found_in_any_spelling(misp: PyMISP, listed: list[str]) -> None:
    assert found(misp, value=listed[0]) == [listed[0]]
    spelled = [listed[1].replace(".", "[.]"), DIGEST.upper(), "203.0.113.250"]
    assert found(misp, value=spelled) == [listed[1], DIGEST]
    assert found(misp, value="no value of any kind") == []


def test_attributes_are_found_by_type(misp: PyMISP, listed: list[str]) -> None:
    assert sorted(found(misp, type_attribute="ip-dst")) == sorted(listed[:5])
    assert sorted(found(misp, type_attribute=["domain", "sha256"])) == sorted(listed[5:])
    assert found(misp, type_attribute="md5") == []
    assert found(misp, type_attribute="filename") == []
    assert found(misp, value=listed[0], type_attribute="domain") == []


def test_pages_follow_each_other(misp: PyMISP, listed: list[str]) -> None:
    pages = [found(misp, limit=3, page=page) for page in (1, 2, 3, 4)]

    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert sorted(value for page in pages for value in page) == sorted(listed)


def test_what_changed_lately_is_found(api: Api, misp: PyMISP, listed: list[str]) -> None:
    assert set(listed) == set(found(misp, timestamp="1d"))
    path = "/attributes/restSearch"
    assert len(api.post(path, json={"last": "12h"}).json()["response"]["Attribute"]) == len(listed)
    assert api.post(path, json={"last": "0s"}).json()["response"]["Attribute"] == []
    assert bad_fields(api.post(path, json={"last": "yesterday"})) == ["last"]


def test_an_attribute_says_what_is_known_and_of_which_event_it_is(misp: PyMISP, listed: list[str]) -> None:
    (attribute,) = attributes(misp, value=listed[0])

    assert (attribute.type, attribute.category, attribute.to_ids) == ("ip-dst", "Network activity", True)
    assert [tag.name for tag in attribute.tags] == ['threat-cloud:category="c2"']
    assert attribute.Event.uuid == event_uuid("ip-blocklist")


def test_filters_that_are_not_known_are_refused_and_not_passed_over(api: Api) -> None:
    path = "/attributes/restSearch"
    assert bad_fields(api.post(path, json={"category": "Network activity"}))
    assert bad_fields(api.post(path, json={"returnFormat": "csv"})) == ["returnFormat"]
    assert bad_fields(api.post(path, json={"value": "91.240.%"})) == ["value"]
    assert bad_fields(api.post(path, json={"page": 100_000, "limit": 10_000})) == ["page"]


def test_a_key_without_a_scheme_is_taken_here_alone(server: LiveServer) -> None:
    bare = server.client(None, {"Authorization": OPERATOR})

    assert bare.get("/users/view/me").json()["Role"]["name"] == "operator"
    refused(bare.get("/api/feeds/ip-blocklist"), 401, "unauthenticated")
    refused(server.client(None, {"Authorization": "unknown-0123456789"}).get("/users/view/me"), 401, "unauthenticated")
