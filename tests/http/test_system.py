"""``/health``, ``/metrics``, ``/openapi.json``, ``/docs``, and the document against its snapshot."""

import json
import os
import re
import socket
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families
from pytest_socket import SocketConnectBlockedError

from tests.http.conftest import READER, WRITER, Api, LiveServer, Start, item, ok, refused, within
from threatcloud import __version__
from threatcloud.http.openapi import document
from threatcloud.http.routes import ENDPOINTS

SNAPSHOT = Path(__file__).with_name("openapi.snapshot.json")
#: The shape and the media type of our own refusals.
_OURS = ("Failure", "application/json")


def test_health_needs_nothing(server: LiveServer) -> None:
    data = ok(server.client(key=None).get("/health"))

    assert data == {"status": "healthy", "version": __version__, "uptime": data["uptime"], "db": "connected"}
    assert isinstance(data["uptime"], int)


def test_health_does_not_look_at_keys(server: LiveServer) -> None:
    ok(server.client(key="no-such-key").get("/health"))


def test_metrics_need_the_scope_read(server: LiveServer) -> None:
    refused(server.client(key=None).get("/metrics"), 401, "unauthenticated")


def test_metrics_count_requests(server: LiveServer) -> None:
    reader = server.client(READER)
    ok(reader.get("/api/stats"))
    server.client().blocked()  # lists are there from the first that asks on

    answer = reader.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    counted = [sample for sample in families["threatcloud_requests"].samples if sample.labels["route"] == "/api/stats"]
    assert [sample.labels["status"] for sample in counted] == ["200"]
    assert counted[0].value >= 1
    buckets = [s for s in families["threatcloud_request_seconds"].samples if s.labels["route"] == "/api/stats"]
    assert {sample.name.rpartition("_")[2] for sample in buckets} == {"bucket", "count", "sum"}
    assert "threatcloud_writer_commits" in families
    assert {sample.labels["feed"] for sample in families["threatcloud_feed_entries"].samples} == {
        "ip-blocklist",
        "domain-blocklist",
    }


def test_metrics_on_a_port_of_their_own_need_no_key(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start(TC_METRICS_PORT=str(port))

    assert within(2, lambda: _answers(f"http://127.0.0.1:{port}/metrics"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def test_openapi_document_is_served_to_anyone(server: LiveServer) -> None:
    answer = server.client(key=None).get("/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(document(ENDPOINTS)))


def test_openapi_document_is_valid() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(document(ENDPOINTS)))).validate()


def test_openapi_document_is_as_agreed() -> None:
    """A change of the API shows up in review as a change of the snapshot; UPDATE_SNAPSHOTS=1 renews it."""
    text = json.dumps({**document(ENDPOINTS), "info": {}}, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(text, "utf-8")

    assert json.loads(text) == json.loads(SNAPSHOT.read_text("utf-8")), "renew it with UPDATE_SNAPSHOTS=1"


def test_operation_ids_are_unique() -> None:
    ids = [
        operation["operationId"] for methods in document(ENDPOINTS)["paths"].values() for operation in methods.values()
    ]

    assert len(ids) == len(set(ids))


def test_every_failure_is_documented_with_its_envelope_or_that_of_its_dialect() -> None:
    paths = document(ENDPOINTS)["paths"]
    for endpoint in ENDPOINTS:
        dialect = endpoint.dialect
        own = (dialect.shape.__name__, dialect.media.partition(";")[0]) if dialect else _OURS
        for status, answer in paths[endpoint.path][endpoint.method.lower()]["responses"].items():
            if int(status) >= 400:
                shape, media = _OURS if status == "414" else own  # before the route is known
                assert f'/{shape}"' in json.dumps(answer["content"][media])
                assert answer["description"]


def test_docs_need_nothing_from_elsewhere(server: LiveServer) -> None:
    anyone = server.client(key=None)

    page = anyone.get("/docs")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/api/threats" in page.text
    loaded = re.findall(r"""(?:src|href|action)\s*=\s*["']([^"'#]+)""", page.text)
    assert loaded
    assert [link for link in loaded if re.match(r"[a-z]+:|//", link)] == []
    assert "<script" not in page.text
    for link in loaded:
        assert anyone.get(link).status_code == 200, link


def test_tests_cannot_reach_another_machine(api: Api) -> None:
    with pytest.warns(UserWarning, match="192.0.2.1"), pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def figure(api: Api, name: str) -> float:
    """The one value of a series, named with its labels as it is printed."""
    line = next(line for line in api.get("/metrics").text.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


def test_metrics_tell_what_limits_refused(start: Start) -> None:
    live = start(TC_RATE_LIMIT_WRITE="2")
    statuses = [live.client(WRITER).post("/api/threats", json={"threats": []}).status_code for _ in range(5)]

    assert statuses == [400, 400, 429, 429, 429]
    assert figure(live.client(READER), 'threatcloud_limit_refusals_total{limit="write"}') == 3
    assert figure(live.client(READER), 'threatcloud_limit_refusals_total{limit="read"}') == 0


def test_metrics_tell_what_the_writer_does_and_that_nothing_waits_to_be_published(api: Api) -> None:
    names = "threatcloud_writer_units_total", "threatcloud_writer_busy_seconds_total"
    before = [figure(api, name) for name in names]
    api.report(item())

    assert all(figure(api, name) > was for name, was in zip(names, before, strict=True))
    assert within(5, lambda: figure(api, "threatcloud_feed_waiting_seconds") == 0)


def test_metrics_tell_how_jobs_went(api: Api) -> None:
    assert within(5, lambda: 'threatcloud_job_duration_seconds{job="expire"}' in api.get("/metrics").text)
    assert figure(api, 'threatcloud_job_failures_total{job="expire"}') == 0
    assert figure(api, 'threatcloud_job_failures_total{job="decay"}') == 0, "no run yet"
