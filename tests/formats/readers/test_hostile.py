"""What strangers send: broken, huge, deep, in other encodings. Nothing stops the reading but the end, or a reason."""

import gzip
import io
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.readers.test_stix import bundle, indicator
from tests.formats.readers.test_vendors import OPENIOC, THREATFOX_CSV, Read, misp
from threatcloud.formats.readers import (
    NO_COLUMNS,
    READERS,
    Found,
    Passed,
    Reader,
    Reject,
    Row,
    Source,
    SourceError,
    detected,
    open_source,
)
from threatcloud.formats.readers.json_items import MAX_ITEM_BYTES, Item, items

SAMPLES = (
    bundle(
        indicator(
            "[url:value = 'http://a.example/']",
            labels=["x"],
            confidence=5,
            valid_from="2026-03-07",
            external_references=[{"url": "http://b.example/", "source_name": "x"}],
            granular_markings=[{"marking_ref": "x"}],
            object_marking_refs=["x"],
            kill_chain_phases=[{"phase_name": "x"}],
        ),
        {"type": "malware", "id": "malware--1", "name": "x", "malware_types": ["x"], "external_references": [{}]},
        {"type": "relationship", "id": "relationship--1", "source_ref": "indicator--1", "target_ref": "malware--1"},
        {"type": "sighting", "id": "sighting--1", "sighting_of_ref": "indicator--1", "count": 1, "last_seen": "x"},
        {"type": "report", "id": "report--1", "object_refs": ["indicator--1"]},
        {"type": "marking-definition", "id": "x", "definition": {"tlp": "red"}, "extensions": {"a": {"tlp_2_0": "x"}}},
    ),
    misp(
        [{"type": "domain", "value": "a.example", "Tag": [{"name": "x"}], "timestamp": "5", "to_ids": True}],
        Tag=[{"name": "x"}],
        Galaxy=[{"GalaxyCluster": [{"value": "x", "tag_name": "x", "type": "x"}]}],
        Orgc={"name": "x"},
        threat_level_id="1",
        date="2026-03-07",
    ),
    THREATFOX_CSV,
    OPENIOC,
    '{"indicators": [{"indicator": "a.example", "type": "domain"}], "name": "x", "tags": ["x"], '
    '"attack_ids": ["T1110"], '
    '"malware_families": [{"id": "x"}], "references": ["x"], "TLP": "red"}',
    '[{"scope": "Ip", "value": "192.0.2.1", "duration": "4h", "origin": "x"}]',
    '[{"scenario": "x", "source": {"scope": "Ip", "value": "192.0.2.1", "cn": "NL"}, "events_count": 1, '
    '"labels": ["x"], '
    '"decisions": [{"duration": "4h"}]}]',
    '{"threat": {"indicator": {"ip": "192.0.2.1"}}}',
    '{"event_type": "alert", "src_ip": "192.0.2.1", "alert": {"severity": 1}}',
    "192.0.2.0/24 ; SBL1",
    "#fields\tindicator\tindicator_type\n192.0.2.1\tIntel::ADDR",
    "<html><title>x</title><p>evil[.]example.com</html>",
    "evil[.]example.com and more words",
)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["type", "id", "objects", "Event", "Attribute", "info", "value", "indicator", "source", "cidr"]
)
DOCUMENTS: Any = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=5),
    max_leaves=25,
)


PUT = (b"", b"\0", b"\xff", b'"', b"{", b"]", b"\r\n", b"\\", b"<", b"\xef\xbb\xbf", b"null")


def read_all(reader: Reader, data: bytes) -> list[Found]:
    with Source("x", io.BytesIO(data)) as source:
        return list(reader.read(source, NO_COLUMNS))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@settings(max_examples=60)
@given(DOCUMENTS.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=60))
def test_whatever_the_members_of_a_document_are_no_reader_breaks(reader: Reader, data: bytes) -> None:
    with suppress(SourceError):
        for found in read_all(reader, data):
            assert isinstance(found, Row | Reject | Passed)
            assert not isinstance(found, Row) or isinstance(found.value, str)


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
@settings(max_examples=60)
@given(st.data())
def test_a_sample_cut_or_with_something_in_it_breaks_nothing(sample: str, data: st.DataObject) -> None:
    raw = sample.encode()
    at = data.draw(st.integers(0, len(raw)))
    put = data.draw(st.sampled_from(PUT))
    cut = data.draw(st.sampled_from([0, 1, len(raw)]))
    changed = raw[:at] + put + raw[at + cut :]
    with Source("x", io.BytesIO(changed)) as source:
        list(detected(source.head()).read(source, NO_COLUMNS))


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample[0] in "{["], ids=str)
@settings(max_examples=150)
@given(st.data(), VALUES)
def test_a_member_of_another_type_breaks_nothing(sample: str, data: st.DataObject, value: Any) -> None:
    document = json.loads(sample)
    place, step = document, data.draw(st.sampled_from(_steps(document)))
    while isinstance(place[step], dict | list) and place[step] and data.draw(st.booleans()):
        place = place[step]
        step = data.draw(st.sampled_from(_steps(place)))
    place[step] = value
    with Source("x", io.BytesIO(json.dumps(document).encode())) as source:
        list(detected(Source("x", io.BytesIO(sample.encode())).head()).read(source, NO_COLUMNS))


def _steps(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


@pytest.mark.parametrize("sample", SAMPLES[:3] + SAMPLES[4:9], ids=range(8))
def test_a_mark_and_other_line_ends_change_nothing(sample: str) -> None:
    assert Read(b"\xef\xbb\xbf" + sample.replace("\n", "\r\n").encode()).values == Read(sample).values


@given(DOCUMENTS, st.integers(1, 40), st.sampled_from([None, 0, 1]))
def test_the_pieces_of_a_document_are_the_document_however_it_arrives(
    document: Any, size: int, indent: int | None
) -> None:
    data = json.dumps(document, indent=indent).encode()
    found = list(items((data[at : at + size] for at in range(0, len(data), size)), lambda path: len(path) < 2))
    assert all(isinstance(item, Item) for item in found)
    leaves = [item.load() for item in found if isinstance(item, Item) and item.data != b"{"]
    expected: list[Any] = []
    for value in _members(document):
        expected += _members(value) if isinstance(value, list | dict) else [value]
    if isinstance(document, list | dict):
        assert leaves == expected


def _members(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]


def test_a_long_url_is_a_row_and_left_to_whoever_knows_how_long_it_may_be() -> None:
    url = "http://a.example/" + "x" * 60_000
    assert Read(bundle(indicator(f"[url:value = '{url}']"))).values == [(url, "url")]
    assert Read(f"{url}\n192.0.2.1\n").values == [(url, None), ("192.0.2.1", None)]


def test_what_is_nested_without_end_is_a_reject() -> None:
    deep = (
        b'{"type": "bundle", "id": "bundle--1", "objects": [' + b"[" * 100_000 + b"]" * 100_000 + b', {"type": "x"}]}'
    )
    read = Read(deep)
    assert read.rejects == [(1, "line")]
    assert read.passed == {"STIX x": 1}


def test_an_object_too_large_is_a_reject_and_the_next_is_read() -> None:
    large = b'{"type": "x", "a": [' + b"1," * MAX_ITEM_BYTES + b"1]}"
    good = json.dumps(indicator("[url:value = 'http://a.example/']")).encode()
    read = Read(b'{"type": "bundle", "id": "bundle--1", "objects": [' + large + b",\n" + good + b"]}")
    assert read.values == [("http://a.example/", "url")]
    assert read.rejects == [(1, "line")]


def test_memory_does_not_grow_with_the_document(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json.gz"
    one = json.dumps(indicator("[url:value = 'http://a.example/']", description="x" * 400)).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"type": "bundle", "id": "bundle--1", "objects": [' + one)
        for _ in range(40):
            file.write((b"," + one) * 1_000)
        file.write(b"]}")
    small = tmp_path / "small.json"
    small.write_bytes(b'{"type": "bundle", "id": "bundle--1", "objects": [' + one + b"]}")
    with open_source(small) as source:
        assert len(list(detected(source.head()).read(source, NO_COLUMNS))) == 1  # what is loaded once is loaded
    with open_source(path) as source:
        reader = detected(source.head())
        tracemalloc.start()
        count = sum(isinstance(found, Row) for found in reader.read(source, NO_COLUMNS))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (reader.name, count) == ("stix", 40_001)
    assert peak_bytes < 4_000_000
