"""Sources: fetched with their ETag, taken up as a whole, held back where suspicious; what they drop ends."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clock import RunningClock
from tests.engines import Engine
from tests.http.conftest import (
    Api,
    LiveServer,
    Start,
    bad_fields,
    encoded,
    fresh_domain,
    item,
    ok,
    refused,
    serve_in,
    within,
)
from tests.sites import Got, Says, Site, running_site
from threatcloud import bootstrap
from threatcloud.domain.times import DAY_MS

_LISTS = iter(range(1, 250))


@pytest.fixture(scope="module")
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture(scope="module")
def server(
    module_engine: Engine, tmp_path_factory: pytest.TempPathFactory, clock: RunningClock
) -> Iterator[LiveServer]:
    """One that may fetch from this machine, with a clock to turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "clock", clock)
        patch.setattr(bootstrap, "_HOUR_S", 0.5)
        live = serve_in(tmp_path_factory.mktemp("sources"), module_engine, {"TC_OUTBOUND_ALLOW": "127.0.0.1"})
        yield live
        live.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as found:
        yield found


class Feed:
    """A source of a test: a name of its own, and what the site serves for it."""

    def __init__(self, api: Api, site: Site, **terms: Any) -> None:
        self.api, self.site = api, site
        self.net = next(_LISTS)
        self.name = f"feed:test-{self.net}"
        body = {"name": self.name, "url": f"{site.url}/list", "everySeconds": 3600, "format": "plain", **terms}
        self.serve([])
        self.added = ok(api.post("/api/sources", json=body), 201)

    def values(self, *numbers: int) -> list[str]:
        return [f"91.{100 + number // 250}.{self.net}.{number % 250 + 1}" for number in numbers]

    def serve(self, values: list[str], **headers: str) -> None:
        body = "".join(f"{value}\n" for value in values).encode()
        self.site.answer = lambda _: Says(200, body or b"# nothing\n", headers)

    def poll(self) -> dict[str, Any]:
        found: dict[str, Any] = ok(self.api.post(f"/api/sources/{encoded(self.name)}/poll"))
        return found

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = next(item for item in ok(self.api.get("/api/sources")) if item["name"] == self.name)
        return found


def listed(api: Api) -> set[str]:
    return set(api.blocked())


def test_a_list_is_fetched_and_its_values_are_blocked(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(0, 1, 2))
    done = feed.poll()
    assert (done["state"], done["entries"], done["new"], done["problem"]) == ("good", 3, 3, None)
    assert within(5, lambda: set(feed.values(0, 1, 2)) <= listed(api))
    assert api.detail(feed.values(0)[0])["sources"] == [feed.name]
    assert done["nextPollAt"] > done["checkedAt"]


def test_what_is_due_is_polled_by_itself(api: Api, site: Site, clock: RunningClock) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(0))
    assert within(15, lambda: feed.shown()["checkedAt"] is not None)
    feed.serve(feed.values(0, 1))
    clock.turn(3_600_000)
    assert within(15, lambda: feed.shown()["entries"] == 2)


def test_a_list_that_has_not_changed_is_not_fetched_again(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    body = "\n".join(feed.values(0, 1)).encode()
    tag, date = '"v1"', "Sat, 07 Mar 2026 08:00:00 GMT"

    def answer(got: Got) -> Says:
        if got.headers.get("if-none-match") == tag:
            assert got.headers["if-modified-since"] == date
            return Says(304)
        return Says(200, body, {"ETag": tag, "Last-Modified": date})

    site.answer = answer
    feed.poll()
    first = feed.poll()
    second = feed.poll()
    assert (second["entries"], second["changedAt"], second["state"]) == (2, first["changedAt"], "good")
    assert second["answeredAt"] > first["answeredAt"]
    statuses = [got.headers.get("if-none-match") for got in site.got]
    assert statuses.count(tag) >= 2


def test_what_a_source_drops_ends_with_it_and_comes_back_with_it(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    kept, gone, ours = feed.values(0, 1, 2)
    feed.serve([kept, gone, ours])
    feed.poll()
    api.report(item(ours))
    assert within(5, lambda: {kept, gone, ours} <= listed(api))
    feed.serve([kept])
    assert feed.poll()["dropped"] == 2
    assert within(5, lambda: gone not in listed(api))
    assert {kept, ours} <= listed(api)
    assert api.detail(gone)["status"] == "expired"
    feed.serve([kept, gone])
    feed.poll()
    assert within(5, lambda: gone in listed(api))


def test_what_another_source_still_lists_stays(api: Api, site: Site) -> None:
    with running_site() as other_site:
        one, other = Feed(api, site), Feed(api, other_site)
        (value,) = one.values(0)
        one.serve([value, *one.values(1)])
        other.serve([value])
        one.poll()
        other.poll()
        one.serve(one.values(1))
        assert one.poll()["dropped"] == 1
        assert within(5, lambda: value in listed(api))
        assert api.detail(value)["status"] == "active"


@pytest.mark.parametrize(("size", "word"), [(301, "twice"), (70, "half"), (0, "empty")])
def test_a_list_that_doubles_or_vanishes_overnight_is_held_until_it_is_confirmed(
    api: Api, site: Site, size: int, word: str
) -> None:
    feed = Feed(api, site)
    before, after = feed.values(*range(150)), feed.values(*range(1000, 1000 + size))
    feed.serve(before)
    feed.poll()
    feed.serve(after)
    held = feed.poll()
    assert (held["state"], held["entries"], held["heldEntries"]) == ("held", 150, size)
    assert word in held["heldWhy"]
    assert within(5, lambda: set(before) <= listed(api)), "what was taken up last stands"
    assert not set(after) & listed(api)
    assert feed.poll()["heldSince"] == held["heldSince"]
    done = ok(api.post(f"/api/sources/{encoded(feed.name)}/confirm"))
    assert (done["state"], done["entries"], done["heldWhy"]) == ("good", size, None)
    assert within(5, lambda: set(after) <= listed(api) and not set(before) & listed(api))
    refused(api.post(f"/api/sources/{encoded(feed.name)}/confirm"), 409, "conflict")


def test_a_held_list_that_is_again_as_it_was_is_taken_up(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(*range(120)))
    feed.poll()
    feed.serve([])
    assert feed.poll()["state"] == "held"
    feed.serve(feed.values(*range(121)))
    done = feed.poll()
    assert (done["state"], done["entries"]) == ("good", 121)


@pytest.mark.parametrize("status", [404, 500, 403])
def test_a_failure_leaves_what_was_good_and_is_shown(api: Api, site: Site, status: int) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(0))
    feed.poll()
    site.answer = lambda _: Says(status, b"1.2.3.4\n")
    done = feed.poll()
    assert (done["state"], done["problem"], done["entries"]) == ("failing", f"answered {status}", 1)
    assert within(5, lambda: set(feed.values(0)) <= listed(api))
    feed.serve(feed.values(0))
    assert feed.poll()["state"] == "good"


def test_a_source_that_answers_no_more_is_silent(api: Api, site: Site, clock: RunningClock) -> None:
    feed = Feed(api, site, everySeconds=86_400)
    feed.serve(feed.values(0))
    feed.poll()
    site.answer = lambda _: Says(500)
    clock.turn(4 * DAY_MS)
    assert within(10, lambda: feed.shown()["state"] == "silent")


def test_what_a_source_is_worth_is_measured(api: Api, site: Site, clock: RunningClock) -> None:
    with running_site() as late_site:
        early, late = Feed(api, site), Feed(api, late_site)
        benign, *shared = ["8.8.8.8", *early.values(0, 1)]
        early.serve([benign, *shared, *early.values(2)])
        early.poll()
        clock.turn(600_000)
        late.serve(shared)
        late.poll()
        assert within(15, lambda: early.shown()["figures"]["overlap"] == 0.5)
        first, second = early.shown()["figures"], late.shown()["figures"]
        assert (first["listed"], first["unique"], first["falsePositives"], first["firstShare"]) == (4, 0.5, 0.25, 1.0)
        assert (second["listed"], second["overlap"], second["firstShare"], second["unique"]) == (2, 1.0, 0.0, 0.0)
        assert first["leadHours"] == pytest.approx(0.17, abs=0.02)
        assert second["leadHours"] == pytest.approx(-0.17, abs=0.02)


def packed_zip(text: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, text)
    return out.getvalue()


def test_packed_lists_are_unpacked(api: Api, site: Site) -> None:
    text = fresh_domain().encode() + b"\n"
    for body, headers in (
        (gzip.compress(text), {}),
        (gzip.compress(text), {"Content-Encoding": "gzip"}),
        (packed_zip(text, "list.txt"), {}),
    ):
        feed = Feed(api, site)
        site.answer = lambda _, body=body, headers=headers: Says(200, body, headers)  # type: ignore[misc]
        done = feed.poll()
        assert (done["entries"], done["problem"]) == (1, None)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (packed_zip(b"1.1.1.1", "a", "b"), "holds 2 files"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (gzip.compress(b"x" * 1000, mtime=0)[:15], "ends too early"),
        (b"\x00\x01\x02\n" * 5, "could be read"),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_no_list(api: Api, site: Site, body: bytes, problem: str) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(0))
    feed.poll()
    site.answer = lambda _: Says(200, body)
    done = feed.poll()
    assert problem in done["problem"]
    assert done["entries"] == 1


def test_a_table_is_read_with_what_its_lines_say(api: Api, site: Site) -> None:
    feed = Feed(api, site, format=None, category="scanner")
    first, second = feed.values(0, 1)
    text = f"indicator,category,confidence\n{first},c2,0.9\n{second},,\n"
    site.answer = lambda _: Says(200, text.encode())
    feed.poll()
    assert api.detail(first)["category"] == "c2"
    assert api.detail(second)["category"] == "scanner"


def test_a_removed_source_takes_its_values_along(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    feed.serve(feed.values(0))
    feed.poll()
    assert within(5, lambda: set(feed.values(0)) <= listed(api))
    ok(api.delete(f"/api/sources/{encoded(feed.name)}"))
    assert feed.name not in {item["name"] for item in ok(api.get("/api/sources"))}
    assert within(15, lambda: not set(feed.values(0)) & listed(api))
    refused(api.delete(f"/api/sources/{encoded(feed.name)}"), 404, "not_found")


def test_names_and_urls_are_checked(api: Api, site: Site) -> None:
    feed = Feed(api, site)
    body = {"name": feed.name, "url": site.url}
    refused(api.post("/api/sources", json=body), 409, "conflict")
    for change, field in (
        ({"name": "a b"}, "name"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"format": "nope"}, "format"),
        ({"everySeconds": 1}, "everySeconds"),
    ):
        assert bad_fields(api.post("/api/sources", json={**body, "name": "feed:other", **change})) == [field]


def test_a_redirect_or_a_name_inside_is_not_fetched(start: Start) -> None:
    server = start()
    api = server.client()
    ok(api.post("/api/sources", json={"name": "feed:in", "url": "http://localhost:9/"}), 201)
    done = ok(api.post("/api/sources/feed:in/poll"))
    assert "TC_OUTBOUND_ALLOW" in done["problem"]
