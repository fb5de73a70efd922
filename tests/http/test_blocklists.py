"""``/api/feeds/ip-blocklist`` and ``domain-blocklist``: text, selection, headers, validation, freshness."""

import gzip
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, NamedTuple

import httpx
import pytest
import zstandard

from tests.http.conftest import Api, LiveServer, Start, bad_fields, fresh_domain, fresh_ip, item, ok, within

LISTS = {"ip": "/api/feeds/ip-blocklist", "domain": "/api/feeds/domain-blocklist"}
CODINGS = ("identity", "gzip", "zstd")


def fetch(api: Api, coding: str = "identity", path: str = LISTS["ip"], **headers: str) -> tuple[httpx.Response, bytes]:
    """A list as it came over the wire, in a coding."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with api.stream("GET", path, headers={"Accept-Encoding": coding, **named}) as answer:
        return answer, b"".join(answer.iter_raw())


class World(NamedTuple):
    """Indicators that every test of the selection finds published."""

    ips: list[str]  # of ever worse reputation
    domains: list[str]  # of ever worse reputation
    mild: str
    scanner: str
    c2: str
    network: str
    zero: str


@pytest.fixture(scope="module")
def world(api: Api) -> World:
    made = World(
        [fresh_ip() for _ in range(4)],
        [fresh_domain() for _ in range(4)],
        mild=fresh_ip(),
        scanner=fresh_ip(),
        c2=fresh_ip(),
        network="91.237.4.0/24",
        zero="91.173.0.0/32",
    )
    scale = (0.6, 0.7, 0.8, 1.0)
    api.report(
        *(item(value, confidence=part) for value, part in zip(made.ips, scale, strict=True)),
        *(item(value, "domain", confidence=part) for value, part in zip(made.domains, scale, strict=True)),
        item(made.mild, severity="low", confidence=0.2),
        item(made.scanner, category="scanner"),
        item(made.c2, category="c2"),
        item(made.network),
        item(made.zero),
        item(f"http://{made.domains[0]}/x", "url"),
        item("ab" * 16, "hash"),
    )
    assert within(10, lambda: made.zero in api.blocked() and made.domains[0] in api.blocked("domain"))
    return made


@pytest.mark.parametrize(("kind", "title", "unit"), [("ip", "IP", "IPs"), ("domain", "Domain", "domains")])
def test_a_list_is_text_worst_first_after_three_comments(
    api: Api, world: World, kind: str, title: str, unit: str
) -> None:
    answer = api.get(LISTS[kind])

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.split("\n")
    assert lines[-1] == ""
    listed = lines[3:-1]
    assert lines[0] == f"# Threat Cloud {title} Blocklist"
    assert re.fullmatch(r"# Generated: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[1])
    assert lines[2] == f"# Total: {len(listed)} {unit}"
    reputations = [api.detail(value)["reputation"] for value in listed]
    assert reputations == sorted(reputations)
    assert max(reputations) <= 30
    ours = world.ips if kind == "ip" else world.domains
    assert [value for value in listed if value in ours] == ours[::-1]


@pytest.mark.usefixtures("world")
def test_a_list_holds_its_own_type_only(api: Api) -> None:
    assert not [value for value in api.blocked() if value.strip("0123456789./")]
    assert not [value for value in api.blocked("domain") if "/" in value or "." not in value]


def test_the_highest_reputation_included_goes_by_two_names(api: Api, world: World) -> None:
    bad, mild = world.ips[-1], world.mild
    exact = api.detail(mild)["reputation"]
    assert exact > 31

    assert mild not in api.blocked()
    assert mild in api.blocked(minReputation=exact)
    assert mild in api.blocked(maxReputation=exact)
    assert mild not in api.blocked(minReputation=exact - 1)
    assert bad in api.blocked(maxReputation=exact - 1)
    assert bad not in api.blocked(maxReputation=0)
    assert api.blocked(minReputation=30) == api.blocked()


def test_a_category_selects(api: Api, world: World) -> None:
    listed = api.blocked(category="scanner")

    assert world.scanner in listed
    assert not {world.c2, world.ips[0]} & set(listed)


def test_hosts_leaves_networks_out(api: Api, world: World) -> None:
    everything, listed = set(api.blocked()), set(api.blocked(hosts="true"))

    assert {world.ips[0], world.zero, world.network} <= everything
    assert everything - listed == {world.network}
    assert set(api.blocked(hosts="false")) == everything


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"minReputation": "20", "maxReputation": "20"}, "minReputation"),
        ({"minReputation": "101"}, "minReputation"),
        ({"maxReputation": "-1"}, "maxReputation"),
        ({"minReputation": "bad"}, "minReputation"),
        ({"minReputation": "null"}, "minReputation"),
        ({"category": "unheard-of"}, "category"),
        ({"hosts": "maybe"}, "hosts"),
        ({"format": "no-such-format"}, "format"),
        ({"format": ""}, "format"),
        ({"limit": "5"}, "limit"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", LISTS.values())
def test_a_parameter_that_cannot_be_is_refused(api: Api, path: str, params: dict[str, str], field: str) -> None:
    assert bad_fields(api.get(path, params=params)) == [field]


def test_an_unknown_format_is_told_the_known_ones(api: Api) -> None:
    answer = api.get(LISTS["ip"], params={"format": "no-such-format"})

    assert "plain" in answer.json()["error"]
    assert api.get(LISTS["ip"], params={"format": "plain"}).text == api.get(LISTS["ip"]).text


def test_a_list_and_its_delta_make_the_next_list(api: Api) -> None:
    before = api.get(LISTS["ip"])
    gained = fresh_ip()
    api.report(item(gained))
    assert within(5, lambda: gained in api.blocked())

    delta = api.get(LISTS["ip"], params={"since": before.headers["x-feed-version"]})

    lines = delta.text.splitlines()
    old = {line for line in before.text.splitlines() if not line.startswith("#")}
    new = old | {line[1:] for line in lines if line[0] == "+"}
    assert new - {line[1:] for line in lines if line[0] == "-"} == set(api.blocked())
    assert delta.headers["x-feed-version"] > before.headers["x-feed-version"]


def test_a_version_nobody_knows_is_gone_and_a_delta_is_of_the_default_list(api: Api) -> None:
    assert api.get(LISTS["ip"], params={"since": "v19990101.000001"}).status_code == 410
    version = api.get(LISTS["ip"]).headers["x-feed-version"]
    assert api.get(LISTS["ip"], params={"since": version, "hosts": "true"}).status_code == 400


def test_each_coding_has_the_same_text_and_an_etag_of_its_own(api: Api) -> None:
    answers = {coding: fetch(api, coding) for coding in CODINGS}

    plain = answers["identity"][1]
    assert gzip.decompress(answers["gzip"][1]) == plain
    assert zstandard.ZstdDecompressor().decompress(answers["zstd"][1]) == plain
    etags = {answer.headers["etag"] for answer, _ in answers.values()}
    assert len(etags) == 3
    assert all(etag.startswith('"') for etag in etags), "strong"
    assert len({answer.headers["last-modified"] for answer, _ in answers.values()}) == 1
    assert all("accept-encoding" in answer.headers["vary"].lower() for answer, _ in answers.values())


@pytest.mark.parametrize("sent", CODINGS)
@pytest.mark.parametrize("asked", CODINGS)
@pytest.mark.parametrize("dress", ["{}", "W/{}", '"other", {}, "x"', "*"])
def test_an_etag_of_any_coding_is_answered_304(api: Api, sent: str, asked: str, dress: str) -> None:
    etag = fetch(api, sent)[0].headers["etag"]

    answer, body = fetch(api, asked, If_None_Match=dress.format(etag))

    assert (answer.status_code, body) == (304, b"")
    assert answer.headers["etag"] == fetch(api, asked)[0].headers["etag"]
    assert "content-encoding" not in answer.headers


def test_another_etag_is_answered_in_full(api: Api) -> None:
    for tag in ('"other"', "", "nonsense"):
        assert fetch(api, If_None_Match=tag)[0].status_code == 200


def test_if_modified_since(api: Api) -> None:
    modified = fetch(api)[0].headers["last-modified"]
    earlier = format_datetime(datetime.fromtimestamp(_seconds(modified) - 1, UTC), usegmt=True)

    assert fetch(api, If_Modified_Since=modified)[0].status_code == 304
    assert fetch(api, If_Modified_Since="Fri, 31 Dec 2999 23:59:59 GMT")[0].status_code == 304
    assert fetch(api, If_Modified_Since=earlier)[0].status_code == 200
    for nonsense in ("yesterday", "", "0", "Sat, 99 Foo 2026 00:00:00 GMT"):
        assert fetch(api, If_Modified_Since=nonsense)[0].status_code == 200


def test_if_none_match_goes_before_if_modified_since(api: Api) -> None:
    modified = fetch(api)[0].headers["last-modified"]

    assert fetch(api, If_None_Match='"other"', If_Modified_Since=modified)[0].status_code == 200


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def test_head_has_the_headers_of_get(api: Api) -> None:
    got, headed = api.get(LISTS["ip"]), api.head(LISTS["ip"])

    for name in ("etag", "last-modified", "content-type", "content-length"):
        assert headed.headers[name] == got.headers[name]
    assert headed.content == b""
    assert api.head(LISTS["ip"], headers={"If-None-Match": got.headers["etag"]}).status_code == 304


def test_what_changes_no_membership_keeps_the_bytes(api: Api) -> None:
    """A rebuilt list with the same members is the same list, though scores behind it have moved."""
    value, mild, marker = fresh_ip(), fresh_ip(), fresh_domain()
    api.report(item(value), item(mild, severity="low", confidence=0.1))
    assert within(10, lambda: value in api.blocked())
    before = fetch(api)

    api.report(item(value, severity="critical", confidence=1.0), item(mild, severity="low", confidence=0.1))
    api.report(item(marker, "domain"))
    assert within(10, lambda: marker in api.blocked("domain"))

    after = fetch(api)
    assert after[1] == before[1]
    assert after[0].headers["etag"] == before[0].headers["etag"]


def test_a_change_changes_etag_and_time(api: Api) -> None:
    first = fetch(api)[0]
    for _ in range(2):
        value = fresh_ip()
        api.report(item(value))
        assert within(10, lambda value=value: value in api.blocked())  # type: ignore[misc]
        now = fetch(api)[0]
        assert now.headers["etag"] != first.headers["etag"]
        assert _seconds(now.headers["last-modified"]) > _seconds(first.headers["last-modified"])
        assert fetch(api, If_None_Match=first.headers["etag"])[0].status_code == 200
        assert fetch(api, If_Modified_Since=first.headers["last-modified"])[0].status_code == 200
        first = now


def everywhere(api: Api) -> list[set[str]]:
    """The addresses of every feed and selection that lists them."""
    params: list[dict[str, Any]] = [
        {},
        {"hosts": "true"},
        {"minReputation": 100},
        {"category": "scanner"},
        {"category": "scanner", "maxReputation": 29, "hosts": "true"},
    ]
    lists = [set(api.blocked(**chosen)) for chosen in params]
    feed = ok(api.get("/api/feeds/iocs", params={"type": "ip", "limit": 5000}))["iocs"]
    update = ok(api.get("/api/feeds/agent-update"))["iocs"]["ipBlocklist"]
    return [*lists, {ioc["value"] for ioc in feed}, set(update)]


def test_a_change_is_in_every_feed_within_2_s(api: Api) -> None:
    everywhere(api)
    for _ in range(2):
        value = fresh_ip()
        api.report(item(value, category="scanner", severity="critical", confidence=1.0))

        assert within(2, lambda value=value: all(value in listed for listed in everywhere(api)))  # type: ignore[misc]


def test_what_leaves_is_gone_from_every_blocklist_within_2_s(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, category="scanner"))
    assert within(10, lambda: all(value in listed for listed in everywhere(api)))

    api.sight(value, kind="false-positive")

    def is_gone() -> bool:
        default, hosts, everything, _, selected, shared, update = everywhere(api)
        return value not in default | hosts | selected | update and value in everything & shared

    assert within(2, is_gone)


def test_an_empty_list_is_a_list(start: Start) -> None:
    server: LiveServer = start()

    for kind in ("ip", "domain"):
        answer = server.client().get(LISTS[kind])
        assert answer.status_code == 200
        assert len(answer.text.splitlines()) == 3
        assert "# Total: 0 " in answer.text
