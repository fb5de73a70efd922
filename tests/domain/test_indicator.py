import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from threatcloud.domain.errors import InvalidInput, Problem
from threatcloud.domain.indicator import (
    MAX_VALUE_BYTES,
    Canonical,
    Indicator,
    IndicatorType,
    InvalidIndicator,
    canonical,
    canonical_observation,
    detect,
    detect_observation,
    digest,
    indicator_key,
    parse_public_id,
    public_id,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
# printf 'ip\0%s' 192.0.2.1 | sha256sum
GOLDEN_DIGEST = "f4a1adc05f3016e968456f916e6e4142e4001f8ba9492fc90d4ccf8c2c80da69"

# Words and signs that, put together at random, come near to indicators far more often than random text does.
PIECES = (
    *"[](){}<>\"'`.:/\\@#?%*-_ \t\x00\u200b\u202e\ufeff",
    *("..", "//", "://", "[.]", "(dot)", "{at}", "[:]", "[://]", "\\.", "/../", "%2e", "\u3002", "\ud800"),
    *("http", "hxxps", "h**p", "fxp", "tcp", "ssh", "mailto:", "example", "COM", "com", "xn--mnchen-3ya", "ü", "ẞ"),
    *("1", "0", "255", "256", "01", "192.0.2.1", "203.0.0.0", "/16", "/32", "/128", ":80", ":443", "::", "ffff"),
    *("CVE-2021-44228", "CVE", MD5, "2001:db8", "☃", "K", "user"),
)
near_indicators = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
any_text = st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zs", "L"]))
texts = near_indicators | any_text
types = st.sampled_from(IndicatorType)


def test_types_keep_their_order_names_and_codes() -> None:
    assert [(each.value, each.code) for each in IndicatorType] == [
        ("ip", 1),
        ("domain", 2),
        ("hash", 3),
        ("url", 4),
        ("email", 5),
        ("cve", 6),
    ]
    assert [IndicatorType.from_code(each.code) for each in IndicatorType] == list(IndicatorType)


@pytest.mark.parametrize("code", [0, 7, -1])
def test_an_unknown_code_is_an_error(code: int) -> None:
    with pytest.raises(ValueError, match="no indicator type"):
        IndicatorType.from_code(code)


def test_identity_is_the_digest_of_type_and_value() -> None:
    value = "192.0.2.1"
    assert digest(IndicatorType.IP, value).hex() == GOLDEN_DIGEST
    assert indicator_key(IndicatorType.IP, value).hex() == GOLDEN_DIGEST[:32]
    assert public_id(indicator_key(IndicatorType.IP, value)) == f"ioc_{GOLDEN_DIGEST[:32]}"
    assert digest(IndicatorType.DOMAIN, value) != digest(IndicatorType.IP, value)


@given(st.binary(min_size=16, max_size=16))
def test_public_ids_are_read_back(key: bytes) -> None:
    assert parse_public_id(public_id(key)) == key


@pytest.mark.parametrize(
    "text",
    ["", "ioc_", "ioc_" + "A" * 32, "ioc_" + "a" * 31, "ioc_" + "a" * 33, "sig_" + "a" * 32, "ioc_" + "a" * 32 + "\n"],
)
def test_other_texts_are_no_public_ids(text: str) -> None:
    assert parse_public_id(text) is None


def test_a_refusal_names_the_field_for_the_edge() -> None:
    with pytest.raises(InvalidIndicator) as caught:
        canonical(IndicatorType.CVE, "CVE-1")
    assert isinstance(caught.value, InvalidInput)
    assert isinstance(caught.value, ValueError)
    assert caught.value.problems == (Problem("value", caught.value.reason),)
    assert caught.value.message == "value: must be a CVE id such as CVE-2021-44228"


@pytest.mark.parametrize(
    ("text", "value", "anonymised"),
    [
        ("203.0.0.0", "203.0.0.0/16", True),
        ("203[.]0[.]0[.]0:80", "203.0.0.0/16", True),
        ("::ffff:203.0.0.0", "203.0.0.0/16", True),
        ("203.0.0.0/16", "203.0.0.0/16", False),
        ("203.0.113.9/16", "203.0.0.0/16", False),
        ("203.0.0.0/32", "203.0.0.0/32", False),
        ("::ffff:203.0.0.0/128", "203.0.0.0/32", False),
        ("203.0.0.1", "203.0.0.1", False),
        ("203.0.10.0", "203.0.10.0", False),
        ("10.0.0.0", "10.0.0.0/16", True),
        ("2001:db8::", "2001:db8::", False),
    ],
)
def test_an_address_that_ends_in_two_zeros_is_an_anonymised_observation(
    text: str, value: str, anonymised: bool
) -> None:
    expected = Canonical(Indicator(IndicatorType.IP, value), anonymised)
    assert canonical_observation(IndicatorType.IP, text) == expected
    assert detect_observation(text) == expected


def test_only_addresses_are_anonymised() -> None:
    assert not canonical_observation(IndicatorType.URL, "http://192.0.2.1/203.0.0.0/16").anonymised


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ("192.0.2.1", "ip", "192.0.2.1"),
        (" 192.0.2.1\n", "ip", "192.0.2.1"),
        ("192.0.2.1:8080", "ip", "192.0.2.1"),
        ("192.0.2.77/24", "ip", "192.0.2.0/24"),
        ("[2001:db8::1]:443", "ip", "2001:db8::1"),
        ("2001:DB8::/32", "ip", "2001:db8::/32"),
        ("::1", "ip", "::1"),
        ("example[.]com", "domain", "example.com"),
        ("Example.COM.", "domain", "example.com"),
        ("example.com:8443", "domain", "example.com"),
        ("bücher.example", "domain", "xn--bcher-kva.example"),
        ("bücher。example", "domain", "xn--bcher-kva.example"),
        ("cve-2021-44228.example", "domain", "cve-2021-44228.example"),
        ("dead.beef", "domain", "dead.beef"),
        ("setup.exe", "domain", "setup.exe"),
        (MD5.upper(), "hash", MD5),
        (f'"{MD5}"', "hash", MD5),
        ("1" * 40, "hash", "1" * 40),
        ("http://example.com", "url", "http://example.com/"),
        ("hxxps[://]example[.]com/a", "url", "https://example.com/a"),
        ("http://user@example.com", "url", "http://user@example.com/"),
        ("tcp://example.com:4444", "url", "tcp://example.com:4444/"),
        ("192.0.2.1/bins.sh", "url", "http://192.0.2.1/bins.sh"),
        ("192.0.2.1:8080/", "url", "http://192.0.2.1:8080/"),
        ("example.com/user@example.org", "url", "http://example.com/user@example.org"),
        ("user[at]example[dot]com", "email", "user@example.com"),
        ("MAILTO:User@Example.com", "email", "User@example.com"),
        ("cve-2021-44228", "cve", "CVE-2021-44228"),
    ],
)
def test_detection(text: str, type_name: str, value: str) -> None:
    assert detect(text) == (type_name, value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        ("hello world", "must be an IP address, CIDR network, domain name, URL"),
        ("localhost", "must be an IP address, CIDR network, domain name, URL"),
        (MD5[:-1], "must be an IP address, CIDR network, domain name, URL, file hash"),
        ("192.0.2.1/33", "must have a whole number from 0 to 32 after the slash"),
        ("192.0.2.1-192.0.2.9", "not a range"),
        ("192.0.2.256", "not a range, a pattern or a part"),
        ("2001:db8::g", "must be an IPv4 or IPv6 address or a CIDR network"),
        ("file:///etc/passwd", "must be a URL with one of the schemes http, https"),
        ("http://", "must be an absolute URL with a valid host"),
        ("user@host@example.com", "must be an e-mail address with one @"),
        ("user@com", "after its @ must be a domain name of at least two labels"),
        ("*.example.com", "must be a domain name without '*.' before it"),
        ("a" * (MAX_VALUE_BYTES + 1), "must be at most 8192 bytes long"),
    ],
)
def test_detection_says_what_it_expected(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator) as caught:
        detect(text)
    assert reason in caught.value.reason


@pytest.mark.parametrize("indicator_type", IndicatorType)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00",
        "192.0.2.1\x00",
        "exa\nmple.com",
        "http://example.com/a\tb",
        "user\x7f@example.com",
        "\ud800.example.com",
        "http://example.com/\u202efdp.exe",
        "x\u2066@example.com",
        "a" * 8193,
    ],
)
def test_no_type_takes_empty_invisible_or_overlong_text(indicator_type: IndicatorType, text: str) -> None:
    with pytest.raises(InvalidIndicator):
        canonical(indicator_type, text)


def _canonical_or_none(indicator_type: IndicatorType, text: str) -> Indicator | None:
    try:
        return canonical(indicator_type, text)
    except InvalidIndicator:
        return None


@settings(max_examples=1_000)
@given(types, texts)
@example(IndicatorType.URL, "http://example.com/[:/x/..//]")
@example(IndicatorType.URL, "http://example.com/?'")
@example(IndicatorType.EMAIL, "example.com/a@example.com")
@example(IndicatorType.IP, "203.0.0.0")
@example(IndicatorType.IP, "::fffe:0:0/95")
@example(IndicatorType.DOMAIN, "http://[.].")
def test_a_canonical_value_is_canonical_and_its_type_is_found_again(indicator_type: IndicatorType, text: str) -> None:
    found = _canonical_or_none(indicator_type, text)
    if found:
        assert found.type is indicator_type
        assert len(found.value.encode()) <= MAX_VALUE_BYTES
        assert canonical(indicator_type, found.value) == found
        assert detect(found.value) == found


@settings(max_examples=1_000)
@given(texts)
def test_detection_agrees_with_the_type_it_finds(text: str) -> None:
    try:
        found = detect(text)
    except InvalidIndicator:
        return
    assert canonical(found.type, found.value) == found
    assert detect(found.value) == found
    assert detect_observation(text).indicator == found
    given_type = _canonical_or_none(found.type, text)
    # A domain with a port is the one spelling that only detection takes.
    assert given_type == found or (given_type is None and found.type is IndicatorType.DOMAIN and ":" in text)


@given(types, st.sampled_from([MD5, "192.0.2.1", "example.com", "https://example.com/a", "user@example.com"]))
def test_a_value_of_another_type_is_refused(indicator_type: IndicatorType, value: str) -> None:
    found = _canonical_or_none(indicator_type, value)
    assert (found is not None) == (detect(value).type is indicator_type)


def _first_values(path: Path, step: int) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in islice(lines, 0, None, step):
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t", 1)[0]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "indicator_type"),
    [
        ("feed_ips.txt.gz", IndicatorType.IP),
        ("feed_cidrs.txt.gz", IndicatorType.IP),
        ("feed_domains.txt.gz", IndicatorType.DOMAIN),
        ("feed_urls.txt.gz", IndicatorType.URL),
        ("feed_hashes.txt.gz", IndicatorType.HASH),
    ],
)
def test_real_feeds_canonicalise_without_loss(file: str, indicator_type: IndicatorType) -> None:
    if not (DATA / file).exists():
        pytest.skip(f"the public threat data is absent: {file}")
    seen = 0
    for value in _first_values(DATA / file, step=23):
        found = canonical(indicator_type, value)
        assert detect(value) == found
        assert canonical(indicator_type, found.value) == found
        seen += 1
    assert seen > 5_000
