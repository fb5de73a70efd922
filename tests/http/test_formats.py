"""Blocklists in other formats: by name and by extension, with headers, selections and refusals."""

import gzip
import json
from collections.abc import Callable
from ipaddress import ip_network

import pytest
import zstandard

from tests.http.conftest import Api, bad_fields, fresh_domain, fresh_ip, item, ok, refused, within
from threatcloud.formats.feeds import FORMATS, NAMES, Format

URL = "http://bad-place.xyz/a?b=c"
DIGEST = "ab" * 32


@pytest.fixture(scope="module", autouse=True)
def listed(api: Api) -> list[str]:
    """Addresses of ever worse reputation, and one of every other type there is a list of."""
    parts = {fresh_ip(): part for part in (0.6, 0.7, 0.8, 1.0)}
    values = list(parts)
    reports = [item(value, confidence=part, category="c2") for value, part in parts.items()]
    api.report(*reports, item(fresh_domain(), "domain"), item(URL, "url"), item(DIGEST, "hash"))
    assert within(10, lambda: values[-1] in api.blocked() and URL in api.blocked("url"))
    return values


@pytest.mark.parametrize("format_", FORMATS, ids=NAMES)
def test_a_format_goes_by_its_name_and_by_its_extension(api: Api, format_: Format) -> None:
    for kind in format_.kinds:
        path = f"/api/feeds/{kind}-blocklist"
        named = api.get(path, params={"format": format_.name})

        assert named.status_code == 200, named.text
        assert named.headers["content-type"] == format_.media
        for word in (format_.name, format_.extension):
            answer = api.get(f"{path}.{word}")
            assert (answer.content, answer.headers["etag"]) == (named.content, named.headers["etag"])


def test_an_unknown_format_is_refused_with_all_that_are_known(api: Api) -> None:
    for path in ("/api/feeds/ip-blocklist?format=poetry", "/api/feeds/ip-blocklist.poetry"):
        answer = api.get(path)
        assert bad_fields(answer) == ["format"]
        assert all(name in answer.json()["error"] for name in NAMES)


def test_a_format_that_cannot_say_a_type_is_refused_with_what_it_is_for(api: Api) -> None:
    answer = api.get("/api/feeds/ip-blocklist.hosts")

    assert bad_fields(answer) == ["format"]
    assert "hosts cannot say what is in ip-blocklist; it is for domain-blocklist" in answer.json()["error"]


def test_a_name_that_is_no_list_is_not_found(api: Api) -> None:
    for name in ("email-blocklist.csv", "nonsense", "nonsense.csv", ".csv"):
        refused(api.get(f"/api/feeds/{name}"), 404, "not_found")


def test_no_format_goes_beside_an_extension(api: Api) -> None:
    assert bad_fields(api.get("/api/feeds/ip-blocklist.csv?format=json")) == ["format"]


def test_a_format_that_has_no_deltas_says_so(api: Api) -> None:
    version = api.get("/api/feeds/hash-blocklist").headers["x-feed-version"]

    answer = api.get(f"/api/feeds/hash-blocklist.yar?since={version}")

    assert bad_fields(answer) == ["since"]
    assert "yara has no deltas; load the whole list" in answer.json()["error"]


@pytest.mark.parametrize(("kind", "value"), [("url", URL), ("hash", DIGEST)])
def test_urls_and_hashes_have_lists_with_deltas_too(api: Api, kind: str, value: str) -> None:
    path = f"/api/feeds/{kind}-blocklist"
    before = api.get(path)
    assert before.text.splitlines()[3:] == [value]
    other = f"{value}&d=e" if kind == "url" else "cd" * 32

    api.report(item(other, kind))

    assert within(10, lambda: other in api.blocked(kind))
    since = {"since": before.headers["x-feed-version"]}
    assert within(10, lambda: f"+{other}" in api.get(path, params=since).text.splitlines())


def test_urls_are_no_networks(api: Api) -> None:
    assert URL in api.blocked("url", hosts="true")


def test_top_keeps_the_worst(api: Api, listed: list[str]) -> None:
    answer = api.get("/api/feeds/ip-blocklist?top=2")

    assert answer.text.splitlines()[2:] == ["# Total: 2 IPs", listed[-1], listed[-2]]
    assert [entry["value"] for entry in ok(api.get("/api/feeds/ip-blocklist.json?top=1"))["entries"]] == [listed[-1]]
    for top in (0, -1, 10**30):
        assert bad_fields(api.get(f"/api/feeds/ip-blocklist?top={top}")) == ["top"]


def test_aggregate_joins_networks_without_one_address_more(api: Api) -> None:
    api.report(*(item(f"91.242.9.{number}") for number in (4, 5, 6, 7, 9)))
    assert within(10, lambda: "91.242.9.9" in api.blocked())

    joined, apart = api.blocked(aggregate="true"), api.blocked()

    assert {"91.242.9.4/30", "91.242.9.9"} <= set(joined)
    assert len(joined) < len(apart)
    assert sum(ip_network(value).num_addresses for value in joined) == len(apart)
    assert bad_fields(api.get("/api/feeds/domain-blocklist?aggregate=true")) == ["aggregate"]
    assert bad_fields(api.get("/api/feeds/ip-blocklist.csv?aggregate=true")) == ["aggregate"]


def test_a_lossy_aggregate_states_its_collateral_and_spares_what_is_allowed(api: Api) -> None:
    api.report(*(item(f"91.243.9.{number}") for number in (4, 5, 7, 12, 13, 15)))
    assert within(10, lambda: "91.243.9.15" in api.blocked())
    api.post("/api/allowlist", json={"value": "91.243.9.14"})

    answer = api.get("/api/feeds/ip-blocklist?aggregate=true&minFill=75")

    assert {"91.243.9.4/30", "91.243.9.12/31", "91.243.9.15"} <= set(answer.text.splitlines())
    extra = int(answer.headers["x-feed-collateral"])
    assert f"# Collateral: {extra} addresses that nobody listed" in answer.text
    listed = sum(ip_network(value).num_addresses for value in api.blocked())
    joined = [line for line in answer.text.splitlines() if line[0] != "#"]
    assert sum(ip_network(value).num_addresses for value in joined) == listed + extra
    assert bad_fields(api.get("/api/feeds/ip-blocklist?minFill=75")) == ["minFill"]


def test_a_selection_goes_with_every_format(api: Api, listed: list[str]) -> None:
    assert ok(api.get("/api/feeds/ip-blocklist.json?category=scanner"))["entries"] == []
    assert ok(api.get("/api/feeds/ip-blocklist.json?category=c2"))["total"] == len(listed)


def test_a_format_is_served_in_every_coding_and_revalidated(api: Api) -> None:
    whole = api.get("/api/feeds/ip-blocklist.csv", headers={"Accept-Encoding": "identity"}).content
    unpack_zstd = zstandard.ZstdDecompressor().decompress
    decoders: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": unpack_zstd}
    for coding, decode in decoders.items():
        with api.stream("GET", "/api/feeds/ip-blocklist.csv", headers={"Accept-Encoding": coding}) as answer:
            assert decode(b"".join(answer.iter_raw())) == whole
        etag = answer.headers["etag"]
        again = api.get("/api/feeds/ip-blocklist.csv", headers={"If-None-Match": etag, "Accept-Encoding": coding})
        assert (again.status_code, again.content) == (304, b"")


def test_what_is_removed_leaves_every_format(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value))
    path = "/api/feeds/ip-blocklist.ndjson"
    assert within(10, lambda: any(json.loads(line)["value"] == value for line in api.get(path).text.splitlines()))

    assert api.delete(f"/api/iocs/{value}").status_code == 200

    assert within(10, lambda: value not in api.get(path).text)
