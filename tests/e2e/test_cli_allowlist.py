"""``threat-cloud allowlist``, with a server and without; imports under it; and a kill in the middle of a change."""

import contextlib
import json
import signal
import sqlite3
import threading
import time
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import PATIENCE_S, Place

#: What the contract promises for every feed.
FEED_S = 2.0
#: 30,000 addresses of one /16, more than are judged in one go, and 10,000 others.
HOSTS = [f"45.{16 + number // 30_000}.{number % 30_000 // 250}.{number % 250 + 1}" for number in range(40_000)]


def standing(place: Place, value: str) -> tuple[str, bool]:
    found = place.json("ioc", "get", value)
    return found["status"], found["published"]


def test_values_are_added_listed_and_removed(served: Place) -> None:
    place = served
    place.call("ioc", "add", "ip", "45.1.1.1", "--severity", "high")
    place.call("ioc", "add", "domain", "a.bad-place.com", "--severity", "high")
    said = place.call("allowlist", "add", "45.1.1[.]0/24", "*.bad-place.com", "--note", "ours", "--expires", "30d")
    assert said.stderr.decode().splitlines() == [
        "allowed 45.1.1.0/24 (network): 1 stored indicators are withheld",
        "allowed *.bad-place.com (zone): 1 stored indicators are withheld",
    ]
    assert standing(place, "45.1.1.1") == standing(place, "a.bad-place.com") == ("whitelisted", False)
    shown = place.call("allowlist", "list").stdout.decode()
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["*.bad-place.com", "zone", "ours"],
        ["45.1.1.0/24", "network", "ours"],
    ]
    listed = place.json("allowlist", "list")
    assert [entry["expiresAt"] is None for entry in listed] == [False, False]
    assert [entry["value"] for entry in place.json("allowlist", "list", "--limit", "1")] == ["*.bad-place.com"]

    gone = place.call("allowlist", "remove", "45.1.1.0/24")
    assert gone.stderr.decode() == "removed 45.1.1.0/24: the allowlist no longer withholds 1 stored indicators\n"
    assert [item["released"] for item in place.json("allowlist", "remove", ".bad-place.com")] == [1]
    assert standing(place, "45.1.1.1") == standing(place, "a.bad-place.com") == ("active", True)
    assert b"allowlist" in place.call("allowlist", "remove", "45.1.1.0/24", code=3).stderr
    assert b"value" in place.call("allowlist", "add", "neither this nor that", code=2).stderr
    assert place.json("allowlist", "list") == []


def test_help_shows_examples(served: Place) -> None:
    for name in ("add", "list", "remove"):
        assert f"threat-cloud allowlist {name}".encode() in served.call("allowlist", name, "--help").stdout


def test_more_than_one_request_takes(served: Place) -> None:
    values = [f"45.2.1.{number}" for number in range(1, 151)]
    assert [entry["value"] for entry in served.json("allowlist", "add", *values)] == values
    assert len(served.json("allowlist", "list")) == 150
    served.call("allowlist", "remove", *values)


@pytest.mark.parametrize("has_server", [False, True])
def test_an_import_honours_it(place: Place, has_server: bool) -> None:
    if has_server:
        place.serve()
    run = place.call if has_server else place.run
    file = place.write("ips.txt", "45.3.1.1\n45.3.2.1\n45.3.1.128/25\nbad-place.com\n")
    run("allowlist", "add", "45.3.1.0/24", "bad-place.com")
    run("import", file, "--source", "feed:one")
    values = ("45.3.1.1", "45.3.2.1", "45.3.1.128/25", "bad-place.com")
    assert [standing(place, value)[0] for value in values] == ["whitelisted", "active", "whitelisted", "whitelisted"]
    give_up_at_s = time.monotonic() + FEED_S
    for name, expected in (("ip-blocklist", ["45.3.2.1"]), ("domain-blocklist", [])):
        while (lines := run("export", name).stdout.decode().splitlines()[3:]) != expected:
            assert time.monotonic() < give_up_at_s, lines
    run("allowlist", "remove", "45.3.1.0/24", "bad-place.com")
    run("import", file, "--source", "feed:two")
    assert {standing(place, value) for value in values} == {("active", True)}


def stored(place: Place, sql: str) -> list[Any]:
    uri = f"{place.database.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
        return db.execute(sql).fetchall()


def statuses(place: Place, value: str) -> dict[str, int]:
    return dict(stored(place, f"SELECT status, count(*) FROM indicator WHERE value GLOB '{value}' GROUP BY status"))


def wait_for(place: Place, sql: str) -> None:
    give_up_at_s = time.monotonic() + PATIENCE_S
    while not stored(place, sql):
        assert time.monotonic() < give_up_at_s, sql


def test_what_a_kill_cuts_short_is_finished_at_the_next_start(place: Place) -> None:
    place.write("ips.txt", "\n".join(HOSTS) + "\n")
    place.run("import", "ips.txt", "--source", "feed:one")
    active = statuses(place, "45.16.*")["active"]
    others = statuses(place, "45.17.*")
    for method, path, state in (("POST", "", "added"), ("DELETE", "/45.16.0.0%2F16", "removed")):
        server = place.serve(environ={"TC_API_KEYS": "k-0123456789abcdef0123:admin"})
        request = threading.Thread(target=send, args=(server.url, method, path))
        request.start()
        wait_for(place, f"SELECT 1 FROM allowlist WHERE unsettled = '{state}'")
        server.stop(signal.SIGKILL)
        request.join()
        assert stored(place, "SELECT value, unsettled FROM allowlist") == [("45.16.0.0/16", state)]
        assert statuses(place, "45.16.*")["active" if state == "added" else "whitelisted"] > 0
        entries = json.loads(place.run("allowlist", "list", "--json").stdout)
        assert [entry["value"] for entry in entries] == (["45.16.0.0/16"] if state == "added" else [])
        assert statuses(place, "45.16.*").get("active", 0) == (0 if state == "added" else active)
        assert stored(place, "SELECT 1 FROM allowlist WHERE unsettled IS NOT NULL") == []
        assert statuses(place, "45.17.*") == others


def send(url: str, method: str, path: str) -> None:
    """Asks for the change; the server dies over it."""
    headers = {"Authorization": "Bearer k-0123456789abcdef0123"}
    with contextlib.suppress(httpx.TransportError):
        body = {"value": "45.16.0.0/16"} if method == "POST" else None
        httpx.request(method, f"{url}/api/allowlist{path}", json=body, headers=headers, timeout=60, trust_env=False)
