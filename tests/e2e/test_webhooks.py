"""Webhooks over kills and restarts of a real process, and from the command line."""

import base64
import json
import signal
import time

from tests.e2e.conftest import Place
from tests.sites import Got, Says, running_site

ENVIRON = {"TC_OUTBOUND_ALLOW": "127.0.0.1"}


def test_a_kill_loses_no_event_and_ids_stay(place: Place) -> None:
    """Killed again and again, in the middle of sending: every acknowledged report arrives, at least once."""
    with running_site() as site:
        reported: set[str] = set()

        def told() -> set[str]:
            bodies = [json.loads(got.body) for got in site.got if got.body]
            return {event["ioc"]["value"] for body in bodies for event in body["data"].get("events", ())}

        def slow(_: Got) -> Says:
            time.sleep(0.3)
            return Says()

        site.answer = slow
        for turn in range(3):
            server = place.serve(environ=ENVIRON)
            if turn == 0:
                place.call("webhook", "add", site.url, "--event", "listed", environ=ENVIRON)
            for number in range(5):
                value = f"91.230.{turn}.{number + 1}"
                place.call("ioc", "add", "ip", value, "--severity", "high", "--confidence", "0.9", environ=ENVIRON)
                reported.add(value)
            until = time.monotonic() + 10
            while turn and len(told()) == 0 and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(0.4 * turn)
            server.stop(signal.SIGKILL)
        place.serve(environ=ENVIRON)
        until = time.monotonic() + 30
        while told() != reported:
            assert time.monotonic() < until, reported - told()
            time.sleep(0.1)
        by_id: dict[str, set[bytes]] = {}
        for got in site.got:
            by_id.setdefault(got.headers["webhook-id"], set()).add(got.body)
        assert all(len(bodies) == 1 for bodies in by_id.values())


def test_commands_add_try_show_and_remove(served: Place) -> None:
    with running_site() as site:
        done = served.call("webhook", "add", "http://127.0.0.1:9/", code=2)
        assert b"TC_OUTBOUND_ALLOW" in done.stderr
        new = served.json("webhook", "add", "https://hooks.invalid/x", "--event", "listed", "--type", "ip")
        webhook = new["webhook"]["id"]
        assert len(base64.b64decode(new["secret"].removeprefix("whsec_"))) == 32
        assert webhook.encode() in served.call("webhook", "list").stdout
        served.call("webhook", "test", webhook, code=1)
        assert b"ping" not in served.call("webhook", "deliveries", webhook).stdout
        assert served.json("webhook", "deliveries", webhook)[0]["state"] == "waiting"
        assert served.json("webhook", "retry", webhook)["retried"] == 1
        served.call("webhook", "remove", webhook)
        assert served.json("webhook", "list") == []
        assert site.got == []
