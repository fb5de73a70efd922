"""The stream of changes: what it tells, to whom, from where, and how it ends."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from tests.http.conftest import OPERATOR, Api, LiveServer, Start, bad_fields, encoded, fresh_domain, fresh_ip, item, ok
from tests.http.conftest import refused as refused_answer
from tests.http.events import Ear, Heard, listening, read_all
from threatcloud.services import stream as stream_service


@pytest.fixture
def place(api: Api) -> str:
    """The id of now."""
    return read_all(api).last_id


def test_what_is_reported_is_told_as_it_happens(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    with listening(server.client()) as ear:
        assert ear.headers["content-type"] == "text/event-stream"
        assert ear.headers["cache-control"] == "no-store"
        assert ear.last_id
        api.report(item(value, category="c2", metadata={"tags": ["worm"]}))
        ear.wait_for(2)
        deadline = time.monotonic() + 10
        while "version" not in {event.kind for event in ear.heard} and time.monotonic() < deadline:
            time.sleep(0.02)
    told = {event.kind: event for event in ear.heard}
    assert told["listed"].value == told["changed"].value == value
    shown = told["changed"].data["ioc"]
    assert (shown["type"], shown["category"], shown["tags"], shown["severity"]) == ("ip", "c2", ["worm"], "high")
    assert shown["id"] == api.detail(value)["id"]
    assert told["changed"].data["id"] == told["changed"].id
    assert told["version"].data["version"] == api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]


def test_what_leaves_is_told(api: Api, place: str) -> None:
    value, erased = fresh_ip(), fresh_domain()
    api.report(item(value))
    ok(api.post("/api/allowlist", json={"value": value}), 201)
    ear = read_all(api, place)
    assert [event.kind for event in ear.heard if event.kind != "version"] == ["listed", "unlisted", "removed"]
    assert {event.value for event in ear.heard if event.kind != "version"} == {value}
    api.report(item(erased, "domain"))
    ok(api.delete(f"/api/iocs/{encoded(erased)}"))
    assert erased not in str(read_all(api, read_all(api).last_id).heard)


def test_a_follower_goes_on_where_it_was(api: Api, server: LiveServer) -> None:
    """Whatever happens between two connections is told in the second, and nothing of the first again."""
    values = [fresh_ip() for _ in range(6)]
    with listening(server.client(), events="listed") as ear:
        api.report(*(item(value) for value in values[:2]))
        ear.wait_for(2)
    api.report(*(item(value) for value in values[2:4]))
    with listening(server.client(), ear.last_id, events="listed") as again:
        again.wait_for(2)
        api.report(*(item(value) for value in values[4:]))
        again.wait_for(4)
    assert set(ear.values("listed")) == set(values[:2])
    assert set(again.values("listed")) == set(values[2:])
    assert read_all(api, lastEventId=ear.last_id, events="listed").values("listed") == again.values("listed")
    later = [*ear.values("listed")[1:], *again.values("listed")]
    assert read_all(api, ear.heard[0].id, events="listed").values("listed") == later


def test_only_what_is_of_interest_is_told(api: Api, place: str) -> None:
    ip, weak, name = fresh_ip(), fresh_ip(), fresh_domain()
    api.report(item(ip, category="c2"), item(weak, confidence=0.2, category="scanner"), item(name, "domain"))

    def told(**params: object) -> set[str]:
        return {event.value for event in read_all(api, place, events="listed,changed", **params).heard}

    assert told() >= {ip, name, weak}
    assert told(type="domain") == {name}
    assert told(category="c2") == {ip}
    assert told(minConfidence=0.5) == {ip, name}
    heard = read_all(api, place, type="domain").heard
    assert {event.kind for event in heard} - {"campaign"} <= {"listed", "changed", "version"}
    assert {event.data["ioc"]["type"] for event in heard if "ioc" in event.data} == {"domain"}


def test_what_leaves_passes_filters_of_what_it_was(api: Api, place: str) -> None:
    value = fresh_ip()
    api.report(item(value, category="scanner"))
    ok(api.post("/api/allowlist", json={"value": value}), 201)
    ear = read_all(api, place, category="c2", type="ip")
    assert [event.kind for event in ear.heard if event.kind != "version"] == ["unlisted", "removed"]
    assert not read_all(api, place, type="domain", events="unlisted").heard


def test_campaigns_are_told_with_their_end(api: Api, place: str) -> None:
    value = sha256(fresh_ip().encode()).hexdigest()  # which shares nothing with anything, so that none joins it
    api.report(item(value, "hash"))
    made = ok(api.post("/api/campaigns", json={"name": "Night shift", "iocs": [value], "tags": ["apt"]}), 201)

    def told_after(place: str) -> list[Heard]:
        heard = read_all(api, place, events="campaign").heard
        return [event for event in heard if event.data["campaign"]["id"] == made["id"]]

    (told,) = told_after(place)
    campaign = told.data["campaign"]
    assert (campaign["name"], campaign["iocCount"], campaign["tags"]) == ("Night shift", 1, ["apt"])
    ok(api.delete(f"/api/campaigns/{made['id']}"))
    (gone,) = told_after(told.id)
    assert gone.data["campaign"] == {"id": made["id"], "gone": True}


@pytest.mark.parametrize("sent", ["", "1", "x-y", "1-2-3-4-5-v1", "-1-0-0-0-0-", "9" * 60, "0-0-0-0-0-\n"])
def test_an_id_that_is_none_is_refused(api: Api, sent: str) -> None:
    if sent.strip():
        answer = api.get("/api/stream", headers={"Last-Event-ID": sent.strip()}, params={"follow": "false"})
        assert answer.status_code == 400 or sent.endswith("\n")
    assert bad_fields(api.get("/api/stream", params={"lastEventId": sent, "follow": "false"})) == ["lastEventId"]


@pytest.mark.parametrize(
    ("name", "value"), [("events", "none"), ("type", "x"), ("minConfidence", "2"), ("follow", "x")]
)
def test_a_wrong_filter_is_refused(api: Api, name: str, value: str) -> None:
    assert bad_fields(api.get("/api/stream", params={name: value})) == [name]


def test_what_was_erased_ends_streams_and_is_told_to_nobody(api: Api, server: LiveServer) -> None:
    """Followers have to load anew: a delta over an erasure would name what is gone."""
    value = fresh_ip()
    with listening(server.client()) as ear:
        api.report(item(value))
        ear.wait_for(2)
        ok(api.delete(f"/api/iocs/{encoded(value)}"))
        assert ear.ended.wait(10)
    refused_answer(api.get("/api/stream", headers={"Last-Event-ID": ear.heard[0].id}), 410, "gone")
    assert value not in str(read_all(api).heard)


def test_a_revoked_key_ends_its_stream(api: Api, server: LiveServer) -> None:
    made = ok(api.post("/api/keys", json={"name": "follower", "scopes": ["read"]}), 201)
    with listening(server.client(made["key"])) as ear, listening(server.client()) as other:
        ok(api.delete(f"/api/keys/{made['info']['id']}"))
        assert ear.ended.wait(10)
        assert not other.ended.is_set()


def test_a_sign_of_life_comes_where_nothing_happens(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_service.Hub.__init__, "__defaults__", (0.1,))
    with listening(start().client(), events="listed") as ear:
        until = time.monotonic() + 10
        while ear.heartbeats < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert ear.heard == []


def test_a_stop_ends_streams_at_once_and_they_go_on_at_the_next_server(start: Start) -> None:
    server = start()
    values = [fresh_ip(), fresh_ip()]
    with listening(server.client(), events="listed") as ear:
        server.client().report(item(values[0]))
        ear.wait_for(1)
        began_s = time.monotonic()
        server.stop()
        assert ear.ended.wait(5)
        assert time.monotonic() - began_s < 8  # less than requests in flight are given
    again = start()
    again.client().report(item(values[1]))
    assert read_all(again.client(), ear.last_id, events="listed").values("listed") == [values[1]]


@contextmanager
def deaf(server: LiveServer, last_id: str) -> Iterator[socket.socket]:
    """A follower that never reads."""
    parts = urlsplit(server.url)
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((parts.hostname, parts.port))
        lines = (
            "GET /api/stream HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {OPERATOR}",
            f"Last-Event-ID: {last_id}",
        )
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def test_a_slow_follower_holds_up_nobody_and_misses_nothing(api: Api, server: LiveServer, place: str) -> None:
    """It is far behind what is kept for all when it begins to read, and is told everything all the same."""
    values = [fresh_domain() for _ in range(600)]
    with deaf(server, place) as connection, listening(server.client(), events="listed") as ear:
        for first in range(0, len(values), 100):
            tags = [f"{'x' * 55}{number}" for number in range(20)]
            api.report(*(item(v, "domain", metadata={"tags": tags}) for v in values[first : first + 100]))
        ear.wait_for(len(values))
        text = b""
        connection.settimeout(15)
        while text.count(b"event: listed") < len(values):
            piece = connection.recv(65_536)
            assert piece, text[-500:]
            text += piece
    assert sorted(ear.values("listed")) == sorted(values)


def test_many_followers_are_told_the_same(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    with ExitStack() as stack:
        ears: list[Ear] = [stack.enter_context(listening(server.client(), events="listed")) for _ in range(40)]
        api.report(item(value))
        for ear in ears:
            assert ear.wait_for(1)[0].value == value
