"""What is written by a template is what the object itself would be encoded as."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.feed import FullEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso, parse_time
from threatcloud.formats import misp, stix
from threatcloud.formats.templates import MARKS, Templates, around, escaped, template

_PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
_TIMES = st.integers(0, 253_402_300_799_999).map(iso)
_KINDS = (IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.URL, IndicatorType.HASH)
_VALUES = {
    IndicatorType.IP: st.sampled_from(("198.51.100.7", "198.18.0.0/32", "203.0.113.0/24", "2001:db8::7")),
    IndicatorType.DOMAIN: st.sampled_from(("bad.example", "_dmarc.worse.example")),
    IndicatorType.URL: _PRINTABLE.map(lambda text: f"http://bad.example/{text}"),
    IndicatorType.HASH: st.sampled_from(list(HASH_NAMES)).map(lambda length: "a" * length),
}
_WORDS = st.sampled_from((None, "c2", "100%s", 'with "quotes"', "\x00"))


@st.composite
def entries(draw: st.DrawFn) -> tuple[IndicatorType, FullEntry]:
    """An entry of a list of some type, with words as nobody should report them."""
    kind = draw(st.sampled_from(_KINDS))
    tlp = draw(st.sampled_from((None, "green", "amber+strict", "white", "no word of it")))
    return kind, FullEntry(
        draw(_VALUES[kind]),
        draw(st.integers(0, 100)),
        draw(_WORDS),
        draw(_TIMES),
        draw(_TIMES),
        draw(st.integers(0, 100)),
        draw(_TIMES),
        draw(st.none() | _TIMES),
        tlp,
        draw(st.sampled_from(((), ("T1110.001",), ("T1071", "no id", "T1595")))),
    )


@given(entries())
def test_an_indicator_of_stix_is_the_same_by_template(listed: tuple[IndicatorType, FullEntry]) -> None:
    kind, entry = listed

    (text,) = stix.indicator_texts(kind, [entry])

    assert text.encode() == msgspec.json.encode(stix.indicator_object(kind, entry))


@given(st.lists(entries(), max_size=3))
def test_a_bundle_has_every_marking_that_its_indicators_refer_to(listed: list[tuple[IndicatorType, FullEntry]]) -> None:
    texts = [text for kind, entry in listed for text in stix.indicator_texts(kind, [entry])]
    full = [entry for _, entry in listed]
    before, after = stix.around_indicators(["x"], full, is_empty=not full)

    objects = json.loads(before + ",".join(texts).encode() + after)["objects"]

    markings = {item["id"] for item in objects if item["type"] == "marking-definition"}
    assert markings == {ref for item in objects for ref in item.get("object_marking_refs", [])}
    assert len(objects) == 1 + len(markings) + len(full)


@given(entries())
def test_an_attribute_of_misp_is_the_same_by_template(listed: tuple[IndicatorType, FullEntry]) -> None:
    kind, entry = listed

    (text,) = misp.attribute_texts(kind, [entry])

    assert text.encode() == msgspec.json.encode(misp.attribute(kind, entry))


@given(st.text())
def test_a_text_is_escaped_as_json_has_it(text: str) -> None:
    assert json.loads(f'"{escaped(text)}"') == text


@given(_TIMES)
def test_times_of_misp_are_in_seconds(time: str) -> None:
    assert misp.seconds_of(time) == parse_time(time) // 1_000


def test_what_an_example_has_not_takes_a_text_all_the_same() -> None:
    assert template({"a": str(MARKS[0]), "b": MARKS[2]}, MARKS[:3]) % ("x", "never seen", 7) == '{"a":"x","b":7}'


def test_around_a_document_is_what_is_before_and_after_the_first_mark() -> None:
    assert around({"a": [MARKS[0]], "b": 1}) == (b'{"a":[', b'],"b":1}\n')


def test_a_template_is_made_once() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key

    templates = Templates(make)

    assert [templates["x"], templates["x"], templates["y"]] == ["x", "x", "y"]
    assert made == ["x", "y"]
