import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.canonical import MAX_VALUE_BYTES, InvalidIndicator
from threatcloud.domain.canonical.url import SCHEMES, canonical_url


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        (
            "http://example.com/",
            [
                "http://example.com",
                "HTTP://EXAMPLE.COM/",
                "http://example.com:80/",
                "http://example.com:/",
                "http://example.com./",
                "http://example.com:080/#top",
                "http://example.com#top",
                "hxxp://example[.]com",
                "hXXp[://]example(dot)com/",
                "http:\\/\\/example.com\\/",
                "http:/example.com",
                "http:\\\\example.com",
                "http://@example.com/",
                "http://example.com/a/..",
                "http://ex%61mple.com/",
                "http://ｅxample。com/",
                "<http://example.com/>",
                " http://example.com/\n",
                "example.com/",
                "example[.]com/#top",
            ],
        ),
        ("https://example.com/a?b=c", ["https://example.com:443/./a?b=c#d", "hxxps://example.com/x/../a?b=c"]),
        ("https://example.com:80/", ["https://example.com:80"]),
        ("http://user:Pass@example.com/", ["http://user:Pass@EXAMPLE.com", "http://user:Pass@example.com.:80/"]),
        ("http://example.com/~a%7Eb", ["http://example.com/~a%7Eb"]),
        ("http://example.com/A%20b?c%20d", ["http://example.com/A b?c d", "http://example.com/A%20b?c%20d"]),
        ("http://example.com/%C3%BC", ["http://example.com/ü", "http://example.com/%C3%BC"]),
        ("http://example.com/a?", ["http://example.com/a?", "http://example.com/a?#x"]),
        ("http://xn--bcher-kva.example/", ["http://bücher.example", "http://BÜCHER.example/"]),
        (
            "http://127.0.0.1/",
            ["http://127.1", "http://0x7f.1", "http://2130706433/", "http://0177.0.0.1", "http://127.0.0.1./"],
        ),
        ("http://[2001:db8::1]/", ["http://[2001:DB8:0::1]:80/", "hxxp://[2001:db8::1]"]),
        ("http://[::1]/", ["http://[::1]/", "http://[0:0::1]"]),
        ("http://localhost:8080/", ["http://localhost:8080"]),
        ("http://-a_b.example/", ["http://-a_b.example"]),
        ("ftp://example.com/a", ["fxp://example.com:21/a", "ftp://EXAMPLE.com/a"]),
        ("wss://example.com/", ["wss://example.com:443"]),
        (
            "tcp://example.com:4444/",
            ["tcp://EXAMPLE.com:4444", "TCP://example.com.:4444/", "tcp://example[.]com[:]4444"],
        ),
        ("tcp://192.0.2.1:80/", ["tcp://192.0.2.1:80", "tcp://0xc0.0.2.1:80/"]),
        ("tcp://192.0.2.1:443/", ["tcp://192.0.2.1:443"]),
        ("ssh://user@example.com/", ["ssh://user@example.com:22", "ssh://user@Example.com/"]),
        ("ssh://example.com:443/", ["ssh://example.com:443"]),
        ("ldap://192.0.2.1:1389/Exploit", ["ldap://192.0.2.1:1389/Exploit"]),
        ("stratum+tcp://pool.example:3333/", ["stratum+tcp://pool.example:3333"]),
        ("http://192.0.2.1/24", ["192.0.2.1/24"]),
        ("http://example.com:8080/a", ["example.com:8080/a"]),
        ("http://example.com/http://example.org/", ["example.com/http://example.org/"]),
        ("http://example.com/://", ["http://example.com/[:/x/..//]"]),
        ("http://example.com/report(1).zip", ["http://example.com/report(1).zip"]),
    ],
)
def test_spellings_meet(value: str, spellings: list[str]) -> None:
    assert {spelling: canonical_url(spelling) for spelling in spellings} == dict.fromkeys(spellings, value)
    assert canonical_url(value) == value


@pytest.mark.parametrize(
    "value", ["http://example.com/a", "http://example.com/A", "http://example.com/a/", "https://example.com/a"]
)
def test_what_may_be_another_resource_is_another_value(value: str) -> None:
    assert canonical_url(value) == value


NO_HOST = "must be an absolute URL with a valid host, such as https://example.com/path"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("example.com", NO_HOST),
        ("http:example.com", NO_HOST),
        ("/a/b", NO_HOST),
        ("//example.com/a", NO_HOST),
        ("com/a", NO_HOST),
        ("http://", NO_HOST),
        ("http://?a", NO_HOST),
        ("tcp://", NO_HOST),
        ("http://./", NO_HOST),
        ("http://example.com../", NO_HOST),
        ("http://example..com/", NO_HOST),
        ("http://.example.com/", NO_HOST),
        ("http://exa mple.com/", NO_HOST),
        ("http://exa*mple.com/", NO_HOST),
        ("http://example.com:65536/", NO_HOST),
        ("http://example.com:a/", NO_HOST),
        ("http://192.0.2.256/", NO_HOST),
        ("http://[::1", NO_HOST),
        ("http://[fe80::1%25eth0]/", NO_HOST),
        (f"http://{'a' * 64}.example/", NO_HOST),
        (f"http://{'a.' * 126}com/", NO_HOST),
        (f"http://{'ü' * 8000}/", NO_HOST),
        (f"http://user@{'ü' * 8000}/", NO_HOST),
        ("javascript:alert(1)", NO_HOST),
        ("file:///etc/passwd", "must be a URL with one of the schemes http, https"),
        ("c:\\windows\\system32", "must be a URL with one of the schemes http, https"),
        ("htp://example.com/", "must be a URL with one of the schemes http, https"),
        ("http://example.com/a\tb", "must be visible text"),
        ("http://example.com/\u202egpj.exe", "must be visible text"),
        ("http://example.com/" + "ü" * 3000, "must be a URL of at most 8192 bytes, percent-encoding included"),
    ],
)
def test_refusals_say_what_was_expected(text: str, reason: str) -> None:
    with pytest.raises(InvalidIndicator) as caught:
        canonical_url(text)
    assert reason in caught.value.reason


def test_paths_made_to_change_at_every_reading_are_refused() -> None:
    once = "[/x/../]"
    assert canonical_url(f"http://example.com/a{once}b") == "http://example.com/a/b"
    often = once
    for _ in range(5):
        often = f"[/x{often}../]"
    with pytest.raises(InvalidIndicator, match="made to change"):
        canonical_url(f"http://example.com/a{often}b")


@given(st.sampled_from(sorted(SCHEMES)), st.integers(0, 65535), st.sampled_from(["example.com", "192.0.2.1", "[::1]"]))
def test_only_the_default_port_is_dropped(scheme: str, port: int, host: str) -> None:
    shown = "" if str(port) == SCHEMES[scheme] else f":{port}"
    assert canonical_url(f"{scheme}://{host}:{port}") == f"{scheme}://{host}{shown}/"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_drops_its_default_port(scheme: str) -> None:
    port = SCHEMES[scheme]
    assert canonical_url(f"{scheme}://EXAMPLE.com{':' * bool(port)}{port}/a#b") == f"{scheme}://example.com/a"


@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=50))
def test_the_longest_url_stays_within_the_limit(path: str, query: str, user: str) -> None:
    try:
        value = canonical_url(f"http://{user}@example.com/{path}?{query}")
    except InvalidIndicator:
        return
    assert value.isascii()
    assert value.isprintable()
    assert len(value) <= MAX_VALUE_BYTES
    assert canonical_url(value) == value
