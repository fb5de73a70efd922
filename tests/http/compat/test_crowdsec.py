"""CrowdSec's local API: a bouncer is told what stands, what is new and what is over."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from pycrowdsec.client import QueryClient, StreamClient  # type: ignore[import-untyped]

from tests.clock import Clock
from tests.engines import Engine
from tests.http.conftest import FEEDS_ONLY, OPERATOR, WRITER, Api, LiveServer, fresh_ip, item, serve_in, within
from threatcloud import bootstrap
from threatcloud.domain.times import MINUTE_MS
from threatcloud.services.bouncing import AGAIN_MS, RENEW_MS

FIELDS = ["duration", "id", "origin", "scenario", "scope", "type", "value"]


class Place(NamedTuple):
    """A server whose clock tests put forward, its operator, and a bouncer with the least scope."""

    server: LiveServer
    api: Api
    bouncer: Api
    clock: Clock

    def publish(self, *values: str, **said: Any) -> None:
        """Reports, and waits until it is in a release."""
        before = self.version()
        self.api.report(*(item(value, **said) for value in values))
        assert within(5, lambda: self.version() != before)

    def version(self) -> str:
        """The newest release."""
        return self.api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]

    def allow(self, value: str) -> None:
        """Takes a value off the list for good."""
        before = self.version()
        assert self.api.post("/api/allowlist", json={"value": value}).status_code == 201
        assert within(5, lambda: self.version() != before)

    def pull(self, startup: bool = False, **params: str) -> tuple[set[str], set[str]]:
        """The values that are new and those that are over."""
        answer = self.bouncer.get("/v1/decisions/stream", params={"startup": str(startup).lower(), **params})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() == {"deleted", "new"}
        return values(body["new"]), values(body["deleted"])


def values(decisions: Any) -> set[str]:
    """Of decisions, where there is none null."""
    assert decisions is None or decisions
    return {each["value"] for each in decisions or ()}


@pytest.fixture
def place(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    clock = Clock()
    monkeypatch.setattr(bootstrap, "clock", clock)
    server = serve_in(tmp_path, engine, {})
    yield Place(server, server.client(), server.client(None, {"X-Api-Key": FEEDS_ONLY}), clock)
    server.stop()


class TestStream:
    def test_a_bouncer_begins_with_all_that_stands(self, place: Place) -> None:
        place.publish("91.240.1.1", "91.241.0.0/24", "2a0e::7", category="bruteforce")

        body = place.bouncer.get("/v1/decisions/stream", params={"startup": "true"}).json()

        assert list(body) == ["deleted", "new"]
        assert body["deleted"] is None
        assert all(list(each) == FIELDS for each in body["new"])
        assert {(each["scope"], each["value"]) for each in body["new"]} == {
            ("Ip", "91.240.1.1"), ("Range", "91.241.0.0/24"), ("Ip", "2a0e::7"),
        }  # fmt: skip
        assert {each["scenario"] for each in body["new"]} == {"threat-cloud/bruteforce"}

    def test_then_it_is_told_what_is_new_and_what_is_over(self, place: Place) -> None:
        place.publish("91.240.1.1", "91.240.1.2")
        assert place.pull(startup=True) == ({"91.240.1.1", "91.240.1.2"}, set())
        assert place.pull() == (set(), set())

        place.publish("91.240.1.3")
        place.allow("91.240.1.1")

        assert place.pull() == ({"91.240.1.3"}, {"91.240.1.1"})

    def test_what_an_answer_told_that_was_lost_is_told_again(self, place: Place) -> None:
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.publish("91.240.1.2")
        place.pull()  # lost

        assert place.pull()[0] == {"91.240.1.2"}
        place.clock.now += AGAIN_MS + MINUTE_MS  # who asks once an hour has lost no more
        assert place.pull()[0] == {"91.240.1.2"}

    def test_what_was_told_long_enough_is_not_told_for_ever(self, place: Place) -> None:
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.publish("91.240.1.2")

        told = []
        for _ in range(4):
            told.append(place.pull()[0])
            place.clock.now += AGAIN_MS

        assert told == [{"91.240.1.2"}] * 3 + [set()]

    def test_no_sequence_of_lost_answers_shorter_than_that_loses_a_change(self, place: Place) -> None:
        place.publish("91.240.1.1")
        have, _ = place.pull(startup=True)
        for step in range(12):
            place.publish(f"91.240.2.{step + 1}")
            new, over = place.pull()
            if step % 3 == 2:  # two of three are lost
                have = (have - over) | new
            place.clock.now += AGAIN_MS // 4

        assert have == set(place.api.blocked())

    def test_what_came_and_went_between_is_over(self, place: Place) -> None:
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.publish("91.240.1.2")
        place.allow("91.240.1.2")

        assert place.pull() == (set(), {"91.240.1.2"})

    def test_all_is_told_anew_before_decisions_end_by_themselves(self, place: Place) -> None:
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.clock.now += RENEW_MS - MINUTE_MS
        assert place.pull()[0] == set()
        place.clock.now += 2 * MINUTE_MS

        assert place.pull()[0] == {"91.240.1.1"}
        assert place.pull()[0] == set()

    def test_a_restarted_server_goes_on(self, place: Place, engine: Engine, tmp_path: Path) -> None:
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.server.stop()
        server = serve_in(tmp_path, engine, {})
        again = place._replace(
            server=server, api=server.client(), bouncer=server.client(None, {"X-Api-Key": FEEDS_ONLY})
        )
        again.publish("91.240.1.2")

        assert again.pull()[0] == {"91.240.1.2"}
        server.stop()

    def test_each_key_has_its_own_place(self, place: Place) -> None:
        other = place._replace(bouncer=place.server.client(None, {"X-Api-Key": OPERATOR}))
        place.publish("91.240.1.1")
        place.pull(startup=True)
        place.publish("91.240.1.2")

        assert other.pull()[0] == {"91.240.1.1", "91.240.1.2"}
        assert place.pull()[0] == {"91.240.1.2"}

    def test_who_starts_anew_is_told_what_is_over_as_well(self, place: Place) -> None:
        place.publish("91.240.1.1", "91.240.1.2")
        place.allow("91.240.1.1")

        assert place.pull(startup=True) == ({"91.240.1.2"}, {"91.240.1.1"})

    @pytest.mark.parametrize(
        ("params", "wanted"),
        [
            ({"scopes": "ip"}, {"91.240.1.1"}),
            ({"scopes": "Range"}, {"91.241.0.0/24"}),
            ({"scopes": "country"}, set()),
            ({"scopes": "ip,range,username"}, {"91.240.1.1", "91.241.0.0/24"}),
            ({"origins": "CAPI,lists"}, set()),
            ({"origins": "threat-cloud"}, {"91.240.1.1", "91.241.0.0/24"}),
            ({"scenarios_containing": "scan"}, {"91.240.1.1", "91.241.0.0/24"}),
            ({"scenarios_not_containing": "scan"}, set()),
            ({"something_new": "1"}, {"91.240.1.1", "91.241.0.0/24"}),
        ],
    )
    def test_it_can_be_narrowed(self, place: Place, params: dict[str, str], wanted: set[str]) -> None:
        place.publish("91.240.1.1", "91.241.0.0/24", category="scanner")

        assert place.pull(startup=True, **params)[0] == wanted

    def test_what_the_guard_holds_back_is_no_decision(self, place: Place) -> None:
        place.publish("91.240.1.1", "8.8.8.8", "10.0.0.5")

        assert place.pull(startup=True)[0] == {"91.240.1.1"}


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Api:
    """A bouncer of the module's server."""
    return server.client(None, {"X-Api-Key": FEEDS_ONLY})


def decisions(client: Api, **params: str) -> set[str]:
    answer = client.get("/v1/decisions", params=params)
    assert answer.status_code == 200, answer.text
    return values(answer.json())


@pytest.fixture(scope="module")
def stocked(api: Api) -> None:
    api.report(item("91.250.1.1", category="scanner"), item("91.250.2.0/24"), item("91.250.2.7"), item("2a0e:1::/48"))
    assert within(3, lambda: "91.250.2.7" in api.blocked())


@pytest.mark.usefixtures("stocked")
class TestDecisions:
    @pytest.mark.parametrize(
        ("params", "wanted"),
        [
            ({"ip": "91.250.1.1"}, {"91.250.1.1"}),
            ({"ip": "91.250.1.2"}, set()),
            ({"ip": "91.250.2.7"}, {"91.250.2.7", "91.250.2.0/24"}),
            ({"ip": "91.250.2.8"}, {"91.250.2.0/24"}),
            ({"ip": "2A0E:1:0::9"}, {"2a0e:1::/48"}),
            ({"ip": "::ffff:91.250.1.1"}, {"91.250.1.1"}),
            ({"range": "91.250.2.128/25"}, {"91.250.2.0/24"}),
            ({"range": "91.250.0.0/16"}, set()),
            ({"range": "91.250.0.0/16", "contains": "false"}, {"91.250.1.1", "91.250.2.7", "91.250.2.0/24"}),
            ({"ip": "91.250.2.7", "scope": "ip"}, {"91.250.2.7"}),
            ({"ip": "91.250.1.1", "type": "captcha"}, set()),
            ({"value": "91.250.1.1"}, {"91.250.1.1"}),
            ({"scenarios_containing": "scanner"}, {"91.250.1.1"}),
            ({"ip": "91.250.1.1", "simulated": "false"}, {"91.250.1.1"}),
        ],
    )
    def test_they_can_be_asked_for(self, client: Api, params: dict[str, str], wanted: set[str]) -> None:
        assert decisions(client, **params) == wanted

    def test_all_of_them_are_the_blocklist(self, client: Api, api: Api) -> None:
        assert decisions(client) == set(api.blocked())

    def test_a_decision_has_the_same_number_everywhere(self, client: Api) -> None:
        one = client.get("/v1/decisions", params={"ip": "91.250.1.1"}).json()[0]
        same = next(each for each in client.get("/v1/decisions").json() if each["value"] == "91.250.1.1")

        assert one == same
        assert 0 < one["id"] < 2**48
        assert re.fullmatch(r"[0-9]+h[0-9]+m[0-9]+s", one["duration"])

    def test_head_is_answered(self, client: Api) -> None:
        answer = client.head("/v1/decisions", params={"ip": "91.250.1.1"})

        assert (answer.status_code, answer.content) == (200, b"")

    @pytest.mark.parametrize(
        "params", [{"ip": "nonsense"}, {"range": "1.2.3.4/99"}, {"ip": "1.2.3.4", "contains": "x"}]
    )
    def test_what_is_no_address_is_refused_in_their_words(self, client: Api, params: dict[str, str]) -> None:
        answer = client.get("/v1/decisions", params=params)

        assert answer.status_code == 400
        assert answer.json().keys() == {"message"}


class TestKeys:
    @pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "nobodys-key-0123456789"}, {"X-Api-Key": WRITER}])
    @pytest.mark.parametrize("path", ["/v1/decisions", "/v1/decisions/stream"])
    def test_who_has_no_key_for_it_is_refused_as_there(
        self, server: LiveServer, path: str, headers: dict[str, str]
    ) -> None:
        answer = server.client(None, headers).get(path)

        assert (answer.status_code, answer.json()) == (403, {"message": "access forbidden"})


class TestBouncerLibrary:
    """CrowdSec's own library for bouncers, unmodified."""

    def test_the_stream_client_follows(self, place: Place) -> None:
        place.publish("91.240.1.1", "91.241.0.0/24")
        client = StreamClient(api_key=FEEDS_ONLY, lapi_url=f"{place.server.url}/")
        client.cycle("true")
        assert [client.get_action_for(ip) for ip in ("91.240.1.1", "91.241.0.9", "91.240.1.2")] == ["ban", "ban", None]

        place.publish("91.240.1.2")
        place.allow("91.240.1.1")
        client.cycle("false")
        client.cycle("false")

        assert set(client.get_current_decisions()) == {"91.240.1.2/32", "91.241.0.0/24"}

    def test_the_query_client_asks(self, server: LiveServer, api: Api) -> None:
        address = fresh_ip()
        api.report(item(address))
        client = QueryClient(api_key=FEEDS_ONLY, lapi_url=f"{server.url}/")

        assert client.get_action_for(address) == "ban"
        assert client.get_decisions_for(fresh_ip()) is None


def test_the_answers_are_of_the_types_that_are_promised(client: Api, stocked: None) -> None:
    found: httpx.Response = client.get("/v1/decisions")

    assert found.headers["content-type"] == "application/json"
    for each in found.json():
        assert [type(each[name]) for name in FIELDS] == [str, int, str, str, str, str, str]
