"""``POST /api/import``: the file itself as the body, read as the command line reads it."""

import gzip
import http.client
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.formats.readers.test_stix import bundle, indicator
from tests.http.conftest import (
    COMMUNITY,
    OPERATOR,
    READER,
    Api,
    LiveServer,
    bad_fields,
    fresh_domain,
    fresh_ip,
    ok,
    refused,
    within,
)


def test_a_bundle_is_stored_with_what_it_says(api: Api) -> None:
    domain, address = fresh_domain(), fresh_ip()
    text = bundle(
        indicator(f"[domain-name:value = '{domain}']", 1, labels=["phishing"], confidence=90),
        indicator(f"[ipv4-addr:value = '{address}']", 2),
        indicator("[file:name = 'x.exe']", 3),
        indicator("[broken", 4),
    )
    done = ok(api.post("/api/import?source=feed:vendor", content=text), 201)
    assert (done["format"], done["values"], done["new"], done["dryRun"]) == ("stix", 2, 2, False)
    assert done["passedOver"] == {"pattern of file:name": 1}
    assert (done["rejected"], [item["field"] for item in done["rejects"]]) == (1, ["pattern"])
    found = api.detail(domain)
    assert (found["category"], found["sources"]) == ("phishing", ["feed:vendor"])
    assert within(5, lambda: domain in api.blocked("domain"))


def test_the_same_list_again_confirms_it(api: Api) -> None:
    text = f"{fresh_ip()}\n{fresh_ip()}\n"
    first, second = (ok(api.post("/api/import?source=feed:a", content=text), 201) for _ in range(2))
    assert (first["format"], first["new"], first["confirmed"]) == ("plain", 2, 0)
    assert (second["new"], second["confirmed"]) == (0, 2)


def test_a_dry_run_stores_nothing(api: Api) -> None:
    value = fresh_ip()
    done = ok(api.post("/api/import?source=feed:a&dry_run=true", content=f"{value}\nnonsense\n"))
    assert (done["values"], done["rejected"], done["new"], done["dryRun"]) == (1, 1, 0, True)
    assert done["rejects"] == [
        {"line": 2, "field": "value", "reason": done["rejects"][0]["reason"], "text": "nonsense"}
    ]
    assert api.get(f"/api/iocs/{value}").status_code == 404


def test_a_body_comes_in_pieces_and_packed(api: Api) -> None:
    values = [fresh_ip() for _ in range(50)]
    packed = gzip.compress("\n".join(values).encode())

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(packed), 10):
            yield packed[at : at + 10]

    assert ok(api.post("/api/import?source=feed:a", content=pieces()), 201)["new"] == 50


def test_a_table_with_columns_and_what_holds_for_all(api: Api) -> None:
    value = fresh_ip()
    query = {"source": "feed:a", "format": "delimited", "columns": "value=who,category=2", "severity": "critical"}
    done = ok(api.post("/api/import", params=query, content=f"when,what,who\nx,scanner,{value}\n"), 201)
    assert (done["values"], done["passedOver"]) == (1, {"column when": 1})
    found = api.detail(value)
    assert (found["category"], found["severity"]) == ("scanner", "critical")


def test_a_retry_with_an_idempotency_key_is_answered_alike(api: Api) -> None:
    value = fresh_ip()
    headers = {"Idempotency-Key": f"import-{value}"}
    answers = [api.post("/api/import?source=feed:a", content=value, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert answers[0].json()["data"]["new"] == 1
    refused(api.post("/api/import?source=feed:a", content=fresh_ip(), headers=headers), 409, "conflict")


def test_who_is_no_operator_reports_in_their_own_name(server: LiveServer) -> None:
    value = fresh_ip()
    community, operator = server.client(COMMUNITY[0]), server.client()
    for _ in range(2):
        done = ok(community.post("/api/import?source=feed:urlhaus", content=f"{value}\n192.0.2.300\n"), 201)
    assert (done["values"], done["rejected"]) == (1, 1)
    assert operator.detail(value)["sightings"] == 1
    ok(operator.post("/api/import?source=feed:urlhaus", content=fresh_ip()), 201)
    assert value not in operator.blocked("ip")


def test_where_nothing_can_be_taken_the_answer_says_why(api: Api) -> None:
    details = refused(api.post("/api/import?source=feed:a", content="nonsense\n???\n"), 400, "invalid")["details"]
    assert [item["index"] for item in details] == [1, 2]
    refused(api.post("/api/import?source=feed:a", content=b"\xff\xfea\0b\0"), 400, "invalid")
    assert bad_fields(api.post("/api/import?source=feed:a", content=b"")) == ["body"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "source"),
        ("source=feed:a&format=xml", "format"),
        ("source=feed:a&severity=x", "severity"),
        ("source=a b", "source"),
        ("source=feed:a&dryrun=true", "dryrun"),
    ],
)
def test_what_is_asked_wrongly_is_named(api: Api, query: str, field: str) -> None:
    assert bad_fields(api.post(f"/api/import?{query}", content="x")) == [field]


def test_a_form_is_no_file(api: Api) -> None:
    answer = api.post("/api/import?source=feed:a", files={"file": b"192.0.2.1"})
    refused(answer, 415, "unsupported_media_type")


def test_what_says_it_is_too_large_is_not_read(server: LiveServer) -> None:
    url = httpx.URL(server.url)
    connection = http.client.HTTPConnection(url.host, url.port, timeout=30)
    connection.putrequest("POST", "/api/import?source=feed:a")
    connection.putheader("Authorization", f"Bearer {OPERATOR}")
    connection.putheader("Content-Length", str(300 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")
    connection.close()


def test_a_key_that_may_only_read_may_not(server: LiveServer) -> None:
    refused(server.client(READER).post("/api/import?source=feed:a", content="x"), 403, "forbidden")


def test_the_audit_log_tells_of_it(api: Api) -> None:
    done = ok(api.post("/api/import?source=feed:audited", content=json.dumps([fresh_ip()])), 201)
    entries = ok(api.get("/api/audit-log?limit=50"))
    assert done["run"] in json.dumps(entries)
