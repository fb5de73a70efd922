import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.refang import prepare, refang


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hxxp://example[.]com", "http://example.com"),
        ("hXXps://example[.]com", "https://example.com"),
        ("HTTPS://example.com", "HTTPS://example.com"),
        ("h**p://example.com", "http://example.com"),
        ("h__ps://example.com", "https://example.com"),
        ("hxtp://example.com", "http://example.com"),
        ("fxp://example.com", "ftp://example.com"),
        ("fxps://example.com", "ftps://example.com"),
        ("http[:]//example.com", "http://example.com"),
        ("hxxp[://]example.com", "http://example.com"),
        ("https[:]//example[.]com[/]a", "https://example.com/a"),
        ("hxxps:[//]example.com", "https://example.com"),
        ("hxxp(:)//example(.)com", "http://example.com"),
        ("hxxp:\\/\\/example.com\\/a", "http://example.com/a"),
        ("example(.)com", "example.com"),
        ("example{.}com", "example.com"),
        ("example[dot]com", "example.com"),
        ("example(DOT)com", "example.com"),
        ("example {dot} com", "example.com"),
        ("example[ . ]com", "example.com"),
        ("example\\.com", "example.com"),
        ("example\\[.\\]com", "example.com"),
        ("www[.]example[.]co[.]uk", "www.example.co.uk"),
        ("user[at]example[.]com", "user@example.com"),
        ("user(at)example(dot)com", "user@example.com"),
        ("user [@] example.com", "user@example.com"),
        ("192.0.2[.]1[:]80", "192.0.2.1:80"),
        ("2001[:]db8[:][:]1", "2001:db8::1"),
        ("  example.com\r\n", "example.com"),
        ("\ufeffexample.com", "example.com"),
        ('"example.com"', "example.com"),
        ("'example.com'", "example.com"),
        ("`example.com`", "example.com"),
        ("<http://example.com>", "http://example.com"),
        ("“example.com”", "example.com"),
        ('"< example.com >"', "example.com"),
        ("http://example.com/a[.]sh", "http://example.com/a.sh"),
    ],
)
def test_defanged_forms(text: str, expected: str) -> None:
    assert refang(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://[::1]/",
        "http://[::]:80/",
        "http://[2001:db8::1]:8080/a",
        "http://example.com/report(1).zip",
        "http://example.com/a[0]=b",
        "http://example.com/{id}",
        "http:\\\\example.com\\.git",
        "http://example.com/?q=a\\d+\\.b",
        "example dot com",
        "user at example.com",
        "example[.com",
        "example.com'",
        "<example.com",
        "hxxp.example.com",
        "fxpress.example",
        "h..p://example.com",
        "",
    ],
)
def test_what_may_be_meant_stays(text: str) -> None:
    assert refang(text) == text


@given(st.text(st.sampled_from("[](){}<>\"'`.:/\\@ dotahxp*s"), max_size=16))
def test_refanging_leaves_nothing_to_refang(text: str) -> None:
    try:
        plain = refang(text)
    except InvalidIndicator:
        return
    assert refang(plain) == plain


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(InvalidIndicator, match="nested less deep"):
        refang("[" * 50 + "." + "]" * 50)


@pytest.mark.parametrize("sign", ["\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ud800"])
def test_invisible_signs_are_refused_inside(sign: str) -> None:
    with pytest.raises(InvalidIndicator, match="must be visible text"):
        prepare(f"exam{sign}ple.com")


@pytest.mark.parametrize(("text", "reason"), [("", "must not be empty"), ('""', "must not be empty")])
def test_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator, match=reason):
        prepare(text)


def test_the_limit_counts_what_was_sent() -> None:
    assert prepare("a" * 8192) == "a" * 8192
    with pytest.raises(InvalidIndicator, match="at most 8192 bytes"):
        prepare("a" * 8193)
