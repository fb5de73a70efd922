"""``POST /api/iocs/lookup`` and the private range: many verdicts at once, and one that tells nothing."""

import hashlib
from typing import Any

import pytest

from tests.http.conftest import Api, bad_fields, fresh_domain, item, ok, refused


@pytest.fixture(scope="module")
def world(api: Api) -> dict[str, str]:
    """Indicators of several types."""
    values = {"ip": "91.243.1.1", "domain": "world-one.xyz", "url": "http://world-one.xyz/a/b?c=d"}
    values |= {"hash": "cafe" * 16, "cve": "CVE-2026-4242"}
    api.report(*(item(value, kind) for kind, value in values.items()))
    return values


def test_a_lookup_gives_one_verdict_a_value_in_order(api: Api, world: dict[str, str]) -> None:
    unknown = fresh_domain()
    values = [world["ip"], "nonsense", unknown, "hxxp://world-one[.]xyz/a/b?c=d", world["ip"], ""]

    verdicts = ok(api.post("/api/iocs/lookup", json={"values": values}))

    assert [verdict["status"] for verdict in verdicts] == [
        "active",
        "invalid",
        "unknown",
        "active",
        "active",
        "invalid",
    ]
    assert verdicts[0] == verdicts[4]
    assert verdicts[0]["reputation"] == api.detail(world["ip"])["reputation"]
    assert (verdicts[1]["value"], verdicts[1]["type"], verdicts[1]["reputation"]) == ("nonsense", None, None)
    assert verdicts[1]["error"]
    assert (verdicts[2]["value"], verdicts[2]["reputation"]) == (unknown, 80)
    assert verdicts[3]["value"] == world["url"]


def test_a_lookup_takes_10000_values_and_no_more(api: Api) -> None:
    values = [f"91.244.{number // 250}.{number % 250}" for number in range(10_000)]

    assert len(ok(api.post("/api/iocs/lookup", json={"values": values}))) == 10_000
    answer = api.post("/api/iocs/lookup", json={"values": [*values, "91.244.250.1"]})
    assert bad_fields(answer) == ["values"]
    assert "10000" in answer.json()["error"]


@pytest.mark.parametrize("body", [{}, {"values": []}, {"values": "91.1.1.1"}, {"values": [1]}, {"values": [None]}])
def test_a_lookup_of_anything_else_is_refused(api: Api, body: Any) -> None:
    refused(api.post("/api/iocs/lookup", json=body), 400, "invalid")


def lines_of_range(api: Api, prefix: str) -> dict[str, int]:
    answer = api.get(f"/api/iocs/range/{prefix}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    pairs = [line.split(":") for line in answer.text.splitlines()]
    assert all(len(suffix) == 60 and set(suffix) <= set("0123456789abcdefABCDEF") for suffix, _ in pairs)
    assert len(pairs) == len({suffix for suffix, _ in pairs})
    return {suffix.lower(): int(reputation) for suffix, reputation in pairs}


@pytest.mark.parametrize("name", ["ip", "domain", "url", "hash", "cve"])
def test_the_private_range_tells_who_knows_the_digest(api: Api, world: dict[str, str], name: str) -> None:
    one = api.detail(world[name])
    digest = hashlib.sha256(f"{one['type']}\0{one['value']}".encode()).hexdigest()

    found_lines = lines_of_range(api, digest[:4])

    assert found_lines[digest[4:]] == one["reputation"]
    assert found_lines == lines_of_range(api, digest[:4].upper())


def test_the_private_range_tells_nothing_by_its_length(api: Api, world: dict[str, str]) -> None:
    digest = hashlib.sha256(f"ip\0{world['ip']}".encode()).hexdigest()
    empty = next(f"{number:04x}" for number in range(65_536) if f"{number:04x}" != digest[:4])

    assert len(lines_of_range(api, empty)) == len(lines_of_range(api, digest[:4]))
    for coding in ("identity", "gzip", "zstd"):
        sizes = [_wire_bytes(api, prefix, coding) for prefix in (digest[:4], empty)]
        assert abs(sizes[0] - sizes[1]) <= 16, "a digest that padding does not resemble costs 30 bytes"


def _wire_bytes(api: Api, prefix: str, coding: str) -> int:
    with api.stream("GET", f"/api/iocs/range/{prefix}", headers={"Accept-Encoding": coding}) as answer:
        return sum(map(len, answer.iter_raw()))


@pytest.mark.parametrize("prefix", ["abc", "abcde", "ghij", "٣٣٣٣", "+123", "0x12"])
def test_a_range_has_four_hex_digits(api: Api, prefix: str) -> None:
    assert bad_fields(api.get(f"/api/iocs/range/{prefix}")) == ["prefix"]
