"""``/api/rules`` and ``/api/atr-rules``, and how rules reach agents."""

import itertools
from datetime import UTC, datetime, timedelta
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from tests.http.conftest import FEEDS_ONLY, READER, WRITER, Api, LiveServer, Start, bad_fields, ok, refused, within

CONTENT = "title: SSH brute force\ndetection:\n  event: auth_failed\n"
_numbers = itertools.count(1)


def rule(rule_id: str | None = None, content: str = CONTENT, source: str = "atr", **more: Any) -> dict[str, Any]:
    """A rule agents get."""
    return {
        "ruleId": f"ATR-{next(_numbers):05d}" if rule_id is None else rule_id,
        "ruleContent": content,
        "source": source,
        **more,
    }


def add(api: Api, *rules: dict[str, Any]) -> Any:
    """Stores rules and gives the answer's data."""
    return ok(api.post("/api/rules", json={"rules": list(rules)}), 201)


def atr(api: Api, since: str | None = None) -> list[dict[str, Any]]:
    """The rules for agents."""
    found = ok(api.get("/api/atr-rules", params={"since": since} if since else {}))
    assert isinstance(found, list)
    return found


def package(api: Api, version: str | None = None) -> Any:
    """The update package of an agent."""
    return ok(api.get("/api/feeds/agent-update", params={"currentVersion": version} if version else {}))


def version_after(api: Api, version: str) -> str:
    """The version that follows once a change was published; it has 2 s for that."""
    assert within(2, lambda: package(api)["version"] > version)
    return str(package(api)["version"])


def test_a_rule_comes_back_as_it_was(api: Api) -> None:
    given = rule(publishedAt="2026-03-07T09:15:00+01:00")

    done = ok(api.post("/api/rules", json=given), 201)

    assert done == {"received": 1, "new": 1, "updated": 0, "ruleIds": [given["ruleId"]]}
    found = ok(api.get(f"/api/rules/{given['ruleId']}"))
    assert found == given | {"authoredAt": "2026-03-07T08:15:00.000Z", "publishedAt": found["publishedAt"]}
    assert abs(datetime.fromisoformat(found["publishedAt"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_same_again_changes_nothing_and_other_content_does(api: Api) -> None:
    given = rule()
    path = f"/api/rules/{given['ruleId']}"
    add(api, given)
    first = ok(api.get(path))

    assert add(api, given, rule())["new"] == 1
    assert add(api, given | {"publishedAt": "2026-03-07T08:15:00Z"})["updated"] == 0
    assert ok(api.get(path)) == first

    assert add(api, given | {"ruleContent": "a: 2"})["updated"] == 1
    second = ok(api.get(path))
    assert second["ruleContent"] == "a: 2"
    assert second["publishedAt"] > first["publishedAt"]


def test_of_two_rules_of_one_id_the_last_counts(api: Api) -> None:
    given = rule()

    done = add(api, given, given | {"ruleContent": "a: 2"})

    assert done == {"received": 2, "new": 1, "updated": 0, "ruleIds": [given["ruleId"]] * 2}
    assert ok(api.get(f"/api/rules/{given['ruleId']}"))["ruleContent"] == "a: 2"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ruleContent": "not: yaml: at all"}, "ruleContent"),
        ({"ruleContent": ""}, "ruleContent"),
        ({"ruleContent": "- a list"}, "ruleContent"),
        ({"ruleContent": "a: &x [1]\nb: *x"}, "ruleContent"),
        ({"ruleContent": "a: !!python/object/apply:os.system ['id']"}, "ruleContent"),
        ({"ruleContent": "a: 1\n---\nb: 2"}, "ruleContent"),
        ({"ruleContent": "a: " + "x" * (64 * 1024 - 2)}, "ruleContent"),
        ({"ruleContent": "a: \0"}, "ruleContent"),
        ({"ruleContent": "a: " + "[" * 60_000}, "ruleContent"),
        ({"ruleContent": None}, "ruleContent"),
        ({"ruleContent": {"a": 1}}, "ruleContent"),
        ({"ruleId": ""}, "ruleId"),
        ({"ruleId": "../etc/passwd"}, "ruleId"),
        ({"ruleId": "ATR-\0"}, "ruleId"),
        ({"ruleId": "ATR-1\n"}, "ruleId"),
        ({"ruleId": "a" * 129}, "ruleId"),
        ({"ruleId": 7}, "ruleId"),
        ({"source": ""}, "source"),
        ({"source": "with space"}, "source"),
        ({"source": "s" * 65}, "source"),
        ({"publishedAt": "yesterday"}, "publishedAt"),
        ({"publishedAt": "2999-01-01T00:00:00Z"}, "publishedAt"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_rule_refuses_the_batch(api: Api, change: dict[str, Any], field: str) -> None:
    good, bad = rule(), rule() | change

    answer = api.post("/api/rules", json={"rules": [good, bad]})

    assert bad_fields(answer) == [field]
    (detail,) = answer.json()["details"]
    assert detail["index"] == 1
    refused(api.get(f"/api/rules/{good['ruleId']}"), 404, "not_found")
    assert bad_fields(api.post("/api/rules", json=bad)) == [field]


def test_every_bad_rule_is_named(api: Api) -> None:
    answer = api.post("/api/rules", json={"rules": [rule(""), rule("x", "[", "?"), rule(), {"ruleId": "y"}, 7]})

    found = [(detail["index"], detail["field"]) for detail in refused(answer, 400, "invalid")["details"]]
    assert found == [(0, "ruleId"), (1, "ruleContent"), (1, "source"), (3, "ruleContent"), (4, "body")]


@pytest.mark.parametrize("body", [{}, {"rules": []}, {"rules": [rule("x")] * 101}, {"rules": {}}, {"rules": None}, []])
def test_a_body_that_is_no_batch_is_refused(api: Api, body: Any) -> None:
    refused(api.post("/api/rules", json=body), 400, "invalid")


def test_one_rule_or_several_but_not_both(api: Api) -> None:
    assert bad_fields(api.post("/api/rules", json=rule() | {"rules": [rule()]})) == ["rules"]


def test_the_largest_rule_is_taken(api: Api) -> None:
    content = "a: " + "x" * (64 * 1024 - 3)

    assert add(api, rule("largest", content, "manual"))["new"] == 1

    assert ok(api.get("/api/rules/largest"))["ruleContent"] == content


def test_an_unknown_rule_is_a_404(api: Api) -> None:
    for rule_id in ("nobody", "ATR-0", "%00", "..%2F..%2Fetc", "a" * 200):
        refused(api.get(f"/api/rules/{rule_id}"), 404, "not_found")
        refused(api.delete(f"/api/rules/{rule_id}"), 404, "not_found")


def test_a_deleted_rule_is_gone(api: Api) -> None:
    given = rule()
    add(api, given)
    before = ok(api.get(f"/api/rules/{given['ruleId']}"))

    assert ok(api.delete(f"/api/rules/{given['ruleId']}")) == before

    refused(api.get(f"/api/rules/{given['ruleId']}"), 404, "not_found")
    refused(api.delete(f"/api/rules/{given['ruleId']}"), 404, "not_found")
    assert given["ruleId"] not in {item["ruleId"] for item in atr(api)}


def test_rules_are_listed_oldest_first_in_pages_and_by_cursor(start: Start) -> None:
    api = start().client()
    for batch in range(3):
        add(api, *(rule(f"r-{batch}-{number}", source="manual") for number in range(4)))
    wanted = [f"r-{batch}-{number}" for batch in range(3) for number in range(4)]

    answer = api.get("/api/rules", params={"page": 2, "limit": 5})
    assert [item["ruleId"] for item in ok(answer)] == wanted[5:10]
    pagination = answer.json()["pagination"]
    assert [pagination[name] for name in ("total", "page", "limit", "pages")] == [12, 2, 5, 3]
    assert ok(api.get("/api/rules", params={"page": 9})) == []

    walked, cursor = [], None
    while True:
        answer = api.get("/api/rules", params={"limit": 5, **({"cursor": cursor} if cursor else {})})
        walked += [item["ruleId"] for item in ok(answer)]
        cursor = answer.json()["pagination"]["nextCursor"]
        if cursor is None:
            break
    assert walked == wanted


def test_a_rule_that_changes_during_a_walk_comes_again_at_the_end(start: Start) -> None:
    api = start().client()
    add(api, *(rule(f"r-{number}", source="manual") for number in range(4)))
    first = api.get("/api/rules", params={"limit": 3})
    add(api, rule("r-1", "a: 2", "manual"))

    second = ok(api.get("/api/rules", params={"limit": 3, "cursor": first.json()["pagination"]["nextCursor"]}))

    assert [item["ruleId"] for item in second] == ["r-3", "r-1"]


def test_since_is_inclusive_in_both_collections(start: Start) -> None:
    api = start().client()
    add(api, rule("ATR-1"))
    add(api, rule("ATR-2"))
    add(api, rule("manual", source="manual"))
    times = {item["ruleId"]: item["publishedAt"] for item in ok(api.get("/api/rules"))}

    answer = api.get("/api/rules", params={"since": times["ATR-2"]})

    assert [item["ruleId"] for item in ok(answer)] == ["ATR-2", "manual"]
    assert answer.json()["pagination"]["total"] == 2
    assert [item["ruleId"] for item in atr(api, times["ATR-2"])] == ["ATR-2"]
    assert [item["ruleId"] for item in atr(api)] == ["ATR-1", "ATR-2"]
    assert atr(api, "2999-01-01T00:00:00Z") == []


def test_since_loses_nothing_while_many_post_at_once(start: Start) -> None:
    """A client that repeats its last publishedAt, while several senders post, has every rule in the end."""
    server = start()
    reader, held, since = server.client(), set[str](), "1970-01-01T00:00:00Z"

    def sync() -> None:
        nonlocal since
        found = atr(reader, since)
        times = [item["publishedAt"] for item in found]
        assert times == sorted(times)
        held.update(item["ruleId"] for item in found)
        since = max([since, *times])

    def post(sender: int) -> None:
        client = server.client()
        for turn in range(10):
            add(client, *(rule(f"ATR-{sender}-{turn}-{number}") for number in range(15)))

    with ThreadPool(4) as pool:
        posting = pool.map_async(post, range(4))
        while not posting.ready():
            sync()
        posting.get()
    sync()

    assert len(held) == 600
    assert len(atr(reader)) == 600, "an array is never cut short"


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/api/rules", {"limit": "201"}, "limit"),
        ("/api/rules", {"cursor": "nonsense"}, "cursor"),
        ("/api/rules", {"since": "soon"}, "since"),
        ("/api/rules", {"source": "atr"}, "source"),
        ("/api/atr-rules", {"since": "soon"}, "since"),
        ("/api/atr-rules", {"limit": "5"}, "limit"),
    ],
)
def test_a_bad_parameter_is_named(api: Api, path: str, params: dict[str, str], field: str) -> None:
    assert bad_fields(api.get(path, params=params)) == [field]


def test_who_may_read_and_who_may_write(server: LiveServer) -> None:
    given = rule()
    path = f"/api/rules/{given['ruleId']}"
    for key, status, code in (
        (None, 401, "unauthenticated"),
        (READER, 403, "forbidden"),
        (FEEDS_ONLY, 403, "forbidden"),
    ):
        client = Api(server.url, key)
        refused(client.post("/api/rules", json=given), status, code)
        refused(client.delete(path), status, code)
        client.close()
    ok(server.client(WRITER).post("/api/rules", json=given), 201)
    for read in ("/api/rules", "/api/atr-rules", path):
        ok(server.client(READER).get(read))
        refused(server.client(WRITER).get(read), 403, "forbidden")
        refused(server.client(FEEDS_ONLY).get(read), 403, "forbidden")
    ok(server.client(WRITER).delete(path))


def test_every_change_is_audited_and_nothing_else(start: Start) -> None:
    api = start().client()
    given = rule("ATR-1")
    add(api, given)
    add(api, given)
    add(api, given | {"ruleContent": "a: 2"})
    refused(api.post("/api/rules", json={"rules": [rule("ATR-2"), rule("")]}), 400, "invalid")
    ok(api.delete("/api/rules/ATR-1"))
    refused(api.delete("/api/rules/ATR-1"), 404, "not_found")

    entries = [entry for entry in ok(api.get("/api/audit-log")) if entry["resource"] == "rule"]

    assert [entry["action"] for entry in entries] == ["delete", "update", "create"]
    assert all((entry["details"]["id"], entry["details"]["source"]) == ("ATR-1", "atr") for entry in entries)
    digests = [entry["details"]["sha256"] for entry in entries]
    assert digests[0] == digests[1] != digests[2]


def test_rules_outlive_a_restart(start: Start) -> None:
    server = start()
    add(server.client(), rule("ATR-1"))
    add(server.client(), rule("ATR-2"))
    ok(server.client().delete("/api/rules/ATR-2"))
    held = atr(server.client())
    server.stop()

    again = start().client()

    assert atr(again) == held
    add(again, rule("ATR-3"))
    assert atr(again)[-1]["publishedAt"] > held[-1]["publishedAt"]
    assert [item["id"] for item in package(again)["rules"]["atr"]["files"]] == ["ATR-1", "ATR-3"]


def test_a_whole_package_has_all_rules_of_agents_and_no_others(start: Start) -> None:
    api = start().client()
    before = package(api)["version"]
    add(api, rule("ATR-1", source="manual"), rule("by-source"), rule("private", source="manual"))
    version_after(api, before)

    for version in (None, "v20000101.000001", "nonsense"):
        found = package(api, version)
        assert found["full"] is True
        assert found["rules"]["atr"] == {
            "added": 2,
            "updated": 0,
            "removed": 0,
            "removedIds": [],
            "files": [
                {"id": "ATR-1", "name": "ATR-1.yaml", "content": CONTENT},
                {"id": "by-source", "name": "by-source.yaml", "content": CONTENT},
            ],
        }


def told(api: Api, version: str) -> tuple[int, int, list[str], list[str]]:
    """What a package says of rules since a version: how many were added and updated, the files, the removed."""
    found = package(api, version)
    assert found["full"] is False
    rules = found["rules"]["atr"]
    assert rules["added"] + rules["updated"] == len(rules["files"])
    assert rules["removed"] == len(rules["removedIds"])
    return rules["added"], rules["updated"], [file["id"] for file in rules["files"]], rules["removedIds"]


def test_a_package_tells_what_was_added_updated_and_removed(start: Start) -> None:
    api = start().client()
    versions = [package(api)["version"]]

    def published() -> None:
        versions.append(version_after(api, versions[-1]))

    add(api, rule("ATR-1"), rule("ATR-2"), rule("ATR-3"))
    published()
    add(api, rule("ATR-2", "a: 2"), rule("ATR-4"))
    published()
    ok(api.delete("/api/rules/ATR-1"))
    published()
    add(api, rule("ATR-1", "a: again"))
    published()

    assert versions == sorted(set(versions))
    assert told(api, versions[0]) == (4, 0, ["ATR-3", "ATR-2", "ATR-4", "ATR-1"], [])
    assert told(api, versions[1]) == (1, 2, ["ATR-2", "ATR-4", "ATR-1"], []), "ATR-1 was there then"
    assert told(api, versions[2]) == (0, 1, ["ATR-1"], [])
    assert told(api, versions[3]) == (1, 0, ["ATR-1"], [])
    assert told(api, versions[4]) == (0, 0, [], [])
    ok(api.delete("/api/rules/ATR-3"))
    published()
    assert told(api, versions[1])[3] == told(api, versions[4])[3] == ["ATR-3"]
    assert told(api, versions[5]) == (0, 0, [], [])


def test_what_came_and_went_is_told_as_gone(start: Start) -> None:
    api = start().client()
    before = package(api)["version"]
    add(api, rule("ATR-1"))
    ok(api.delete("/api/rules/ATR-1"))
    version_after(api, before)

    assert within(2, lambda: told(api, before) == (0, 0, [], ["ATR-1"]))


def test_a_rule_that_is_no_longer_for_agents_is_told_as_gone(start: Start) -> None:
    api = start().client()
    before = package(api)["version"]
    add(api, rule("shifting"))
    first = version_after(api, before)
    add(api, rule("shifting", source="manual"))
    second = version_after(api, first)

    assert told(api, first) == (0, 0, [], ["shifting"])
    assert package(api)["rules"]["atr"]["files"] == []
    add(api, rule("shifting"))
    version_after(api, second)
    assert told(api, second) == (1, 0, ["shifting"], [])
    assert told(api, first) == (0, 1, ["shifting"], [])


def test_a_rule_that_is_not_for_agents_makes_no_version(start: Start) -> None:
    api = start().client()
    before = package(api)["version"]

    add(api, rule("private", source="manual"))

    assert not within(1.5, lambda: package(api)["version"] != before)


def test_an_agent_that_applies_packages_has_what_a_whole_one_holds(start: Start) -> None:
    api = start().client()
    held: dict[str, str] = {}
    version = package(api)["version"]
    for turn in range(6):
        add(api, rule(f"ATR-{turn}"), rule("ATR-0", f"turn: {turn}"))
        if turn % 2:
            ok(api.delete(f"/api/rules/ATR-{turn}"))
        version_after(api, version)
        found = package(api, version)
        held |= {file["id"]: file["content"] for file in found["rules"]["atr"]["files"]}
        for gone in found["rules"]["atr"]["removedIds"]:
            held.pop(gone, None)
        version = found["version"]

    whole = {file["id"]: file["content"] for file in package(api)["rules"]["atr"]["files"]}

    def caught_up() -> bool:
        rest = package(api, version)["rules"]["atr"]
        fresh = held | {file["id"]: file["content"] for file in rest["files"]}
        return {name: text for name, text in fresh.items() if name not in rest["removedIds"]} == whole

    assert within(2, caught_up)
