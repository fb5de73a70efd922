"""Which URLs and addresses this server may connect to, in the spellings that have slipped through elsewhere."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from threatcloud.domain.address import Network, parse_network
from threatcloud.domain.outbound import OutboundRefused, destination, refusal

#: An ordinary address.
GLOBAL = "93.184.215.14"
LOOPBACK = (parse_network("127.0.0.0/8"),)


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(parse_network, texts))


@pytest.mark.parametrize("address", [GLOBAL, "2606:2800:21f:cb07::1", f"::ffff:{GLOBAL}", "2a00::1"])
def test_ordinary_addresses_may_be_reached(address: str) -> None:
    assert refusal(address, ()) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        f"64:ff9b::{GLOBAL}",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "",
        "localhost",
        "127.1",
        "2130706433",
    ],
)
def test_what_is_not_the_internet_may_not(address: str) -> None:
    assert refusal(address, ())


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("127.0.0.1"))
@example(ipaddress.IPv4Address("169.254.169.254"))
def test_an_ipv4_address_is_refused_in_every_ipv6_dress_when_it_is_bare(inner: ipaddress.IPv4Address) -> None:
    """Mapped it is the same address; behind a translator it is never freer than bare, also with translators allowed."""
    bare = refusal(str(inner), ())
    assert (refusal(f"::ffff:{inner}", ()) is None) == (bare is None)
    number = int(inner)
    dresses = [f"64:ff9b::{inner}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"]
    dresses.append(f"2001:0:4136:e378:8000:63bf:{(number >> 16) ^ 0xFFFF:x}:{(number & 0xFFFF) ^ 0xFFFF:x}")
    for dress in dresses:
        assert refusal(dress, ())
        translators = networks("64:ff9b::/96", "2002::/16", "2001::/32")
        assert (refusal(dress, translators) is None) == (bare is None)


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_reached(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert refusal(str(address), ())


@given(st.ip_addresses(), st.integers(0, 128))
def test_what_is_allowed_is_reached_and_its_neighbour_is_not(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int
) -> None:
    if address.version == 6 and refusal(str(address), ()) and "of " in (refusal(str(address), ()) or ""):
        return  # what is inside has to be allowed too, which is another test
    allowed = ipaddress.ip_network((address, min(prefix, address.max_prefixlen)), strict=False)
    own = (Network(allowed.version, int(allowed.network_address), allowed.prefixlen),)
    if refusal(str(address), own) is not None:  # an embedded address that is not allowed itself
        assert address.version == 6
    outside = int(allowed.broadcast_address) + 1
    if outside < 1 << address.max_prefixlen:
        neighbour = str(type(address)(outside))
        assert refusal(neighbour, own) == refusal(neighbour, ())


def test_an_allowed_network_is_of_its_version_and_mapped_addresses_are_ipv4() -> None:
    assert refusal("127.0.0.1", LOOPBACK) is None
    assert refusal("::ffff:127.0.0.1", LOOPBACK) is None
    assert refusal("::1", LOOPBACK)
    assert refusal("127.0.0.1", networks("::/0"))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_every_spelling_of_an_address_is_that_address(scheme: str, host: str) -> None:
    found = destination(f"{scheme}://{host}/x?y=1")
    assert found.address is not None
    assert refusal(found.address, ())
    assert refusal(found.address, LOOPBACK) is None


@given(st.integers(0, (1 << 32) - 1), st.sampled_from(["{}", "0x{:x}", "0{:o}"]))
def test_a_number_is_the_address_it_stands_for(number: int, spelling: str) -> None:
    assert destination(f"http://{spelling.format(number)}/").address == str(ipaddress.IPv4Address(number))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "javascript:alert(1)",
        "http://",
        "http://.",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://127.0.0.1@example.org/",
        "http://example.org:99999/",
        "http://1.2.3.4.5/",
        "http://[fe80::1%25eth0]/",
        "http://exam ple.org/",
        "http://example.org/\r\nHost: other",
        "http://example.org/\x00",
        "http://" + "a" * 3_000 + ".example/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        destination(url)


def test_a_destination_says_what_connecting_needs() -> None:
    found = destination(" https://Example.ORG.:8443/a%20b?q=1#part ")
    assert (found.scheme, found.host, found.port) == ("https", "example.org", 8443)
    assert (found.authority, found.target, found.address) == ("example.org:8443", "/a%20b?q=1", None)
    assert destination("http://[2001:db8::1]:80/").authority == "[2001:db8::1]"
    assert destination("https://bücher.example").host == "xn--bcher-kva.example"


@given(st.text(max_size=60))
@example("localhost")
def test_whatever_is_typed_is_a_destination_or_refused(text: str) -> None:
    try:
        found = destination(f"http://{text}")
    except OutboundRefused:
        return
    assert found.host
    assert found.scheme in {"http", "https"}
    assert found.url.isprintable()
    assert destination(found.url).host == found.host
