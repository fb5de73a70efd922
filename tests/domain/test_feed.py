"""Outbound feeds: list headers, and versions that grow as text whatever the clock does."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.feed import MAX_COUNT, WORDING, FeedList, is_version, next_version, plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import DAY_MS

NOW = 1_772_870_400_000  # 2026-03-07T08:00:00Z
clocks = st.integers(0, NOW * 2)


@given(st.one_of(st.none(), st.just("v20260307.999998")), st.lists(clocks, min_size=2, max_size=20))
def test_versions_grow_as_text_whatever_the_clock_does(last: str | None, times: list[int]) -> None:
    versions = []
    for time in times:
        last = next_version(last, time)
        versions.append(last)
    assert all(earlier < later for earlier, later in pairwise(versions))
    assert all(is_version(version) for version in versions)


@pytest.mark.parametrize(
    ("last", "time", "version"),
    [
        (None, NOW, "v20260307.000001"),
        ("nonsense", NOW, "v20260307.000001"),
        ("v20260306", NOW, "v20260307.000001"),
        ("v20260306.000041", NOW, "v20260307.000001"),
        ("v20260307", NOW, "v20260307.000001"),
        ("v20260307.000001", NOW, "v20260307.000002"),
        ("v20260307.000009", NOW - 9 * DAY_MS, "v20260307.000010"),
        ("v20270101.000009", NOW, "v20270101.000010"),
        (f"v20260307.{MAX_COUNT}", NOW, "v20260308.000001"),
    ],
)
def test_the_version_after(last: str | None, time: int, version: str) -> None:
    assert next_version(last, time) == version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v20260307", True),
        ("v20260307.000001", True),
        ("v20260307.1", False),
        ("v20260307.", False),
        ("20260307.000001", False),
        ("v20260307.0000001", False),
        ("v20260307.000001\n", False),
        ("V20260307", False),
        ("", False),
    ],
)
def test_what_is_a_version(text: str, expected: bool) -> None:
    assert is_version(text) is expected


def test_headers() -> None:
    assert plain_header(IndicatorType.IP, NOW, 2) == (
        b"# Threat Cloud IP Blocklist\n# Generated: 2026-03-07T08:00:00.000Z\n# Total: 2 IPs\n"
    )
    assert plain_header(IndicatorType.DOMAIN, 0, 0) == (
        b"# Threat Cloud Domain Blocklist\n# Generated: 1970-01-01T00:00:00.000Z\n# Total: 0 domains\n"
    )
    assert set(WORDING) == {IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH, IndicatorType.URL}


@pytest.mark.parametrize("kind", IndicatorType)
def test_the_default_list_is_the_plain_one(kind: IndicatorType) -> None:
    plain = FeedList(kind)
    assert plain.is_default
    assert plain.max_reputation == 30
    for other in (
        plain._replace(max_reputation=29),
        plain._replace(category="c2"),
        plain._replace(hosts_only=True),
    ):
        assert not other.is_default
