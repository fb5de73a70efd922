"""Erasure: a value is gone from every answer, every feed, the ledger's details and the bytes of the database."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import zstandard

from tests.http.conftest import (
    READER,
    WRITER,
    Api,
    LiveServer,
    Start,
    encoded,
    fresh_domain,
    fresh_ip,
    item,
    ok,
    refused,
    within,
)

CLI = [sys.executable, "-m", "threatcloud"]


def erase(api: Api, value: str) -> Any:
    return ok(api.delete(f"/api/iocs/{encoded(value)}"))


def bytes_of(server: LiveServer) -> bytes:
    """Everything in the files of the database."""
    path = server.settings.db_path
    found = [path, path.with_name(path.name + "-wal")]
    return b"".join(item.read_bytes() for item in found if item.exists())


def run(server: LiveServer, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the command line against the server's own database."""
    settings = server.settings
    place = {"TC_DB_PATH": str(settings.db_path), "TC_DATABASE_URL": settings.database_url or ""}
    return subprocess.run(
        [*CLI, *words], env={**os.environ, **place}, capture_output=True, text=True, timeout=60, check=False
    )


def test_every_answer_is_without_it(api: Api) -> None:
    value, other = fresh_ip(), fresh_ip()
    api.report(item(value, metadata={"tags": ["x"], "mitreId": "T1110"}), item(value), item(other))
    api.sight(value, kind="negative")
    stats = ok(api.get("/api/stats"))

    spelled = value.replace(".", "[.]")
    assert erase(api, spelled) == {"erased": {"sightings": 3, "listings": 0}}

    assert api.get(f"/api/iocs/{value}").json()["data"]["status"] == "unknown"
    refused(api.get("/api/sightings", params={"value": value}), 404, "not_found")
    assert ok(api.get("/api/iocs", params={"search": value})) == []
    assert all(found["value"] != value for found in ok(api.get("/api/feeds/iocs", params={"limit": 5000}))["iocs"])
    after = ok(api.get("/api/stats"))
    assert stats["totalIocs"] - after["totalIocs"] == 1
    assert stats["totalSightings"] - after["totalSightings"] == 2
    assert value not in api.blocked()
    assert other in api.blocked()
    assert value not in api.blocked(maxReputation=100)
    refused(api.delete(f"/api/iocs/{value}"), 404, "not_found")


def test_it_needs_an_admin_and_an_indicator(api: Api, server: LiveServer) -> None:
    value = fresh_ip()
    api.report(item(value))
    for key in (READER, WRITER):
        refused(server.client(key).delete(f"/api/iocs/{value}"), 403, "forbidden")
    refused(api.delete("/api/iocs/no%20indicator"), 400, "invalid")
    refused(api.delete(f"/api/iocs/{fresh_ip()}"), 404, "not_found")
    assert api.detail(value)["status"] == "active"


def test_the_ledger_says_that_and_not_what(api: Api, server: LiveServer) -> None:
    value, kept = fresh_ip(), fresh_ip()
    api.report(item(value), item(kept))
    api.sight(value)
    api.sight(kept)
    erase(api, value)

    entries = ok(api.get("/api/audit-log", params={"limit": 200}))
    assert value not in json.dumps(entries)
    assert (entries[0]["action"], entries[0]["resource"]) == ("delete", "ioc")
    assert entries[0]["details"] == {"type": "ip", "sightings": 2, "listings": 0}
    sightings = [entry for entry in entries if entry["resource"] == "sighting"]
    assert sightings[1]["details"] is None
    assert sightings[0]["details"]["value"] == kept
    verdict = run(server, "audit", "verify")
    assert verdict.returncode == 0, verdict.stderr


def test_what_others_say_of_it_is_masked(api: Api) -> None:
    value, other, third = fresh_domain(), fresh_ip(), fresh_domain()
    spelled = value.upper().replace(".", "[.]")
    said = {
        "relatedTo": [spelled, third],
        "note": f"resolves to {value}.",
        "at": f"www.{value}",
        "deep": {value: [value]},
    }
    api.report(item(other, metadata=said), item(value, kind="domain", metadata={"relatedTo": other}))
    api.sight(other, context={"seen": value})
    assert value in json.dumps(api.detail(other))
    erase(api, value)

    found = api.detail(other)
    shown = json.dumps([found, ok(api.get("/api/sightings", params={"value": other}))])
    assert found["relatedIocs"] == []
    assert found["metadata"]["relatedTo"] == ["(erased)", third]
    assert found["metadata"]["note"] == "resolves to (erased)."
    assert found["metadata"]["deep"] == {"(erased)": ["(erased)"]}
    assert shown.replace(f"www.{value}", "").count(value) == 0
    assert spelled not in shown


def test_a_retry_stores_nothing_and_does_not_name_it(api: Api) -> None:
    value = fresh_ip()
    body, headers = {"threats": [item(value)]}, {"Idempotency-Key": f"key-{value}"}
    [made] = ok(api.post("/api/threats", json=body, headers=headers), 201)["iocIds"]
    erase(api, made)
    [told] = ok(api.post("/api/threats", json=body, headers=headers), 201)["iocIds"]
    assert told == "ioc_" + "0" * 32
    assert api.get(f"/api/iocs/{value}").status_code == 404


def test_no_delta_begins_before_it(api: Api) -> None:
    value, other = fresh_ip(), fresh_ip()
    api.report(item(value), item(other))
    assert within(5, lambda: value in api.blocked())
    before = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]
    since = api.detail(other)["updatedAt"]
    walk = ok(api.get("/api/feeds/iocs", params={"limit": 1}))["nextCursor"]
    erase(api, value)
    assert value not in api.blocked()

    refused(api.get("/api/feeds/ip-blocklist", params={"since": before}), 410, "gone")
    refused(api.get("/api/feeds/iocs", params={"since": since}), 410, "gone")
    refused(api.get("/api/feeds/iocs", params={"cursor": walk}), 410, "gone")
    package = ok(api.get("/api/feeds/agent-update", params={"currentVersion": before, "delta": "true"}))
    assert package["full"]
    assert value not in package["iocs"]["ipBlocklist"]
    assert other in package["iocs"]["ipBlocklist"]

    after = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]
    assert after > before
    newer = fresh_ip()
    api.report(item(newer))
    assert within(5, lambda: newer in api.blocked())
    delta = api.get("/api/feeds/ip-blocklist", params={"since": after})
    assert f"+{newer}" in delta.text.splitlines()
    since = api.detail(newer)["updatedAt"]
    assert [found["value"] for found in ok(api.get("/api/feeds/iocs", params={"since": since}))["iocs"]] == [newer]


def test_what_was_never_published_ends_no_delta(api: Api) -> None:
    private, known = "10.9.8.7", fresh_ip()
    api.report(item(private), item(known))
    assert within(5, lambda: known in api.blocked())
    before = api.get("/api/feeds/ip-blocklist").headers["x-feed-version"]
    since = api.detail(known)["updatedAt"]
    erase(api, private)
    assert api.get("/api/feeds/ip-blocklist", params={"since": before}).status_code == 200
    assert api.get("/api/feeds/iocs", params={"since": since}).status_code == 200


def test_it_can_be_reported_again(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value))
    first = api.detail(value)["id"]
    erase(api, value)
    api.report(item(value))
    found = api.detail(value)
    assert (found["id"], found["sightings"]) == (first, 1)
    assert within(5, lambda: value in api.blocked())


def test_no_byte_of_it_stays(start: Start) -> None:
    """Also not where rows have moved, lists were saved, and answers kept, while much else is stored."""
    server = start()
    api = server.client()
    value, url = "erase-me-4711.xyz", "http://91.240.1.77/erase-me-4711"
    for number in range(12):
        more = [item(f"bad-{number}-{count}.xyz", "domain", metadata={"note": "x" * 300}) for count in range(98)]
        said = {"note": "y" * 200 * number, "relatedTo": url}
        body = {
            "threats": [*more, item(value, "domain", metadata=said), item(url, "url", metadata={"relatedTo": value})]
        }
        ok(api.post("/api/threats", json=body, headers={"Idempotency-Key": f"k{number}"}), 201)
        api.sight(value, context={"seen": [value, number]})
    assert within(5, lambda: value in api.blocked("domain"))
    server.stop()
    server = start()  # the stop saved the lists
    api = server.client()
    assert b"erase-me-4711" in bytes_of(server)

    assert erase(api, value)["erased"]["sightings"] == 24
    left = bytes_of(server).replace(url.encode(), b"")
    assert left.count(b"erase-me-4711") == 0
    assert erase(api, url)["erased"]["sightings"] == 12
    assert bytes_of(server).count(b"erase-me-4711") == 0
    server.stop()
    assert bytes_of(server).count(b"erase-me-4711") == 0
    assert value not in "".join(saved_lists(server.settings.db_path))


def saved_lists(path: Path) -> list[str]:
    """The texts of the lists saved in a database."""
    import sqlite3

    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT body_zstd FROM snapshot").fetchall()
    assert len(rows) == 2
    return [zstandard.ZstdDecompressor().decompress(row[0]).decode() for row in rows]


def test_the_command_line_erases(start: Start) -> None:
    server = start()
    value = fresh_ip()
    server.client().report(item(value))
    refusal = run(server, "ioc", "erase", value)
    assert refusal.returncode == 1
    done = run(server, "ioc", "erase", value, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"erased": {"sightings": 1, "listings": 0}}
    server.stop()
    again = run(server, "ioc", "erase", value, "--yes")
    assert again.returncode == 3, again.stderr
