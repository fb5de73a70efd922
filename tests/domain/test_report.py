"""The vocabulary of reports."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.report import (
    CATEGORIES,
    KEY_ROLES,
    SOURCE_PATTERN,
    TRUSTED_ROLES,
    Role,
    Severity,
    SightingKind,
    check_source,
)


def test_words_of_the_contract() -> None:
    assert CATEGORIES == ("malware", "botnet", "phishing", "bruteforce", "scanner", "exploit", "c2")
    assert [severity.word for severity in Severity] == ["low", "medium", "high", "critical"]
    assert [kind.value for kind in SightingKind] == ["positive", "negative", "false-positive"]
    assert [role.value for role in KEY_ROLES] == ["operator", "agent", "honeypot", "community"]


@pytest.mark.parametrize("severity", Severity)
def test_severities_by_word(severity: Severity) -> None:
    assert Severity.of(severity.word) is Severity.of(severity.word.upper()) is severity


@pytest.mark.parametrize("word", ["", "severe", "1", "hi gh", "HIGH "])
def test_what_is_no_severity(word: str) -> None:
    with pytest.raises(ValueError, match="must be one of low, medium, high, critical"):
        Severity.of(word)


def test_strangers_are_never_trusted() -> None:
    assert set(Role) - TRUSTED_ROLES == {Role.COMMUNITY, Role.ANONYMOUS}
    assert not {Role.FEED, Role.ANONYMOUS} & set(KEY_ROLES)


@pytest.mark.parametrize("name", ["a", "guard-agent", "feed:NAME", "A.b_c:d-9", "x" * 64])
def test_sources(name: str) -> None:
    assert check_source(name) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "a/b", "ä", "a,b", "a\0"])
def test_what_is_no_source(name: str) -> None:
    with pytest.raises(ValueError, match="must be 1-64 characters"):
        check_source(name)


@given(st.text(max_size=70))
def test_the_documented_pattern_is_what_is_checked(name: str) -> None:
    documented = re.search(SOURCE_PATTERN, name) is not None and not name.endswith("\n")
    try:
        taken = check_source(name) == name
    except ValueError:
        taken = False
    assert taken is documented
