"""The smaller commands, on a database alone, beside a running server and over the network."""

import contextlib
import csv
import json
import os
import re
import sqlite3
import time

import pytest

from tests.e2e.conftest import PATIENCE_S, Place
from threatcloud.cli import connect
from threatcloud.storage.lock import WriterLock


def test_keys_made_and_revoked_beside_a_running_server_count_at_once(served: Place) -> None:
    place = served
    made = place.call("key", "create", "reader", "--scope", "read", "--scope", "audit", "--expires", "90d")
    key = made.stdout.decode().strip()
    assert re.fullmatch(r"tc_[\w-]{43}", key)
    assert key not in made.stderr.decode()

    target = ("--url", place.url)
    assert "totalIocs" in place.json("stats", *target, environ={"TC_API_KEY": key})
    denied = place.call("ioc", "add", "ip", "45.1.1.1", *target, code=4, environ={"TC_API_KEY": key})
    assert b"scope write" in denied.stderr

    listed = {item["name"]: item for item in place.json("key", "list")}
    assert listed["reader"]["scopes"] == ["audit", "read"]
    new = place.json("key", "rotate", listed["reader"]["id"], "--overlap-hours", "1")
    for valid in (key, new["key"]):
        place.call("stats", *target, environ={"TC_API_KEY": valid})

    place.call("key", "revoke", new["info"]["id"])
    refused = place.call("stats", *target, code=4, environ={"TC_API_KEY": new["key"]})
    assert b"TC_API_KEY" in refused.stderr
    (place.folder / "key.txt").write_text(key + "\n")
    place.call("stats", *target, "--api-key-file", "key.txt")
    assert b"there is no key key_0" in place.call("key", "revoke", "key_0", code=3).stderr


def test_indicators_are_added_found_and_explained(served: Place) -> None:
    place = served
    added = place.json("ioc", "add", "url", "hxxp://bad-place[.]com/x", "--severity", "high", "--tag", "=cmd|calc")
    assert added["new"] == 1
    place.call("ioc", "add", "ip", "45.1.1.1", "--category", "c2", "--port", "22", "--mitre-id", "t1110")

    found = place.json("ioc", "get", "http://bad-place.com/x")
    assert (found["type"], found["tags"]) == ("url", ["=cmd|calc"])
    assert {term["name"] for term in found["explanation"]["terms"]} == {"prior", "evidence"}
    shown = place.call("ioc", "get", "45.1.1.1").stdout.decode()
    assert re.search(r"mitre ids +T1110", shown)
    assert re.search(r"evidence +\d+ ", shown)

    unknown = place.call("ioc", "get", "45.9.9.9", "--json", code=3)
    assert json.loads(unknown.stdout)["status"] == "unknown"
    assert b"must be" in place.call("ioc", "get", "neither this nor that", code=2).stderr
    assert [item["value"] for item in place.json("ioc", "search", "place")] == ["http://bad-place.com/x"]
    assert [item["value"] for item in place.json("ioc", "search", "45.1.0.0/16")] == ["45.1.1.1"]
    assert [item["value"] for item in place.json("ioc", "list", "--type", "ip", "--category", "c2")] == ["45.1.1.1"]
    assert b"type must be" in place.call("ioc", "list", "--type", "planet", code=2).stderr

    rows = list(csv.DictReader(place.call("export", "iocs", "--format", "csv").stdout.decode().splitlines()))
    tags = {row["value"]: row["tags"] for row in rows}
    assert (tags["http://bad-place.com/x"], tags["45.1.1.1"]) == ("'=cmd|calc", "")


def test_campaigns_are_made_edited_and_shown(served: Place) -> None:
    place = served
    for value in ("45.1.1.1", "45.2.2.2"):
        place.call("ioc", "add", "ip", value)
    made = place.json("campaign", "create", "Operation [b]Example[/b]", "--ioc", "45.1.1.1", "--tag", "apt")
    edited = place.json("campaign", "edit", made["id"], "--add", "45[.]2.2.2", "--severity", "high")
    assert (edited["iocCount"], edited["severity"], edited["tags"]) == (2, "high", ["apt"])
    shown = place.call("campaign", "view", made["id"]).stdout.decode()
    assert "Operation [b]Example[/b]" in shown
    assert "2 were put together by an operator" in " ".join(shown.split())
    assert [item["id"] for item in place.json("campaign", "list", "--status", "active")] == [made["id"]]
    assert b"nothing to change" in place.call("campaign", "edit", made["id"], code=2).stderr
    assert b"iocs[0]" in place.call("campaign", "create", "x", "--ioc", "45.9.9.9", code=2).stderr
    place.call("campaign", "delete", made["id"])
    assert place.json("campaign", "list") == []
    place.call("campaign", "view", made["id"], code=3)


def test_rules_are_added_from_files_shown_and_deleted(served: Place) -> None:
    place = served
    first = place.write("ATR-2026-00001.yaml", "title: Login storm\nlevel: high\n")
    second = place.write("ATR-2026-00002.yml", 'title: "[b]\U0001f600[/b] \x1b"\n'.replace("\x1b", "\\x1b"))
    assert place.json("rule", "add", first, second) == {
        "received": 2,
        "new": 2,
        "updated": 0,
        "ruleIds": ["ATR-2026-00001", "ATR-2026-00002"],
    }
    place.write(first, "title: Login storm\nlevel: low\n")
    again = place.call("rule", "add", first, second).stdout.decode()
    assert re.search(r"new +0\nupdated +1\nthe same already +1\n", again)

    listed = place.call("rule", "list").stdout.decode().splitlines()
    assert [text.split()[:2] for text in listed[1:]] == [["ATR-2026-00002", "atr"], ["ATR-2026-00001", "atr"]]
    shown = place.call("rule", "view", "ATR-2026-00001").stdout.decode()
    assert shown.endswith("\n\ntitle: Login storm\nlevel: low\n")
    assert "[b]\U0001f600[/b]" in place.call("rule", "view", "ATR-2026-00002").stdout.decode()
    found = place.json("rule", "view", "ATR-2026-00001")
    assert [item["ruleId"] for item in place.json("rule", "list", "--since", found["publishedAt"])] == [found["ruleId"]]

    assert b"deleted ATR-2026-00001" in place.call("rule", "delete", "ATR-2026-00001").stderr
    for args in (("view", "ATR-2026-00001"), ("delete", "ATR-2026-00001"), ("view", "../keys")):
        assert b"no rule of this id" in place.call("rule", *args, code=3).stderr
    place.call("rule", "delete", "ATR-2026-00002")


def test_of_files_with_a_bad_one_no_rule_is_stored_and_each_bad_one_is_named(served: Place) -> None:
    place = served
    good = place.write("good.yaml", "title: fine\n")
    (place.folder / "other").mkdir()
    bad = {
        place.write("list.yaml", "- one\n"): "must be a mapping of names to values",
        place.write("broken.yaml", "title: [\n"): "is not valid YAML",
        place.write("latin.yaml", b"title: caf\xe9\n"): "is not UTF-8, at byte 10",
        place.write("large.yaml", "title: " + "x" * 70_000): "must not be larger than 65536 bytes",
        place.write("bad name.yaml", "title: fine\n"): "the id 'bad name' must be 1-128 characters",
        place.write("other/good.yaml", "title: fine\n"): "another FILE has the id good, too",
        "absent.yaml": "no such file or directory",
        "other": "is a directory",
        "-": "give it with --id",
    }
    *lines, last = place.call("rule", "add", good, *bad, code=1).stderr.decode().splitlines()
    for line, (name, reason) in zip(lines, bad.items(), strict=True):
        assert line.startswith(f"threat-cloud: {'standard input' if name == '-' else name}: ")
        assert reason in line
    assert last == "threat-cloud: 9 of 10 files hold no rule that can be stored; nothing was stored"
    assert place.json("rule", "list") == []
    assert b"--id: is for one FILE" in place.call("rule", "add", good, good, "--id", "x", code=2).stderr
    assert b"--source: must" in place.call("rule", "add", good, "--source", "So C", code=2).stderr


def test_rules_go_to_a_database_alone_and_over_the_network_in_as_many_calls_as_it_takes(place: Place) -> None:
    place.run("rule", "add", "-", "--id", "LOCAL-1", "--source", "soc", stdin=b"title: from a pipe\n")
    assert place.json("rule", "view", "LOCAL-1")["ruleContent"] == "title: from a pipe\n"

    server = place.serve()
    key = {
        "TC_API_KEY": place.call("key", "create", "x", "--scope", "read", "--scope", "write").stdout.decode().strip()
    }
    small = [place.write(f"small-{n}.yaml", f"title: {n}\n") for n in range(101)]
    large = [place.write(f"large-{n}.yaml", "title: " + '"' + "x" * 60_000 + '"') for n in range(20)]
    done = place.json("rule", "add", *small, *large, "--url", server.url, environ=key)
    assert (done["received"], done["new"], len(done["ruleIds"])) == (121, 121, 121)
    assert len(place.json("rule", "list", "--limit", "1000")) == 122
    reader = {"TC_API_KEY": place.call("key", "create", "y", "--scope", "read").stdout.decode().strip()}
    refused = place.call("rule", "add", small[0], "--url", server.url, code=4, environ=reader)
    assert b"scope write" in refused.stderr


def test_a_list_that_is_held_is_shown_and_confirmed(place: Place) -> None:
    place.write("list.txt", "".join(f"45.1.{n >> 7}.{n & 127}\n" for n in range(1, 1101)))
    place.run("import", "list.txt", "--source", "feed:list", "--severity", "critical", "--confidence", "1")
    assert b"is not held" in place.run("feed", "confirm", "ip-blocklist", code=1).stderr
    with contextlib.closing(sqlite3.connect(place.database)) as db, db:
        db.execute("UPDATE indicator SET expires_at = 1")
    place.serve()
    give_up_at_s = time.monotonic() + PATIENCE_S
    while place.json("stats")["heldFeeds"] != ["ip-blocklist"]:
        assert time.monotonic() < give_up_at_s
        time.sleep(0.2)
    shown = place.call("feed", "list").stdout.decode()
    assert re.search(r"ip-blocklist +held +1,100 +\S+Z +0\n", shown)
    assert b"# Total: 1100 IPs" in place.call("export", "ip-blocklist").stdout
    assert b"no feed 'iocs'" in place.call("feed", "confirm", "iocs", code=3).stderr
    assert b"confirmed ip-blocklist: 0 entries are left" in place.call("feed", "confirm", "ip-blocklist").stderr
    assert {feed["state"] for feed in place.json("feed", "list")} == {"current"}


def test_a_database_without_a_server_is_worked_on_all_the_same(place: Place) -> None:
    assert b"there is no database" in place.call("ioc", "list", code=3).stderr
    assert json.loads(place.run("ioc", "add", "ip", "45.1.1.1", "--json").stdout)["new"] == 1
    assert b"45.1.1.1" in place.run("ioc", "get", "45.1.1.1").stdout
    checked = json.loads(place.call("audit", "verify", "--json").stdout)
    assert (checked["entries"], checked["problem"]) == (3, None)


def test_whoever_holds_the_database_and_does_not_answer_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "PATIENCE_S", 0.5)
    place.database.parent.mkdir()
    place.database.touch()
    lock = WriterLock.acquire(place.database)
    try:
        done = place.call("stats", code=5)
    finally:
        lock.release()
    assert f"in use by process {os.getpid()}".encode() in done.stderr
    assert f"kill {os.getpid()}".encode() in done.stderr


def test_exports_are_what_the_server_publishes(place: Place) -> None:
    lines = "".join(f"45.1.{n >> 7}.{n & 127}\n" for n in range(1, 300))
    place.write("list.txt", lines + "8.8.8.8\nbad-place.com\n")
    place.run("import", "list.txt", "--source", "feed:list", "--severity", "critical", "--confidence", "1")

    alone = place.run("export", "ip-blocklist").stdout
    assert b"# Total: 299 IPs" in alone
    assert b"8.8.8.8" not in alone
    server = place.serve()
    assert place.call("export", "ip-blocklist").stdout == alone
    place.call("export", "domain-blocklist", "--out", "domains.txt")
    assert (place.folder / "domains.txt").read_text().splitlines()[3:] == ["bad-place.com"]

    key = (place.folder / "data" / "first-key.txt").read_text().strip()
    remote = place.call("export", "iocs", "--url", server.url, environ={"TC_API_KEY": key}).stdout
    assert len([json.loads(line) for line in remote.splitlines()]) == 300
    place.call("export", "iocs", "--format", "json", "--type", "domain", "--out", "all.json")
    assert [item["value"] for item in json.loads((place.folder / "all.json").read_text())] == ["bad-place.com"]
    place.call("export", "misp-feed", "--to", "feed")
    events = json.loads((place.folder / "feed/manifest.json").read_text())
    assert {path.stem for path in (place.folder / "feed").iterdir()} == {*events, "manifest", "hashes"}
    everything = place.call("export", "all", "--format", "stix", "--min-confidence", "0.1").stdout
    assert json.loads(everything)["type"] == "bundle"
    assert json.loads(place.call("export", "attack-layer").stdout)["versions"]["layer"] == "4.5"
    rules = place.call("export", "ip-blocklist", "--format", "nftables", "--aggregate", "--top", "2").stdout.decode()
    assert "flush set inet threat_cloud blocklist4" in rules
    assert 1 <= sum(line.startswith("45.1.") for line in rules.splitlines()) <= 2
    done = place.call("export", "ip-blocklist", "--format", "ip6tables", "--out", "rules.v6")
    assert b"299 of IPv4" in done.stderr
    assert (place.folder / "rules.v6").read_text().endswith("*filter\n:THREAT-CLOUD - [0:0]\nCOMMIT\n")
    assert b"domain-blocklist" in place.call("export", "ip-blocklist", "--format", "hosts", code=2).stderr
    assert b"one of plain, csv" in place.call("export", "ip-blocklist", "--format", "poetry", code=2).stderr
    assert b"wants one of ndjson" in place.call("export", "iocs", "--format", "poetry", code=2).stderr


def test_the_ledger_is_listed_and_checked_beside_a_running_server(served: Place) -> None:
    place = served
    place.call("ioc", "add", "ip", "45.1.1.1")
    place.call("key", "create", "me")
    entries = place.json("audit", "list", "--action", "create", "--limit", "2")
    assert [entry["resource"] for entry in entries] == ["key", "threats"]
    checked = place.json("audit", "verify")
    assert checked["problem"] is None
    assert checked["entries"] >= 3
    place.call("ioc", "add", "ip", "45.1.1.2")
    place.call("audit", "verify", "--link", checked["link"])
    assert b"cut off" in place.call("audit", "verify", "--link", "00" * 32, code=1).stderr


def test_attacker_written_text_reaches_a_terminal_only_as_escapes(served: Place) -> None:
    place = served
    place.call("ioc", "add", "ip", "45.7.7.7", "--tag", "\x1b]0;owned\x07\u202eexe")
    for args in (("ioc", "get", "45.7.7.7"), ("ioc", "get", "45.7.7.7", "--json"), ("ioc", "list")):
        shown = place.call(*args).stdout.decode()
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "\\x1b]0;owned\\x07\\u202eexe" in place.call("ioc", "get", "45.7.7.7").stdout.decode()


def test_wrong_usage_is_one_line_with_the_next_step(place: Place) -> None:
    for args, line in (
        (("ioc", "get"), "missing argument 'VALUE'; see: threat-cloud ioc get --help"),
        (("ioc", "gte"), "no such command 'gte'. Did you mean 'get'? See: threat-cloud ioc --help"),
        (("stats", "--url", "ftp://x"), "--url: got 'ftp://x', wants an address such as http://127.0.0.1:4000"),
        (("stats", "--url", "http://x", "--db-path", "y"), "--url and --db-path name two different systems"),
    ):
        done = place.call(*args, code=2)
        assert done.stderr.decode().startswith(f"threat-cloud: {line}")
        assert done.stderr.count(b"\n") == 1
    assert b"does not answer" in place.call("stats", "--url", "http://127.0.0.1:1", code=5).stderr


def test_the_document_and_the_version_need_no_database(place: Place) -> None:
    assert json.loads(place.call("openapi").stdout)["openapi"].startswith("3.1")
    assert place.call("version").stdout.startswith(b"threat-cloud ")
    assert not place.database.exists()
