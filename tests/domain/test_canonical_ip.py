import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.ip import canonical_ip


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        (
            "192.0.2.1",
            [
                "192.0.2.1",
                "192.0.2.1:80",
                "192.0.2.1:65535",
                "192[.]0[.]2[.]1",
                "192.0.2[.]1:80",
                "192(.)0(dot)2{.}1",
                "192\\.0\\.2\\.1",
                "<192.0.2.1>",
                "[192.0.2.1]:80",
                "192.0.2.1/32",
                "::ffff:192.0.2.1",
                "::FFFF:c000:201",
                "0:0:0:0:0:ffff:c000:0201",
                "[::ffff:192.0.2.1]:80",
                "::ffff:192.0.2.1/128",
            ],
        ),
        ("192.0.2.0/24", ["192.0.2.0/24", "192.0.2.255/24", "::ffff:192.0.2.0/120", "::ffff:c000:2ff/120"]),
        ("203.0.0.0/16", ["203.0.0.0", "203.0.0.0:80", "203.0.0.0/16", "203.0.113.1/16", "::ffff:203.0.0.0"]),
        ("203.0.0.0/32", ["203.0.0.0/32", "::ffff:203.0.0.0/128"]),
        ("203.0.0.0/15", ["203.1.2.3/15"]),
        ("0.0.0.0/0", ["0.0.0.0/0", "198.51.100.1/0", "::ffff:0:0/96"]),
        ("0.0.0.0/16", ["0.0.0.0"]),
        (
            "2001:db8::1",
            [
                "2001:db8::1",
                "2001:DB8:0:0:0:0:0:1",
                "2001:0db8:0000:0000:0000:0000:0000:0001",
                "[2001:db8::1]",
                "[2001:db8::1]:443",
                "2001:db8::1/128",
                "2001[:]db8::1",
                "2001:db8::0.0.0.1",
            ],
        ),
        ("2001:db8:0:1:1:1:1:1", ["2001:db8::1:1:1:1:1"]),
        ("2001:db8::1:0:0:1", ["2001:db8:0:0:1:0:0:1"]),
        ("2001:db8::/32", ["2001:db8::/32", "2001:db8:ffff::1/32"]),
        ("::", ["::", "0::0", "[::]:80"]),
        ("::/0", ["::/0", "2001:db8::/0", "::ffff:192.0.2.1/0"]),
        ("::fffe:0:0/95", ["::ffff:192.0.2.1/95"]),
        ("64:ff9b::c000:201", ["64:ff9b::192.0.2.1"]),
        ("::c000:201", ["::192.0.2.1"]),
    ],
)
def test_spellings_meet(value: str, spellings: list[str]) -> None:
    assert {spelling: canonical_ip(spelling) for spelling in spellings} == dict.fromkeys(spellings, value)
    assert canonical_ip(value) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("example.com", "must be an IPv4 or IPv6 address or a CIDR network, such as 192.0.2.1 or 2001:db8::/32"),
        ("http://192.0.2.1/", "must be an IPv4 or IPv6 address or a CIDR network"),
        ("192.0.2.01", "must have octets without leading zeros"),
        ("0300.0.2.1", "must have octets without leading zeros"),
        ("00.0.0.0/8", "must have octets without leading zeros"),
        ("0x7f.0.0.1", "must be an IPv4 or IPv6 address"),
        ("192.0.2", "not a range, a pattern or a part"),
        ("192.0.2.", "not a range, a pattern or a part"),
        ("192.0.2.1.1", "not a range, a pattern or a part"),
        ("192.0.2.256", "not a range, a pattern or a part"),
        ("3221225985", "not a range, a pattern or a part"),
        ("192.0.2.1-192.0.2.9", "not a range, a pattern or a part"),
        ("192.0.2.*", "not a range, a pattern or a part"),
        ("192.0.2.1 192.0.2.2", "must be an IPv4 or IPv6 address"),
        ("192.0.2.1:65536", "must have a port from 0 to 65535"),
        ("192.0.2.1:", "must be an IPv4 or IPv6 address"),
        ("192.0.2.0/33", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.0/", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.0/08", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.0/+8", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.0/255.255.255.0", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.0/24/24", "must have a whole number from 0 to 32 after the slash"),
        ("2001:db8::/129", "must have a whole number from 0 to 128 after the slash"),
        ("fe80::1%eth0", "must be an address without a zone id"),
        ("[fe80::1%25eth0]:80", "must be an address without a zone id"),
        ("2001:db8::1::2", "must be an IPv4 or IPv6 address"),
        ("2001:db8:1", "must be an IPv4 or IPv6 address"),
        ("2001:db8::12345", "must be an IPv4 or IPv6 address"),
        ("::ffff:192.0.2.01", "must be an IPv4 or IPv6 address"),
        ("１９２.0.2.1", "must be an IPv4 or IPv6 address"),
        ("/24", "must be an IPv4 or IPv6 address"),
        ("[]:80", "must be an IPv4 or IPv6 address"),
    ],
)
def test_refusals_say_what_was_expected(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator) as caught:
        canonical_ip(text)
    assert reason in caught.value.reason


@given(st.ip_addresses(v=4))
def test_any_ipv4_address_is_its_own_canonical_value(address: ipaddress.IPv4Address) -> None:
    anonymised = int(address) & 0xFFFF == 0
    assert canonical_ip(str(address)) == (f"{address}/16" if anonymised else str(address))
    assert canonical_ip(f"::ffff:{address}") == canonical_ip(str(address))


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_any_ipv6_network_agrees_with_the_standard_library(address: ipaddress.IPv6Address, prefix: int) -> None:
    network = ipaddress.IPv6Network((address, prefix), strict=False)
    if network.network_address.ipv4_mapped is None:
        host = prefix == 128
        assert canonical_ip(f"{address.exploded}/{prefix}") == str(address if host else network)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_any_ipv4_network_agrees_with_the_standard_library(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.IPv4Network((address, prefix), strict=False)
    plain_host = prefix == 32 and int(address) & 0xFFFF
    expected = str(address if plain_host else network)
    assert canonical_ip(f"{address}/{prefix}") == expected
    assert canonical_ip(f"::ffff:{address}/{prefix + 96}") == expected
