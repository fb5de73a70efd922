"""Rules: ids, and which go to agents."""

import pytest

from threatcloud.domain.rule import Rule, check_rule_id


@pytest.mark.parametrize("text", ["A", "7", "ATR-2026-00001", "sigma.win_proc-1.2", "a" * 128])
def test_an_id_is_taken_as_it_is(text: str) -> None:
    assert check_rule_id(text) == text


@pytest.mark.parametrize("text", ["", "a" * 129, "-a", ".a", "_a", "a/b", "../a", "a b", "a\n", "a\0", "ä", "a%2f"])
def test_an_id_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be 1-128 characters"):
        check_rule_id(text)


@pytest.mark.parametrize(
    ("rule_id", "source", "is_atr"),
    [
        ("ATR-1", "manual", True),
        ("one", "atr", True),
        ("one", "manual", False),
        ("atr-1", "manual", False),
        ("ATR", "atr-like", False),
        ("X-ATR-1", "ATR", False),
    ],
)
def test_source_or_prefix_makes_an_atr_rule(rule_id: str, source: str, is_atr: bool) -> None:
    assert Rule(rule_id, "a: 1", source).is_atr is is_atr


def test_a_file_is_named_by_the_id() -> None:
    assert Rule("ATR-1", "a: 1", "atr").file_name == "ATR-1.yaml"
