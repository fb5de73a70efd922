"""The zone of a blocklist, asked with messages that dnspython makes and reads."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.dns.listings import CODES, Listings
from threatcloud.dns.message import MAX_BYTES
from threatcloud.dns.zone import TTL_S, Zone
from threatcloud.domain.report import CATEGORIES

ORIGIN = "bl.example.org"
ADDRESSES = [("203.0.113.7", "scanner"), ("198.51.100.0/24", "c2"), ("198.51.100.9", None), ("2001:db8::7", "malware")]
NETWORKS = [("2001:db8:1::/48", "botnet"), ("198.18.0.0/32", "exploit")]
NAMES = [("bad.example", "phishing"), ("xn--bcher-kva.example", None)]


def make_zone(**more: Any) -> Zone:
    listings = Listings()
    listings.add_addresses([*ADDRESSES, *NETWORKS])
    listings.add_names(NAMES)
    return Zone(ORIGIN, listings, serial=7, **more)


ZONE = make_zone(link="https://tc.example/{value}")


def below(value: str) -> str:
    """The name that asks for a value."""
    try:
        name = dns.reversename.from_address(value)
    except (ValueError, dns.exception.SyntaxError):
        return f"{value}.{ORIGIN}"
    v4, v6 = dns.reversename.ipv4_reverse_domain, dns.reversename.ipv6_reverse_domain
    return f"{name.relativize(v4 if name.is_subdomain(v4) else v6).to_text()}.{ORIGIN}"


def ask(name: str, kind: str = "A", zone: Zone = ZONE, **more: Any) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **more)
    packet = zone.answer(query.to_wire())
    assert packet is not None
    assert len(packet) <= MAX_BYTES
    answer = dns.message.from_wire(packet)
    assert query.is_response(answer)
    return answer


def texts(answer: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in answer.answer for item in rrset]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("203.0.113.7", CODES["scanner"]),
        ("198.51.100.200", CODES["c2"]),
        ("198.51.100.9", CODES[None]),
        ("198.18.0.0", CODES["exploit"]),
        ("2001:db8::7", CODES["malware"]),
        ("2001:db8:1:ffff::1", CODES["botnet"]),
        ("bad.example", CODES["phishing"]),
        ("BAD.Example", CODES["phishing"]),
        ("xn--bcher-kva.example", CODES[None]),
        ("127.0.0.2", 2),
        ("::ffff:127.0.0.2", 2),
        ("test", 2),
    ],
)
def test_what_is_listed_has_an_address_by_its_category(value: str, code: int) -> None:
    answer = ask(below(value))

    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.AA
    assert texts(answer) == [f"127.0.0.{code}"]
    assert answer.answer[0].ttl == TTL_S


@pytest.mark.parametrize(
    "value",
    [
        "203.0.113.8",
        "198.18.0.1",
        "2001:db8::8",
        "good.example",
        "www.bad.example",
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "a.invalid",
    ],
)
def test_what_is_not_listed_does_not_exist_and_says_for_how_long(value: str) -> None:
    answer = ask(below(value))

    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.answer == []
    (soa,) = answer.authority
    assert soa.name.to_text() == f"{ORIGIN}."
    assert soa.ttl == TTL_S
    assert soa[0].to_text() == f"ns.{ORIGIN}. hostmaster.{ORIGIN}. 7 3600 600 86400 {TTL_S}"


def test_the_reason_and_where_more_is_told_are_a_text() -> None:
    assert texts(ask(below("203.0.113.7"), "TXT")) == ['"scanner https://tc.example/203.0.113.7"']
    assert texts(ask(below("2001:db8::7"), "TXT")) == ['"malware https://tc.example/2001:db8::7"']
    assert texts(ask(below("bad.example"), "TXT")) == ['"phishing https://tc.example/bad.example"']


@pytest.mark.parametrize("kind", ["AAAA", "MX", "CAA"])
def test_of_other_types_there_is_nothing(kind: str) -> None:
    answer = ask(below("203.0.113.7"), kind)

    assert (answer.rcode(), answer.answer, len(answer.authority)) == (dns.rcode.NOERROR, [], 1)


def test_the_zone_itself_has_its_records() -> None:
    assert texts(ask(ORIGIN, "SOA"))[0].startswith(f"ns.{ORIGIN}. ")
    assert texts(ask(ORIGIN, "NS")) == [f"ns.{ORIGIN}."]
    assert ask(ORIGIN, "A").rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("name", ["113", "0.113", "203", "8.b.d.0.1.0.0.2", "1.0.0.2", "example"])
def test_what_lies_above_names_exists(name: str) -> None:
    """Else a resolver that asks label by label (RFC 9156) would look no further."""
    answer = ask(f"{name}.{ORIGIN}")

    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


@pytest.mark.parametrize("name", ["example.org", "7.113.0.203.example.com", ".", "org", f"x{ORIGIN}"])
def test_other_zones_are_refused(name: str) -> None:
    answer = ask(name)

    assert (answer.rcode(), answer.answer, answer.authority) == (dns.rcode.REFUSED, [], [])


def test_other_classes_and_operations_are_refused() -> None:
    chaos = dns.message.make_query("version.bind", "TXT", "CH")
    notify = dns.message.make_query(ORIGIN, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)

    for query, code in ((chaos, dns.rcode.REFUSED), (notify, dns.rcode.NOTIMP)):
        packet = ZONE.answer(query.to_wire())
        assert packet is not None
        assert packet[3] & 15 == code


def test_edns_is_answered_and_its_versions_are_known() -> None:
    assert ask(below("203.0.113.7"), use_edns=0, payload=4096).edns == 0
    assert ask(below("203.0.113.7")).edns == -1
    assert ask(below("203.0.113.7"), use_edns=1).rcode() == dns.rcode.BADVERS


def test_the_question_is_repeated_as_it_was_spelt() -> None:
    query = dns.message.make_query("7.113.0.203.BL.eXample.ORG", "A")
    packet = ZONE.answer(query.to_wire())

    assert packet is not None
    assert b"\x02BL\x07eXample\x03ORG" in packet


def test_answers_are_not_answered() -> None:
    answer = dns.message.make_response(dns.message.make_query(ORIGIN, "A"))

    assert ZONE.answer(answer.to_wire()) is None


@given(st.binary(max_size=600))
def test_garbage_gets_a_small_answer_or_none(packet: bytes) -> None:
    answer = ZONE.answer(packet)

    assert answer is None or (len(answer) <= MAX_BYTES and answer[:2] == packet[:2] and answer[2] & 0x80)


@given(st.binary(min_size=4, max_size=300), st.booleans())
def test_a_broken_question_gets_a_small_answer(tail: bytes, has_additional: bool) -> None:
    answer = ZONE.answer(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00" + bytes((has_additional,)) + tail)

    assert answer is not None
    assert len(answer) <= MAX_BYTES
    dns.message.from_wire(answer)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5), st.integers(0, 65_535), st.booleans())
def test_every_name_below_gets_an_answer_that_can_be_read(labels: list[bytes], kind: int, edns: bool) -> None:
    name = dns.name.Name([*labels, *dns.name.from_text(ORIGIN).labels]) if sum(map(len, labels)) < 200 else None
    if name is None or kind in {dns.rdatatype.OPT, dns.rdatatype.TSIG, dns.rdatatype.AXFR, dns.rdatatype.IXFR}:
        return
    query = dns.message.make_query(name, dns.rdatatype.RdataType.make(kind), use_edns=0 if edns else False)
    packet = ZONE.answer(query.to_wire())

    assert packet is not None
    assert len(packet) <= MAX_BYTES
    assert query.is_response(dns.message.from_wire(packet))


ADDRESS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(st.lists(st.tuples(ADDRESS, st.sampled_from([*CATEGORIES, None])), max_size=20), ADDRESS)
def test_exactly_what_was_added_is_listed(
    added: list[tuple[IPv4Address | IPv6Address, str | None]], other: Any
) -> None:
    wanted = {str(address): category for address, category in added}
    listings = Listings()
    listings.add_addresses((_host(address), category) for address, category in wanted.items())

    assert len(listings) == len(wanted)
    for address in map(str, [*wanted, other]):
        number = IPv6Address(address) if ":" in address else IPv4Address(address)
        code = CODES[wanted[address]] if address in wanted else None
        assert listings.of_address(number.version, int(number)) == code
    listings.remove_addresses(map(_host, wanted))
    assert len(listings) == 0


def _host(address: str) -> str:
    return f"{address}/32" if address.endswith(".0.0") else address
