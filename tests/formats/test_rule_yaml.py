"""The check of rule content: what passes any parser, and nothing that runs, grows or is ambiguous."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.formats.rule_yaml import MAX_RULE_BYTES, MAX_RULE_DEPTH, BadRule, check_rule_yaml

GOOD = """\
# how it is told apart
title: SSH brute force
id: ATR-2026-00001
tags: [attack.t1110, "ssh & more"]
detection:
  selection: {event: auth_failed, port: 22}
  threshold: 10
  items:
    - {name: one}
    - {name: two}
text: |
  *not an alias, !not a tag, &no anchor
empty:
"""


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "---\na: 1\n",
        "---\na: 1\n...\n",
        "{}",
        '{"a": [1, 2]}',
        "a: ünï\n",
        "a: '<<'\n'<<': b\n",
        "no: off\n",
        "a: {x: 1}\nb: {x: 1}\n",
    ],
)
def test_plain_yaml_passes_unchanged(content: str) -> None:
    assert check_rule_yaml(content) == content
    assert isinstance(yaml.safe_load(content), dict)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("just words", "must be a mapping"),
        ("- a\n- b\n", "must be a mapping"),
        ("null", "must be a mapping"),
        ("a: [1, 2", "is not valid YAML"),
        ("a: b: c", "is not valid YAML"),
        ("\ta: 1", "is not valid YAML"),
        ("a: 'open", "is not valid YAML"),
        ("a: \x01", "is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "single YAML document"),
        ("a: &x 1", "anchors"),
        ("&x a: 1", "anchors"),
        ("&x\na: 1", "anchors"),
        ("a: *x", "aliases"),
        ("a: !!python/object/apply:os.system ['id']", "tags"),
        ("a: !!str 1", "tags"),
        ("a: !own 1", "tags"),
        ("!!map {a: 1}", "tags"),
        ("%YAML 1.1\n---\na: 1\n", "directives"),
        ("%TAG ! tag:example.com,2026:\n---\na: 1\n", "directives"),
        ("a: 1\na: 2\n", "key twice"),
        ("x: {a: 1, 'a': 2}\n", "key twice"),
        ("? [a]\n: 1\n", "as a key"),
        ("{{a: 1}: 2}", "as a key"),
        ("a: 1\n<<: {b: 2}\n", "merge keys"),
        ("a: \0", "NUL"),
        ("\ufeffa: 1", "byte order marks"),
        ("a: 1\0", "NUL"),
        ("a: \ud800", "surrogate"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_reason(content: str, reason: str) -> None:
    with pytest.raises(BadRule, match=reason):
        check_rule_yaml(content)


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["l0: &l0 [lol, lol]", *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))]
    with pytest.raises(BadRule, match="anchors"):
        check_rule_yaml("\n".join(lines))


def test_the_reason_names_the_line() -> None:
    with pytest.raises(BadRule, match=r"\(line 3\)"):
        check_rule_yaml("a: 1\nb: 2\nc: !x 3\n")


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_size_is_counted_in_bytes(letter: str) -> None:
    start = "a: "
    fits = start + letter * ((MAX_RULE_BYTES - len(start)) // len(letter.encode()))
    fits += "x" * (MAX_RULE_BYTES - len(fits.encode()))

    assert check_rule_yaml(fits) == fits
    with pytest.raises(BadRule, match="larger than 65536 bytes"):
        check_rule_yaml(fits + "x")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_the_depth_is_bounded(opening: str, closing: str) -> None:
    def nested(levels: int) -> str:
        return "a: " + opening * (levels - 1) + closing * (levels - 1)

    assert check_rule_yaml(nested(MAX_RULE_DEPTH))
    for levels in (MAX_RULE_DEPTH + 1, 10_000):
        with pytest.raises(BadRule, match="nested deeper"):
            check_rule_yaml(nested(levels))


def test_sixty_thousand_openings_are_refused() -> None:
    for content in ("a: " + "[" * 60_000, "a: " + "{" * 60_000, "- " * 30_000, "? " * 30_000):
        with pytest.raises(BadRule):
            check_rule_yaml(content)


_PIECES = (
    *("a", "b", "1", ": ", ":", "\n", "  ", "- ", "? ", "[", "]", "{", "}", ",", "'", '"', "#", "|\n", ">-\n", "<<"),
    *("&x ", "*x", "!t ", "!!int ", "---\n", "...\n", "%YAML 1.1\n"),
    *("\t", "\r", "\\", "\0", "\x85", "\ufeff", "\u2028", "\ud800", "\U0001f600"),
)


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)))
def test_any_text_passes_or_is_refused(content: str) -> None:
    try:
        passed = check_rule_yaml(content)
    except BadRule:
        return
    assert passed == content
    assert isinstance(yaml.compose(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), yaml.MappingNode)
