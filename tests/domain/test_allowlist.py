"""What an operator's allowlist covers, in both directions."""

import pytest

from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.indicator import detect

OURS = Allowlist.of(
    "ours",
    map(
        detect,
        [
            "198.51.100.7",
            "203.0.113.0/25",
            "2001:db8:1::/48",
            "shop.ours.com",
            "https://theirs.net/our/page",
            "bob@theirs.net",
            "0" * 64,
        ],
    ),
    zones=["corp.org"],
)


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("198.51.100.0/24", True),
        ("203.0.113.9", True),
        ("203.0.113.129", False),
        ("203.0.113.0/24", True),
        ("0.0.0.0/0", True),
        ("2001:db8:1::9", True),
        ("2001:db8::/32", True),
        ("2001:db8:2::/48", False),
        ("http://198.51.100.7/x", True),
        ("http://[2001:db8:1::9]/x", True),
        ("http://198.51.100.8/x", False),
        ("shop.ours.com", True),
        ("ours.com", True),  # a resolver that blocks it blocks the shop
        ("www.ours.com", False),
        ("a.shop.ours.com", False),
        ("https://shop.ours.com/x", True),
        ("https://ours.com/x", False),
        ("alice@shop.ours.com", True),
        ("alice@ours.com", False),
        ("corp.org", True),
        ("a.b.corp.org", True),
        ("https://a.corp.org/x", True),
        ("alice@a.corp.org", True),
        ("mycorp.org", False),
        ("https://theirs.net/our/page", True),
        ("https://theirs.net/", False),
        ("bob@theirs.net", True),
        ("theirs.net", False),
        ("0" * 64, True),
        ("1" * 64, False),
        ("CVE-2021-44228", False),
    ],
)
def test_covers(text: str, covered: bool) -> None:
    assert OURS.covers(detect(text)) is covered


def test_truth_is_being_about_something() -> None:
    assert OURS
    assert Allowlist.of("zones only", [], zones=["corp.org"])
    assert not Allowlist("empty")
    assert not Allowlist.of("empty", [])
