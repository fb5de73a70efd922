import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.name import canonical_domain, canonical_email

LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        (
            "example.com",
            [
                "EXAMPLE.com",
                "example.com.",
                "example[.]com",
                "Example(dot)COM.",
                " example.com ",
                "'example.com'",
                "example。com",
                "ｅｘａｍｐｌｅ.com",
                "exam\u00adple.com",
            ],
        ),
        (
            "xn--bcher-kva.example",
            ["bücher.example", "BÜCHER.example", "bu\u0308cher.example", "XN--BCHER-KVA.example"],
        ),
        ("xn--strae-oqa.example", ["straße.example", "Straße.EXAMPLE"]),
        ("xn--n3h.example", ["☃.example"]),
        ("k.example", ["\u212a.example"]),
        ("_dmarc.example.com", ["_DMARC.example.com"]),
        ("a_b.example.com", ["A_B.example.com"]),
        ("r3---sn.example.com", ["r3---sn.example.com"]),
        ("xn--29s7inly9ib.example.com", ["xn--29s7inly9ib.example.com"]),
        ("1.2.3.example", ["1.2.3.example"]),
        ("xax0.ax0", ["xax0.ax0"]),  # of which the re of Python 3.11.2 lost its place
        ("example.xn--p1ai", ["example.рф"]),
        (LONGEST, [LONGEST, LONGEST.upper() + "."]),
    ],
)
def test_spellings_of_a_domain_meet(value: str, spellings: list[str]) -> None:
    assert {spelling: canonical_domain(spelling) for spelling in spellings} == dict.fromkeys(spellings, value)
    assert canonical_domain(value) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("com", "must be a domain name of at least two labels, such as example.com"),
        ("localhost", "at least two labels"),
        ("192.0.2.1", "this is an address, of type ip"),
        ("１９２.0.2.1", "this is an address, of type ip"),
        ("192.0.2.1:80", "alone, without a port"),
        ("example.com:80", "alone, without a port"),
        ("2001:db8::1", "alone, without a port"),
        ("*.example.com", "without '*.' before it"),
        ("http://example.com", "with a path or a scheme it is of type url"),
        ("example.com/a", "with a path or a scheme it is of type url"),
        ("192.0.2.0/24", "with a path or a scheme it is of type url"),
        ("user@example.com", "with an @ it is of type email"),
        ("example.123", "must be a domain name that does not end in a number"),
        ("example..com", "with 1 to 63 characters between its dots"),
        (".example.com", "with 1 to 63 characters between its dots"),
        ("example.com..", "with 1 to 63 characters between its dots"),
        ("a" * 64 + ".com", "with 1 to 63 characters between its dots"),
        ("ü" * 60 + ".com", "with 1 to 63 characters between its dots"),
        ("a." * 126 + "com", "of at most 253 characters"),
        ("ü." * 4000 + "com", "of at most 253 characters"),
        ("exa mple.com", "of letters, digits, underscores and inner hyphens"),
        ("-example.com", "of letters, digits, underscores and inner hyphens"),
        ("example-.com", "of letters, digits, underscores and inner hyphens"),
        ("example.c-", "of letters, digits, underscores and inner hyphens"),
        ("example.0x1f", "of letters, digits, underscores and inner hyphens"),
        ("exa$mple.com", "of letters, digits, underscores and inner hyphens"),
        ("exam℀ple.com", "with a path or a scheme it is of type url"),
        (".", "made of letters that are allowed in names"),
        ("\u200d.example", "made of letters that are allowed in names"),
        ("xn--a.bücher.example", "made of letters that are allowed in names"),
    ],
)
def test_what_is_no_domain_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator) as caught:
        canonical_domain(text)
    assert reason in caught.value.reason


label = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?", fullmatch=True)


@given(st.lists(label, min_size=1, max_size=5), st.sampled_from(["com", "Example", "xn--p1ai"]), st.booleans())
def test_any_name_in_ascii_is_taken_as_it_is_but_for_case(labels: list[str], top: str, rooted: bool) -> None:
    name = ".".join([*labels, top])
    assert canonical_domain(name + "." * rooted) == name.lower()


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        (
            "user@example.com",
            [
                "user@EXAMPLE.com",
                "user@example.com.",
                "mailto:user@example.com",
                "MailTo:user@example.com",
                "user[at]example[dot]com",
                "user(@)example(.)com",
                "<user@example.com>",
                " user@example.com\n",
            ],
        ),
        ("User.Name+tag@example.com", ["User.Name+tag@Example.com"]),
        ("user@xn--bcher-kva.example", ["user@bücher.example"]),
        ("müller@example.com", ["müller@example.com"]),
        ("o'brien@example.com", ["o'brien@example.com"]),
        ("a" * 64 + "@example.com", ["a" * 64 + "@example.com"]),
    ],
)
def test_spellings_of_an_email_address_meet(value: str, spellings: list[str]) -> None:
    assert {spelling: canonical_email(spelling) for spelling in spellings} == dict.fromkeys(spellings, value)
    assert canonical_email(value) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("example.com", "must be an e-mail address with one @, such as user@example.com"),
        ("user@other@example.com", "with one @"),
        ("@example.com", "must have only letters, digits, dots and plain signs before the @"),
        ("us er@example.com", "must have only letters"),
        ('"us er"@example.com', "must have only letters"),
        ("User <user@example.com>", "must have only letters"),
        ("user/a@example.com", "must have only letters"),
        ("us\u00a0er@example.com", "must have only letters"),
        ("us\u200ber@example.com", "must have only letters"),
        ("mailto:mailto:user@example.com", "must have only letters"),
        ("a" * 65 + "@example.com", "must have at most 64 bytes before the @"),
        ("ü" * 33 + "@example.com", "must have at most 64 bytes before the @"),
        ("user@", "after its @ must be a domain name"),
        ("user@localhost", "after its @ must be a domain name of at least two labels"),
        ("user@192.0.2.1", "after its @ must be a domain name; this is an address"),
        ("user@[192.0.2.1]", "after its @ must be a domain name"),
        ("user@example.com?subject=x", "after its @ must be a domain name"),
    ],
)
def test_what_is_no_email_address_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator) as caught:
        canonical_email(text)
    assert reason in caught.value.reason
