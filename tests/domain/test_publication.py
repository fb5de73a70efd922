"""The guard's rules on small lists of our own; the real lists are put to the test in tests/enrich/test_benign.py."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.address import WIDTHS, masked, network_value, parse_network
from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.indicator import Indicator, IndicatorType, canonical
from threatcloud.domain.intervals import Intervals
from threatcloud.domain.publication import (
    CLEAR,
    WIDEST_PREFIXES,
    BenignList,
    BenignLists,
    Guard,
    Policy,
    Screening,
)

NEVER, RANKED, RENTED = range(3)
LISTS = (
    BenignList("cdn", Policy.NEVER, "A CDN."),
    BenignList("top", Policy.NEVER, "Much used.", ranking=True),
    BenignList("cloud", Policy.CORROBORATE, "Anybody rents it."),
)
SUFFIXES = {"com", "net", "uk", "co.uk", "io", "github.io"}


class SmallSuffixes:
    """Public suffixes by a plain set."""

    def is_public_suffix(self, name: str) -> bool:
        return name in SUFFIXES

    def registered_domain(self, name: str) -> str | None:
        labels = name.split(".")
        for start in range(1, len(labels)):
            if ".".join(labels[start:]) in SUFFIXES:
                return None if name in SUFFIXES else ".".join(labels[start - 1 :])
        return None


def ranges(networks: Iterable[tuple[str, int]]) -> Intervals:
    parsed = [(parse_network(value), rank) for value, rank in networks]
    return Intervals((network.first, network.last, rank) for network, rank in parsed)


GUARD = Guard(
    BenignLists(
        LISTS,
        v4=ranges([("104.16.0.0/13", NEVER), ("8.8.8.8", NEVER), ("52.0.0.0/11", RENTED), ("52.1.2.3", NEVER)]),
        v6=ranges([("2606:4700::/32", NEVER), ("2a05:d000::/25", RENTED)]),
        names={
            "top.com": RANKED,
            "docs.host.net": NEVER,
            "github.io": RANKED,
            "short.io": RENTED,
            "bank.co.uk": RENTED,
        },
        zones={"google.com": NEVER, "github.io": NEVER, "bank.co.uk": NEVER, "gmail.com": NEVER},
        hashes={"d41d8cd98f00b204e9800998ecf8427e": NEVER},
    ),
    SmallSuffixes(),
)


def screen(kind: str, text: str, guard: Guard = GUARD, anonymised: bool = False) -> Screening:
    return guard.screen(canonical(IndicatorType(kind), text), anonymised)


def code(kind: str, text: str, guard: Guard = GUARD) -> str | None:
    withheld, needs_corroboration = screen(kind, text, guard)
    assert withheld is None or needs_corroboration is None
    return withheld.code if withheld else needs_corroboration and f"corroborate {needs_corroboration}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("91.92.240.3", None),
        ("91.92.240.0/24", None),
        ("91.92.0.0/16", None),
        ("91.92.0.0/32", None),
        ("2a02:c207:1::5", None),
        ("2a02:c207::/32", None),
        ("10.0.0.5", "non-global"),
        ("100.64.1.1", "non-global"),
        ("224.0.0.1", "non-global"),
        ("::ffff:10.0.0.1", "non-global"),
        ("2002:0a00:0001::", "non-global"),
        ("64:ff9b::91.92.240.3", "non-global"),
        ("0.0.0.0/0", "non-global"),
        ("192.0.0.0/8", "non-global"),
        ("8.0.0.0/15", "too-wide"),
        ("2a02::/31", "too-wide"),
        ("8.8.8.8", "benign-list"),
        ("8.8.8.0/24", "benign-list"),
        ("104.16.1.1", "benign-list"),
        ("104.16.0.0/20", "benign-list"),
        ("104.16.0.0/13", "too-wide"),
        ("2606:4700::1", "benign-list"),
        ("2606:4700:8000::/33", "benign-list"),
        ("52.1.2.4", "corroborate cloud"),
        ("52.1.2.3", "benign-list"),
        ("52.1.2.0/24", "benign-list"),
        ("52.1.3.0/24", "shared-network"),
        ("2a05:d000::1", "corroborate cloud"),
        ("2a05:d000::/48", "shared-network"),
    ],
)
def test_addresses_and_networks(text: str, expected: str | None) -> None:
    assert code("ip", text) == expected


def test_an_anonymised_observation_is_withheld_and_the_same_network_written_out_is_not() -> None:
    assert screen("ip", "91.92.0.0", anonymised=True).withheld is not None
    assert screen("ip", "91.92.0.0/16") == CLEAR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("evil.com", None),
        ("www.evil.com", None),
        ("top.com", "top-domain"),
        ("www.top.com", "top-domain"),
        ("a.top.com", None),
        ("google.com", "benign-list"),
        ("mail.google.com", "benign-list"),
        ("google.com.evil.com", None),
        ("notgoogle.com", None),
        ("co.uk", "public-suffix"),
        ("github.io", "public-suffix"),
        # The zone github.io ends where somebody registered a name.
        ("foo.github.io", None),
        ("www.foo.github.io", None),
        ("www.github.io", "top-domain"),
        ("docs.host.net", "benign-list"),
        ("www.docs.host.net", "benign-list"),
        ("host.net", None),
        ("a.docs.host.net", None),
        ("deep.down.bank.co.uk", "benign-list"),
        ("bank.co.uk", "benign-list"),  # the zone is stronger than the name
        ("short.io", "corroborate cloud"),
        ("x.short.io", None),
        ("example.com", "special-name"),
        ("a.example.org", None),
        ("www.example.org", "special-name"),
        ("myexample.com", None),
        ("printer.local", "special-name"),
        ("1.0.0.127.in-addr.arpa", "special-name"),
        ("a.localhost", "special-name"),
        ("host.test", None),
        ("c2.bad.example", None),
        ("leaks.onion", None),
        ("c2.bazar", None),
    ],
)
def test_names(text: str, expected: str | None) -> None:
    assert code("domain", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://evil.com/", None),
        ("https://top.com/", "top-domain"),
        ("https://top.com:8443/", "top-domain"),
        ("https://user:pass@top.com", "top-domain"),
        ("https://top.com/attachment", None),
        ("https://top.com/?q=1", None),
        ("http://8.8.8.8/", "benign-list"),
        ("http://8.8.8.8:8080/", "benign-list"),
        ("http://8.8.8.8/x.sh", None),
        ("http://52.1.2.4/", "corroborate cloud"),
        ("http://52.1.2.4/x.sh", None),
        ("tcp://52.1.2.4:4444", "corroborate cloud"),
        ("http://10.0.0.5/x.sh", "non-global"),
        ("http://010.0.0.5/x.sh", None),  # WHATWG reads the octal: 8.0.0.5
        ("http://0x7f.1/x.sh", "non-global"),
        ("http://[::1]/x.sh", "non-global"),
        ("http://[::ffff:10.0.0.1]/x.sh", "non-global"),
        ("http://[2a02:c207:1::5]:81/x.sh", None),
        ("http://[2606:4700::1]/", "benign-list"),
        ("http://localhost/x.sh", "special-name"),
        ("http://intranet/x.sh", "special-name"),
        ("http://localhost:3000/admin", "special-name"),
        ("http://www.example.com/x.sh", "special-name"),
        ("http://github.io/x.sh", None),
        ("http://github.io/", "public-suffix"),
    ],
)
def test_urls(text: str, expected: str | None) -> None:
    assert code("url", text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "bob@evil.com", None),
        ("email", "bob@gmail.com", None),
        ("email", "abuse@evil.com", "role-mailbox"),
        ("email", "Security@evil.com", "role-mailbox"),
        ("email", "bob@example.org", "special-name"),
        ("email", "noreply@google.com", "benign-list"),
        ("email", "noreply@mail.bank.co.uk", "benign-list"),
        ("email", "bob@foo.github.io", None),
        ("hash", "D41D8CD98F00B204E9800998ECF8427E", "benign-list"),
        ("hash", "0" * 32, None),
        ("hash", "0" * 128, None),
        ("cve", "CVE-2021-44228", None),
    ],
)
def test_other_types(kind: str, text: str, expected: str | None) -> None:
    assert code(kind, text) == expected


def test_a_finding_names_the_list_and_says_why() -> None:
    withheld = screen("ip", "104.16.1.1").withheld
    assert withheld is not None
    assert (withheld.code, withheld.list_name, withheld.reason) == ("benign-list", "cdn", "A CDN.")
    special = screen("ip", "10.0.0.5").withheld
    assert special is not None
    assert special.list_name == "Private-Use (RFC 1918)"
    shared = screen("ip", "52.1.3.0/24").withheld
    assert shared is not None
    assert shared.list_name == "cloud"


def test_an_allowlist_withholds_and_an_empty_one_does_not() -> None:
    entries = [canonical(IndicatorType.IP, "91.92.240.0/24"), canonical(IndicatorType.DOMAIN, "ours.com")]
    guard = GUARD.with_allowlist(Allowlist.of("ours", entries))
    withheld = screen("ip", "91.92.240.3", guard).withheld
    assert withheld is not None
    assert (withheld.code, withheld.list_name) == ("allowlist", "ours")
    assert code("domain", "ours.com", guard) == "allowlist"
    assert code("ip", "91.92.241.3", guard) is None
    assert code("ip", "91.92.240.3") is None, "the guard it was made from is unchanged"
    assert guard.with_allowlist(Allowlist("ours")) == GUARD


def test_an_allowlist_replaces_the_one_of_its_name_only() -> None:
    first = Allowlist.of("first", [canonical(IndicatorType.DOMAIN, "one.com")])
    second = Allowlist.of("second", [canonical(IndicatorType.DOMAIN, "two.com")])
    again = Allowlist.of("first", [canonical(IndicatorType.DOMAIN, "three.com")])
    guard = GUARD.with_allowlist(first).with_allowlist(second).with_allowlist(again)
    assert [code("domain", f"{name}.com", guard) for name in ("one", "two", "three")] == [
        None,
        "allowlist",
        "allowlist",
    ]


hosts = st.one_of(
    st.tuples(st.just(4), st.integers(0, (1 << 32) - 1)),
    st.tuples(st.just(4), st.integers(52 << 24, (53 << 24) - 1)),
    st.tuples(st.just(6), st.integers(0x2000 << 112, (0x4000 << 112) - 1)),
    st.sampled_from([(4, 0x08080808), (4, 0x34010203), (6, 0x26064700 << 96), (6, 0x2A05D000 << 96)]),
)


@given(hosts, st.integers(0, 127))
def test_whatever_holds_back_a_host_holds_back_every_network_over_it(host: tuple[int, int], prefix: int) -> None:
    version, address = host
    prefix = min(prefix, WIDTHS[version] - 1)
    finding = GUARD.screen(Indicator(IndicatorType.IP, network_value(masked(version, address, WIDTHS[version]))))
    over = GUARD.screen(Indicator(IndicatorType.IP, network_value(masked(version, address, prefix))))
    if finding != CLEAR or prefix < WIDEST_PREFIXES[version]:
        assert over.withheld is not None
    assert over.needs_corroboration is None
