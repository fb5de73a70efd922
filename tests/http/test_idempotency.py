"""``Idempotency-Key``: a retry is answered as the first request was, and stores nothing."""

import json
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from tests.http.conftest import AGENT, Api, LiveServer, Start, bad_fields, fresh_ip, item, ok, refused


def at(**ago: float) -> str:
    """The time so long ago."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def test_a_retry_with_an_idempotency_key_stores_nothing(api: Api) -> None:
    values = [fresh_ip(), fresh_ip()]
    body = {"threats": [item(value) for value in values]}
    headers = {"Idempotency-Key": f"retry-{values[0]}"}

    answers = [api.post("/api/threats", json=body, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["data"]["new"] == 2
    assert [api.detail(value)["sightings"] for value in values] == [1, 1]


def test_a_retry_of_a_partial_batch_is_answered_alike(api: Api) -> None:
    body = {"threats": [item(), item("nonsense")]}
    headers = {"Idempotency-Key": f"partial-{body['threats'][0]['value']}"}

    answers = [api.post("/api/threats?partial=true", json=body, headers=headers) for _ in range(2)]

    assert answers[0].status_code == 201
    assert answers[0].text == answers[1].text


def test_an_idempotency_key_with_another_body_is_a_409(api: Api) -> None:
    headers = {"Idempotency-Key": f"other-{fresh_ip()}"}
    ok(api.post("/api/threats", json={"threats": [item()]}, headers=headers), 201)
    value = fresh_ip()

    refused(api.post("/api/threats", json={"threats": [item(value)]}, headers=headers), 409, "conflict")

    assert api.get(f"/api/iocs/{value}").status_code == 404


def test_an_idempotency_key_belongs_to_its_sender(server: LiveServer) -> None:
    headers, value = {"Idempotency-Key": f"mine-{fresh_ip()}"}, fresh_ip()

    for key in (None, AGENT):
        client = server.client(key) if key else server.client()
        ok(client.post("/api/threats", json={"threats": [item(value, source=f"s{key}")]}, headers=headers), 201)

    assert server.client().detail(value)["sightings"] == 2


def test_a_refused_batch_does_not_use_up_its_idempotency_key(api: Api) -> None:
    headers = {"Idempotency-Key": f"again-{fresh_ip()}"}
    refused(api.post("/api/threats", json={"threats": [item("nonsense")]}, headers=headers), 400, "invalid")

    ok(api.post("/api/threats", json={"threats": [item()]}, headers=headers), 201)


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tinside"])
def test_an_idempotency_key_has_1_to_255_printable_characters(api: Api, key: str) -> None:
    answer = api.post("/api/threats", json={"threats": [item()]}, headers={"Idempotency-Key": key})

    assert bad_fields(answer) == ["Idempotency-Key"]


def test_a_retry_is_answered_though_its_expiry_has_passed(api: Api) -> None:
    body = {"threats": [item(expiresAt=at(seconds=-0.6))]}
    headers = {"Idempotency-Key": f"late-{fresh_ip()}"}
    first = api.post("/api/threats", json=body, headers=headers)
    time.sleep(0.8)

    again = api.post("/api/threats", json=body, headers=headers)

    assert (again.status_code, again.text) == (201, first.text)


def test_concurrent_retries_store_once(start: Start) -> None:
    """Retries race their first request: exactly one of them stores."""
    server = start()
    value = fresh_ip()
    with ThreadPool(8) as pool:
        answers = pool.map(lambda client: _post_once(client, value), [server.client() for _ in range(8)])

    assert {answer["new"] for answer in answers} == {1}
    assert server.client().detail(value)["sightings"] == 1


def _post_once(client: Api, value: str) -> Any:
    body = json.dumps({"threats": [item(value)]}, sort_keys=True)
    return ok(client.post("/api/threats", content=body, headers={"Idempotency-Key": "race"}), 201)
