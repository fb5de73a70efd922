"""``/api/feeds/iocs``: what it holds, its order, walking it without loss, and what left."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import COMMUNITY, Api, LiveServer, Start, bad_fields, fresh_domain, fresh_ip, item, ok, within

PATH = "/api/feeds/iocs"


def soon(seconds: float) -> str:
    """A time so many seconds ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


class Follower:
    """A client that keeps a copy of the feed the way the contract tells it to."""

    def __init__(self, api: Api, limit: int) -> None:
        self._api = api
        self._limit = limit
        self._since: str | None = None
        self.pages = 0
        self.copy: dict[str, Any] = {}

    def follow(self) -> None:
        """Walks until nothing is left for now; the next call goes on with the last update as ``since``."""
        params: dict[str, Any] = {"limit": self._limit} | ({"since": self._since} if self._since else {})
        while True:
            page = self.take(params)
            if page["nextCursor"] is None:
                return
            params = {"limit": self._limit, "cursor": page["nextCursor"]}

    def take(self, params: dict[str, Any]) -> Any:
        """One page, entered into the copy."""
        page = ok(self._api.get(PATH, params=params))
        self.pages += 1
        for gone in page["removed"]:
            self.copy.pop(gone["value"], None)
        for ioc in page["iocs"]:
            self.copy[ioc["value"]] = ioc
            self._since = max(self._since or "", ioc["updatedAt"])
        return page


def test_an_item_is_as_in_search_without_status_and_source(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, category="c2", metadata={"port": 22, "tags": ["a"]}))
    since = api.detail(value)["updatedAt"]

    data = ok(api.get(PATH, params={"since": since}))

    assert data.keys() == {"generatedAt", "count", "iocs", "removed", "nextCursor"}
    assert data["count"] == len(data["iocs"]) == 1
    assert data["removed"] == []
    [found] = ok(api.get("/api/iocs", params={"search": value}))
    assert data["iocs"][0] == {name: found[name] for name in found.keys() - {"status", "source", "withheld"}}


def test_it_holds_every_type_of_any_reputation_that_the_guard_lets_out(api: Api) -> None:
    mild, stranger, private = fresh_ip(), fresh_ip(), "10.1.1.1"
    values = {"domain": fresh_domain(), "url": "http://feed-one.xyz/a", "hash": "cd" * 32, "email": "a@feed-one.xyz"}
    api.report(
        *(item(value, kind) for kind, value in values.items()),
        item(mild, severity="low", confidence=0.01),
        item(private),
    )
    alone = Api(str(api.base_url), COMMUNITY[0])
    alone.report(item(stranger, severity="critical", confidence=1.0))
    alone.close()

    data = ok(api.get(PATH, params={"limit": 5000}))

    listed = {ioc["value"] for ioc in data["iocs"]}
    assert {*values.values(), mild} <= listed
    assert not {stranger, private} & listed
    for kind, value in values.items():
        only = ok(api.get(PATH, params={"limit": 5000, "type": kind}))["iocs"]
        assert {ioc["type"] for ioc in only} == {kind}
        assert value in {ioc["value"] for ioc in only}


def test_the_oldest_update_comes_first(api: Api) -> None:
    first, second = fresh_ip(), fresh_ip()
    api.report(item(first))
    api.report(item(second))
    api.report(item(first))

    iocs = ok(api.get(PATH, params={"limit": 5000}))["iocs"]

    times = [ioc["updatedAt"] for ioc in iocs]
    assert times == sorted(times)
    order = [ioc["value"] for ioc in iocs]
    assert order.index(second) < order.index(first)


def test_since_goes_by_the_update_and_includes_its_time(api: Api) -> None:
    old, new = fresh_ip(), fresh_ip()
    api.report(item(old))
    api.report(item(new, timestamp="2020-01-01T00:00:00Z"))
    since = api.detail(new)["updatedAt"]

    assert [ioc["value"] for ioc in ok(api.get(PATH, params={"since": since}))["iocs"]] == [new]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "5001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"type": "ipv4"}, "type"),
        ({"type": "null"}, "type"),
        ({"since": "then"}, "since"),
        ({"cursor": "x"}, "cursor"),
        ({"page": "1"}, "page"),
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_is_refused(api: Api, params: dict[str, str], field: str) -> None:
    answer = api.get(PATH, params=params)

    assert bad_fields(answer) == [field]
    if params == {"limit": "5001"}:
        assert "5000" in answer.json()["error"]


def test_the_default_limit_is_1000(start: Start) -> None:
    server = start()
    for octet in range(1, 12):
        server.client().report(*(item(f"91.236.{octet}.{host}") for host in range(100)))

    data = ok(server.client().get(PATH))

    assert data["count"] == 1000
    assert data["nextCursor"] is not None
    rest = ok(server.client().get(PATH, params={"cursor": data["nextCursor"]}))
    assert (rest["count"], rest["nextCursor"]) == (100, None)


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_a_walk_gives_each_once(api: Api, limit: int) -> None:
    api.report(*(item() for _ in range(9)))
    api.report(*(item(fresh_domain(), "domain") for _ in range(4)))
    whole = [ioc["value"] for ioc in ok(api.get(PATH, params={"limit": 5000}))["iocs"]]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = ok(api.get(PATH, params=params))
        assert page["count"] == len(page["iocs"]) <= limit
        seen += [ioc["value"] for ioc in page["iocs"]]
        if page["nextCursor"] is None:
            break
        params = {"limit": limit, "cursor": page["nextCursor"]}

    assert seen == whole


def test_a_follower_misses_nothing_while_writes_go_on(start: Start) -> None:
    server: LiveServer = start()
    stop = threading.Event()
    values = [fresh_ip() for _ in range(40)]

    def write(part: int) -> None:
        client, turn = server.client(), 0
        while not stop.is_set():
            turn += 1
            client.report(*(item(value, source=f"w{part}") for value in values[part::3][: 3 + turn % 9]), item())

    writers = [threading.Thread(target=write, args=(part,)) for part in range(3)]
    for writer in writers:
        writer.start()
    follower = Follower(server.client(), limit=11)
    deadline = time.monotonic() + 60
    while follower.pages <= 24 and time.monotonic() < deadline:
        follower.follow()
    stop.set()
    for writer in writers:
        writer.join()
    follower.follow()

    truth = ok(server.client().get(PATH, params={"limit": 5000}))
    assert truth["nextCursor"] is None
    assert follower.pages > 24
    assert follower.copy == {ioc["value"]: ioc for ioc in truth["iocs"]}


def wait_until_gone(api: Api, value: str) -> None:
    """Waits until an indicator whose expiry passes has left the feed."""
    assert within(10, lambda: value not in {ioc["value"] for ioc in ok(api.get(PATH, params={"limit": 5000}))["iocs"]})
    assert api.detail(value)["status"] == "expired"


@pytest.fixture(scope="module")
def departed(api: Api) -> tuple[str, str]:
    """(value, a time just before it left) of an indicator that left the feed."""
    value = fresh_ip()
    api.report(item(value, expiresAt=soon(0.3)))
    assert value in {ioc["value"] for ioc in ok(api.get(PATH, params={"limit": 5000}))["iocs"]}
    before = datetime.now(UTC).isoformat()
    wait_until_gone(api, value)
    return value, before


def test_what_left_since_is_named(api: Api, departed: tuple[str, str]) -> None:
    value, before = departed

    page = ok(api.get(PATH, params={"since": before, "limit": 5000}))

    [gone] = [gone for gone in page["removed"] if gone["value"] == value]
    assert (gone["type"], gone["at"] >= before[:19]) == ("ip", True)
    assert value not in {ioc["value"] for ioc in page["iocs"]}
    other = ok(api.get(PATH, params={"since": before, "type": "domain"}))
    assert other["removed"] == []


def test_what_left_is_on_no_blocklist(api: Api, departed: tuple[str, str]) -> None:
    value, _ = departed

    assert within(10, lambda: value not in api.blocked(minReputation=100))  # lists follow within two seconds
    assert value not in {ioc["value"] for ioc in ok(api.get(PATH, params={"limit": 5000}))["iocs"]}


def test_what_left_before_the_walk_began_is_not_named(api: Api, departed: tuple[str, str]) -> None:
    page = ok(api.get(PATH, params={"limit": 5000}))

    assert departed[0] not in {gone["value"] for gone in page["removed"]}


def test_what_leaves_during_a_walk_is_not_lost(api: Api) -> None:
    """It was shown on the first page and left before the last: the follower must hear of it, now or next time."""
    value = fresh_ip()
    api.report(item(value, expiresAt=soon(0.3)), item(), item())
    follower = Follower(api, limit=1)
    page = follower.take({"limit": 5000})
    assert value in follower.copy
    params: dict[str, Any] = {"limit": 1}
    page = ok(api.get(PATH, params=params))
    wait_until_gone(api, value)
    api.report(item())
    while page["nextCursor"] is not None:
        page = follower.take({"limit": 5000, "cursor": page["nextCursor"]})

    follower.follow()

    assert value not in follower.copy


def test_an_indicator_reads_expired_as_soon_as_it_is(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, expiresAt=soon(0.3)))
    assert api.detail(value)["status"] == "active"
    time.sleep(0.35)

    assert api.detail(value)["status"] == "expired"


def test_a_report_after_the_expiry_makes_it_active_again(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, expiresAt=soon(0.3)))
    wait_until_gone(api, value)

    api.report(item(value))

    assert (api.detail(value)["status"], api.detail(value)["expiresAt"]) == ("active", None)
    assert value in {ioc["value"] for ioc in ok(api.get(PATH, params={"limit": 5000}))["iocs"]}
