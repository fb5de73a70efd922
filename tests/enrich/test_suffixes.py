"""Public suffixes against the package's own reading of the same list."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publicsuffixlist import PSLFILE, PublicSuffixList

from threatcloud.enrich.suffixes import Suffix, Suffixes, load_suffixes

SUFFIXES = load_suffixes()
ORACLE = PublicSuffixList(accept_unknown=False)
ICANN_ORACLE = PublicSuffixList(accept_unknown=False, only_icann=True)
RULES = sorted(
    {
        word.removeprefix("!").removeprefix("*.").encode("idna").decode()
        for line in Path(PSLFILE).read_text(encoding="utf-8").splitlines()
        for word in line.split()[:1]
        if not word.startswith("//")
    }
)
labels = st.text("abcxyz019-", min_size=1, max_size=6)


def agrees(name: str) -> None:
    assert SUFFIXES.registered_domain(name) == ORACLE.privatesuffix(name)
    assert SUFFIXES.is_public_suffix(name) == ORACLE.is_public(name)
    suffix = SUFFIXES.public_suffix(name)
    assert (suffix.name if suffix else None) == ORACLE.publicsuffix(name)


def test_every_rule_reads_as_in_the_package() -> None:
    for rule in RULES:
        for name in (rule, f"a.{rule}", f"b.a.{rule}", f"c.b.a.{rule}"):
            agrees(name)


@given(st.lists(labels, min_size=0, max_size=4), st.sampled_from([*RULES, "nosuchtld"]))
def test_any_name_reads_as_in_the_package(front: list[str], rule: str) -> None:
    agrees(".".join([*front, rule]))


@pytest.mark.parametrize(
    ("name", "suffix", "registered"),
    [
        ("com", Suffix("com", private=False), None),
        ("www.example.co.uk", Suffix("co.uk", private=False), "example.co.uk"),
        ("github.io", Suffix("github.io", private=True), None),
        ("a.foo.github.io", Suffix("github.io", private=True), "foo.github.io"),
        ("www.ck", Suffix("ck", private=False), "www.ck"),
        ("foo.ck", Suffix("foo.ck", private=False), None),
        ("x.city.kawasaki.jp", Suffix("kawasaki.jp", private=False), "city.kawasaki.jp"),
        ("s3.amazonaws.com", Suffix("s3.amazonaws.com", private=True), None),
        ("xn--85x722f.xn--55qx5d.cn", Suffix("xn--55qx5d.cn", private=False), "xn--85x722f.xn--55qx5d.cn"),
        ("host.nosuchtld", None, None),
    ],
)
def test_sections_wildcards_and_exceptions(name: str, suffix: Suffix | None, registered: str | None) -> None:
    assert SUFFIXES.public_suffix(name) == suffix
    assert SUFFIXES.registered_domain(name) == registered


def test_the_private_part_is_what_the_icann_part_lacks() -> None:
    for rule in RULES:
        suffix = SUFFIXES.public_suffix(rule)
        assert suffix is not None
        if suffix.name == rule:
            assert suffix.private != ICANN_ORACLE.is_public(rule)


def test_a_list_of_ones_own_is_read() -> None:
    suffixes = Suffixes(["// a comment", "", "corp  trailing words", "*.Wild", "!not.wild"])
    assert suffixes.registered_domain("a.b.corp") == "b.corp"
    assert suffixes.is_public_suffix("x.wild")
    assert suffixes.registered_domain("not.wild") == "not.wild"
    assert suffixes.registered_domain("a.com") is None
