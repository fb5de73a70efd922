"""Webhooks: what an endpoint gets, what becomes of it where it does not take it, and who may be called at all."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clock import RunningClock
from tests.engines import Engine
from tests.http.conftest import (
    Api,
    LiveServer,
    bad_fields,
    encoded,
    fresh_domain,
    fresh_ip,
    item,
    ok,
    refused,
    serve_in,
    within,
)
from tests.sites import Got, Says, Site, running_site
from threatcloud import bootstrap
from threatcloud.domain.times import DAY_MS, HOUR_MS


@pytest.fixture(scope="module")
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture(scope="module")
def server(
    module_engine: Engine, tmp_path_factory: pytest.TempPathFactory, clock: RunningClock
) -> Iterator[LiveServer]:
    """One that may call this machine, with a clock to turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "clock", clock)
        live = serve_in(tmp_path_factory.mktemp("webhooks"), module_engine, {"TC_OUTBOUND_ALLOW": "127.0.0.1"})
        yield live
        live.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as found:
        yield found


@pytest.fixture
def hooks(api: Api) -> Iterator[Any]:
    """``hooks(url, **filters)`` adds a webhook, gone at the end of the test."""
    made: list[str] = []

    def add(url: str, **body: Any) -> tuple[str, str]:
        new = ok(api.post("/api/webhooks", json={"url": url, **body}), 201)
        made.append(new["webhook"]["id"])
        return made[-1], new["secret"]

    yield add
    for webhook in made:
        api.delete(f"/api/webhooks/{webhook}")


def events(site: Site) -> list[dict[str, Any]]:
    """All events that have arrived."""
    bodies = [json.loads(got.body) for got in site.got]
    return [event for body in bodies if body["type"] == "changes" for event in body["data"]["events"]]


def values(site: Site, kind: str = "listed") -> list[str]:
    return [event["ioc"]["value"] for event in events(site) if event["event"] == kind]


def is_signed(got: Got, secret: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    wanted = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in got.headers["webhook-signature"].split(" ")


def state_of(api: Api, webhook: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in ok(api.get("/api/webhooks")) if item["id"] == webhook)
    return found


def sent(api: Api, webhook: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(api.get(f"/api/webhooks/{webhook}/deliveries"))["deliveries"]
    return found


def test_changes_arrive_signed_in_batches(api: Api, site: Site, hooks: Any, clock: RunningClock) -> None:
    webhook, secret = hooks(site.url + "/in", events=["listed", "changed"])
    reported = [fresh_ip() for _ in range(150)]
    api.report(*(item(value) for value in reported[:75]))
    api.report(*(item(value) for value in reported[75:]))
    assert within(15, lambda: set(values(site)) == set(reported) == set(values(site, "changed")))
    assert all(is_signed(got, secret) for got in site.got)
    assert not is_signed(site.got[0]._replace(body=site.got[0].body + b" "), secret)
    assert {got.path for got in site.got} == {"/in"}
    assert {got.headers["content-type"] for got in site.got} == {"application/json"}
    assert len(site.got) < 10
    assert max(len(json.loads(got.body)["data"]["events"]) for got in site.got) <= 100
    assert len({got.headers["webhook-id"] for got in site.got}) == len(site.got)
    assert within(5, lambda: {item["state"] for item in sent(api, webhook)} == {"delivered"})
    assert {item["id"] for item in sent(api, webhook)} == {got.headers["webhook-id"] for got in site.got}


def test_only_what_is_of_interest_arrives(api: Api, site: Site, hooks: Any) -> None:
    webhook, _ = hooks(site.url, events=["listed"], type="domain", category="c2", minConfidence=0.6)
    wanted = fresh_domain()
    api.report(item(), item(fresh_domain(), "domain"), item(wanted, "domain", category="c2"))
    api.report(item(fresh_domain(), "domain", category="c2", confidence=0.5))
    assert within(15, lambda: bool(site.got))
    assert values(site) == [wanted]
    shown = state_of(api, webhook)
    assert (shown["events"], shown["type"], shown["category"], shown["minConfidence"]) == (
        ["listed"],
        "domain",
        "c2",
        0.6,
    )


def test_what_is_not_taken_is_sent_again_with_the_same_id(
    api: Api, site: Site, hooks: Any, clock: RunningClock
) -> None:
    site.answer = lambda _: Says(500)
    webhook, secret = hooks(site.url, events=["listed"])
    value = fresh_ip()
    api.report(item(value))
    assert within(15, lambda: bool(site.got) and sent(api, webhook)[0]["attempts"] == 1)
    (waiting,) = sent(api, webhook)
    assert (waiting["state"], waiting["status"], waiting["problem"]) == ("waiting", 500, "answered 500")
    assert waiting["nextAttemptAt"] > waiting["attemptedAt"]
    assert state_of(api, webhook)["state"] == "failing"
    site.answer = lambda _: Says(204)
    clock.turn(10_000)
    assert within(15, lambda: len(site.got) == 2)
    first, second = site.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == waiting["id"]
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert is_signed(second, secret)
    assert within(5, lambda: state_of(api, webhook)["state"] == "active")


def test_what_is_never_taken_is_given_up_and_can_be_had_again(
    api: Api, site: Site, hooks: Any, clock: RunningClock
) -> None:
    site.answer = lambda _: Says(503)
    webhook, _ = hooks(site.url, events=["listed"])
    value = fresh_ip()
    api.report(item(value))
    assert within(15, lambda: bool(site.got))
    for _ in range(20):
        if within(2, lambda: state_of(api, webhook)["dead"] == 1):
            break
        clock.turn(6 * HOUR_MS)
    (dead,) = sent(api, webhook)
    assert (dead["state"], dead["nextAttemptAt"]) == ("dead", None)
    assert dead["attempts"] == len(site.got) == 11
    site.answer = lambda _: Says(200)
    done = ok(api.post(f"/api/webhooks/{webhook}/retry"))
    assert done["retried"] == 1
    assert within(15, lambda: state_of(api, webhook)["dead"] == 0 and sent(api, webhook)[0]["state"] == "delivered")
    assert values(site)[-1] == value


def test_an_endpoint_that_fails_for_days_is_disabled_with_an_entry(
    api: Api, site: Site, hooks: Any, clock: RunningClock
) -> None:
    site.answer = lambda _: Says(500)
    webhook, _ = hooks(site.url, events=["listed"])
    api.report(item())
    assert within(15, lambda: state_of(api, webhook)["state"] == "failing")
    clock.turn(3 * DAY_MS)
    assert within(15, lambda: state_of(api, webhook)["state"] == "disabled")
    assert "taken nothing since" in state_of(api, webhook)["disabledWhy"]
    entries = ok(api.get("/api/audit-log", params={"action": "update"}))
    assert any(webhook in str(entry) and "disabled" in str(entry) for entry in entries)
    tries = len(site.got)
    missed = fresh_ip()
    api.report(item(missed))
    clock.turn(DAY_MS)
    assert not within(2, lambda: len(site.got) > tries)
    site.answer = lambda _: Says(200)
    ok(api.post(f"/api/webhooks/{webhook}/retry"))
    assert within(15, lambda: missed in values(site)), "what happened meanwhile is told, too"


def test_410_disables_at_once(api: Api, site: Site, hooks: Any) -> None:
    site.answer = lambda _: Says(410)
    webhook, _ = hooks(site.url)
    ok(api.post(f"/api/webhooks/{webhook}/test"))
    assert state_of(api, webhook)["state"] == "disabled"


def test_one_slow_endpoint_holds_up_no_other(api: Api, site: Site, hooks: Any) -> None:
    release = threading.Event()

    def slow(_: Got) -> Says:
        release.wait(20)
        return Says()

    with running_site() as stuck:
        stuck.answer = slow
        hooks(stuck.url, events=["listed"])
        hooks(site.url, events=["listed"])
        for _ in range(3):
            value = fresh_ip()
            api.report(item(value))
            assert within(10, lambda value=value: value in values(site))  # type: ignore[misc]
        release.set()


def test_a_try_says_what_came_of_it(api: Api, site: Site, hooks: Any) -> None:
    webhook, secret = hooks(site.url)
    assert ok(api.post(f"/api/webhooks/{webhook}/test"))["state"] == "delivered"
    assert json.loads(site.got[-1].body)["type"] == "ping"
    assert is_signed(site.got[-1], secret)
    site.answer = lambda _: Says(404)
    assert ok(api.post(f"/api/webhooks/{webhook}/test"))["problem"] == "answered 404"


def test_a_redirect_is_not_followed(api: Api, site: Site, hooks: Any) -> None:
    site.answer = lambda got: Says(307, b"", {"Location": "/elsewhere"})
    webhook, _ = hooks(site.url)
    assert ok(api.post(f"/api/webhooks/{webhook}/test"))["problem"] == "answered 307"
    assert {got.path for got in site.got} == {"/"}


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::1]/", "http://0x7f.2/", "ftp://x/", "x", ""]
)
def test_urls_inside_are_refused_by_name(api: Api, url: str) -> None:
    assert bad_fields(api.post("/api/webhooks", json={"url": url})) == ["url"]


def test_a_name_that_leads_inside_is_refused_when_it_is_called(start: Any) -> None:
    server = start()
    api = server.client()
    new = ok(api.post("/api/webhooks", json={"url": "http://localhost:9/"}), 201)
    tried = ok(api.post(f"/api/webhooks/{new['webhook']['id']}/test"))
    assert tried["state"] == "waiting"
    assert "TC_OUTBOUND_ALLOW" in tried["problem"]


def test_the_secret_is_shown_once_and_of_this_webhook(api: Api, site: Site, hooks: Any) -> None:
    (first, secret), (_, other) = hooks(site.url), hooks(site.url)
    assert secret != other
    assert secret not in api.get("/api/webhooks").text + api.get("/api/audit-log").text
    shown = ok(api.delete(f"/api/webhooks/{first}"))
    assert shown["url"] == site.url + "/"
    for answer in (api.delete(f"/api/webhooks/{first}"), api.post(f"/api/webhooks/{first}/test")):
        refused(answer, 404, "not_found")


def test_an_erased_value_is_sent_no_more_and_the_gap_is_told(api: Api, site: Site, hooks: Any) -> None:
    site.answer = lambda _: Says(500)
    webhook, _ = hooks(site.url, events=["listed"])
    value = fresh_domain()
    api.report(item(value, "domain"))
    assert within(15, lambda: bool(site.got))
    ok(api.delete(f"/api/iocs/{encoded(value)}"))
    site.got.clear()
    site.answer = lambda _: Says(200)
    ok(api.post(f"/api/webhooks/{webhook}/retry"))
    assert within(15, lambda: "gap" in {json.loads(got.body)["type"] for got in site.got})
    assert not any(value.encode() in got.body for got in site.got)
