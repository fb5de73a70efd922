"""STIX: the grammar of patterns, and what a bundle says of its indicators."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.formats.readers.test_vendors import MD5, SHA1, SHA256, Read
from threatcloud.formats.readers.stix_pattern import Combined, Comparison, PatternError, by_grammar, comparisons, parse


def values(pattern: str) -> list[tuple[str, str, tuple[str, ...], bool]]:
    return [(item.object_type, item.operator, item.values, item.negated) for item in comparisons(parse(pattern))]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[url:value = 'http://a/']", [("url", "=", ("http://a/",), False)]),
        ("[url:value='it\\'s \\\\ ]']", [("url", "=", ("it's \\ ]",), False)]),
        ("[ipv4-addr:value IN ('1.1.1.1', '2.2.2.2')]", [("ipv4-addr", "IN", ("1.1.1.1", "2.2.2.2"), False)]),
        ("[url:value NOT = 'x']", [("url", "=", ("x",), True)]),
        ("[url:value != 'x']", [("url", "=", ("x",), True)]),
        ("[url:value NOT != 'x']", [("url", "=", ("x",), False)]),
        ("[EXISTS url:value]", [("url", "EXISTS", (), False)]),
        ("[file:size > 10 AND file:name LIKE 'a%']", [("file", ">", ("10",), False), ("file", "LIKE", ("a%",), False)]),
        (
            "([a:b = 1] AND [c:d = true]) FOLLOWEDBY [e:f = t'2026-03-07T08:15:00Z'] WITHIN 5 SECONDS",
            [("a", "=", ("1",), False), ("c", "=", ("true",), False), ("e", "=", ("2026-03-07T08:15:00Z",), False)],
        ),
        ("[a:b = 'x'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'", [("a", "=", ("x",), False)]),
        ("[a:b = 'x'] REPEATS 5 TIMES", [("a", "=", ("x",), False)]),
        ("[x-mine:ext.'some-thing'.list[*].y = h'00ff']", [("x-mine", "=", ("00ff",), False)]),
    ],
)
def test_patterns(pattern: str, expected: list[tuple[str, str, tuple[str, ...], bool]]) -> None:
    assert values(pattern) == expected


def test_and_binds_closer_than_or() -> None:
    (observed,) = [parse("[a:b = 1 OR a:b = 2 AND a:b = 3]")]
    expression = observed.expression  # type: ignore[union-attr]
    assert isinstance(expression, Combined)
    assert expression.operator == "OR"
    assert isinstance(expression.parts[0], Comparison)


@pytest.mark.parametrize(
    ("pattern", "character"),
    [
        ("", 1),
        ("[", 2),
        ("[a:b]", 5),
        ("[a:b = 'x]", 8),
        ("[a:b = 'x'] x", 13),
        ("url:value = 'x'", 1),
        ("[a:b ~ 1]", 6),
        ("[a:b. = 'x']", 7),
    ],
)
def test_what_is_no_pattern_is_told_with_its_place(pattern: str, character: int) -> None:
    with pytest.raises(PatternError, match=f"at character {character}$"):
        parse(pattern)


def test_brackets_within_brackets_have_an_end() -> None:
    with pytest.raises(PatternError, match="at most 64 brackets"):
        parse("(" * 10_000 + "[a:b = 1]" + ")" * 10_000)


@given(st.text(max_size=60) | st.from_regex(r"[\[\]():='a-z ]{0,40}", fullmatch=True))
def test_no_text_breaks_the_parser(text: str) -> None:
    with suppress(PatternError):
        assert list(comparisons(parse(text)))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_quoting(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    assert values(f"[url:value = '{quoted}']") == [("url", "=", (text,), False)]


def bundle(*objects: dict[str, Any]) -> str:
    return json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects})


def indicator(pattern: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "indicator", "id": f"indicator--{number}", "pattern": pattern, "pattern_type": "stix", **more}


def test_what_others_say_of_an_indicator_comes_with_it_wherever_it_stands() -> None:
    read = Read(
        bundle(
            indicator(
                f"[file:hashes.'SHA-256' = '{SHA256}' OR file:hashes.MD5 = '{MD5}']",
                valid_from="2026-03-07T08:15:00Z",
                valid_until="2027-03-07T08:15:00Z",
                confidence=85,
                labels=["x-label"],
                indicator_types=["malicious-activity"],
                object_marking_refs=["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"],
                external_references=[{"source_name": "blog", "url": "https://blog.example/1"}],
                created_by_ref="identity--1",
                description="A file",
            ),
            {"type": "relationship", "id": "relationship--1", "source_ref": "indicator--1", "target_ref": "malware--1"},
            {
                "type": "relationship",
                "id": "relationship--2",
                "source_ref": "indicator--1",
                "target_ref": "attack-pattern--1",
            },
            {
                "type": "relationship",
                "id": "relationship--3",
                "source_ref": "indicator--1",
                "target_ref": "threat-actor--1",
            },
            {
                "type": "sighting",
                "id": "sighting--1",
                "sighting_of_ref": "indicator--1",
                "count": 3,
                "last_seen": "2026-03-08T08:15:00Z",
            },
            {"type": "malware", "id": "malware--1", "name": "Example", "malware_types": ["ransomware"]},
            {
                "type": "attack-pattern",
                "id": "attack-pattern--1",
                "name": "Encrypts",
                "external_references": [{"source_name": "mitre-attack", "external_id": "T1486"}],
            },
            {"type": "threat-actor", "id": "threat-actor--1", "name": "Somebody"},
            {"type": "identity", "id": "identity--1", "name": "Vendor"},
            {
                "type": "report",
                "id": "report--1",
                "object_refs": ["indicator--1"],
                "external_references": [{"source_name": "blog", "url": "https://blog.example/2"}],
            },
        )
    )
    assert (read.name, read.values) == ("stix", [(SHA256, "hash"), (MD5, "hash")])
    assert not read.passed
    fields = read.fields()
    metadata = fields.pop("metadata")
    assert fields == {
        "category": "malware",
        "confidence": 0.85,
        "timestamp": "2026-03-07T08:15:00Z",
        "expiresAt": "2027-03-07T08:15:00Z",
        "tlp": "amber",
    }
    assert metadata["tags"] == ["x-label", "Somebody"]
    assert metadata["malwareFamily"] == "Example"
    assert metadata["mitreIds"] == ["T1486"]
    assert metadata["references"] == ["https://blog.example/1", "https://blog.example/2"]
    assert (metadata["ref"], metadata["producer"], metadata["description"]) == ("report--1", "Vendor", "A file")
    assert (metadata["sightings"], metadata["lastSighted"]) == (3, "2026-03-08T08:15:00Z")
    assert metadata["pattern"].startswith("[file:hashes")


def test_the_strictest_marking_counts_that_of_parts_too() -> None:
    read = Read(
        bundle(
            {
                "type": "marking-definition",
                "id": "marking-definition--9",
                "extensions": {"e": {"tlp_2_0": "amber+strict"}},
            },
            indicator(
                "[domain-name:value = 'a.example']",
                object_marking_refs=["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"],
                granular_markings=[{"marking_ref": "marking-definition--9", "selectors": ["name"]}],
            ),
        )
    )
    assert read.fields()["tlp"] == "amber+strict"


def test_only_what_a_pattern_asserts_is_an_indicator() -> None:
    read = Read(
        bundle(
            indicator(
                "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1'"
                " AND network-traffic:dst_port = 443]"
            ),
            indicator("[url:value LIKE 'http://a%']", 2),
            indicator("[domain-name:value != 'good.example']", 3),
            indicator("[file:name = 'x.exe']", 4),
            indicator("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", 5),
            indicator(f"[file:hashes.SHA1 = '{SHA1}']", 6, revoked=True),
            indicator("rule x {}", 7, pattern_type="yara"),
            indicator("[domain-name:value = 'fine.example']", 8, indicator_types=["benign"]),
            indicator("[domain-name:value = ", 9),
            {"type": "indicator", "id": "indicator--10"},
            {"type": "vulnerability", "id": "vulnerability--1", "name": "CVE-2026-12345"},
            {
                "type": "observed-data",
                "id": "observed-data--1",
                "objects": {"0": {"type": "url", "value": "http://x/"}},
            },
        )
    )
    assert read.values == [("192.0.2.1", None), ("198.51.100.0/24", "ip"), ("CVE-2026-12345", "cve")]
    assert read.metadata()["ports"] == [443]
    assert [field for _, field in read.rejects] == ["pattern", "pattern"]
    assert read.passed == {
        "pattern of url with LIKE": 1,
        "pattern of domain-name with negated": 1,
        "pattern of file:name": 1,
        "revoked indicator": 1,
        "pattern in yara": 1,
        "indicator that is benign": 1,
        "STIX observed-data": 1,
    }


def test_a_broken_object_loses_itself_and_a_broken_text_what_follows() -> None:
    good = json.dumps(indicator("[domain-name:value = 'a.example']"))
    text = f'{{"type": "bundle", "id": "bundle--1", "objects": [{good},\n{{"type" "x"}},\n{good},\n]]'
    read = Read(text)
    assert read.values == [("a.example", "domain")] * 2
    assert read.rejects == [(2, "line"), (4, "line")]


def test_latin_1_in_a_description_loses_nothing() -> None:
    text = bundle(indicator("[domain-name:value = 'a.example']", description="caf?")).encode().replace(b"?", b"\xe9")
    assert Read(text).metadata()["description"] == "café"


_equal = st.builds(
    "{0}{1}{0}={0}'{2}'{0}".format,
    st.sampled_from(["", " ", "\n"]),
    st.sampled_from(
        [
            *("url:value", "file:hashes.MD5", "file:hashes.SHA-256", "file:hashes.'SHA-256'", "a-b:c.d.'e-f'"),
            *("EXISTS:a", "NOT:a", "OR:AND", "a:b.", "a:b.h'c'", "a:b[0].c", "a:1.b", "a:b-1.c_2", "a:b NOT", "a: b"),
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="'\\"), max_size=20)
    | st.sampled_from(["' OR a:b = '", "x'] OR [a:b = 'y", "\\'", "\\\\"]),
)
_between = st.sampled_from([" OR ", " AND ", "OR", "OR ", "AND ", "] OR [", "]AND[", "] FOLLOWEDBY [", " or ", ""])


@given(st.lists(st.tuples(_equal, _between), min_size=1, max_size=4), st.booleans(), st.sampled_from(["", " ", "("]))
@example([("a:b = 'x' ", "OR "), ("c:d = 'y' ", "AND "), ("e:f = 'z'", "")], True, "")
def test_the_short_ways_and_the_grammar_agree(parts: list[tuple[str, str]], alike: bool, around: str) -> None:
    joined = "".join(one + (parts[0][1] if alike else between) for one, between in parts[:-1]) + parts[-1][0]
    pattern = f"{around}[{joined}]{around}"
    try:
        expected: object = by_grammar(pattern)
    except PatternError as error:
        expected = str(error)
    try:
        found: object = parse(pattern)
    except PatternError as error:
        found = str(error)
    assert found == expected
