"""Structured formats, read by the libraries of those they are for: STIX, MISP, Sigma, YARA, MaxMind DB."""

import hashlib
import io
import json
from ipaddress import ip_network
from typing import Any

import maxminddb
import pytest
import yara  # type: ignore[import-not-found]
from hypothesis import given
from hypothesis import strategies as st
from pymisp import MISPEvent
from sigma.collection import SigmaCollection
from sigma.rule import SigmaRule
from stix2patterns.v21.pattern import Pattern  # type: ignore[import-untyped]
from stix2validator import ValidationOptions, validate_string  # type: ignore[import-untyped]

from tests.formats.feeds.lists import AT, GOOD, rendered, snapshot
from threatcloud.domain.feed import FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats import misp, stix
from threatcloud.formats.feeds import LISTED_KINDS, Snapshot, find_format, render, render_all

IP, DOMAIN, HASH, URL = IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH, IndicatorType.URL


def whole(name: str) -> bytes:
    """Lists of all types in one file."""
    return render_all(find_format(name), [snapshot(kind, GOOD[kind]) for kind in LISTED_KINDS]).body


class TestStix:
    @pytest.mark.parametrize("body", [*(rendered(find_format("stix"), kind) for kind in LISTED_KINDS), whole("stix")])
    def test_a_bundle_passes_the_validator_in_its_strict_mode(self, body: bytes) -> None:
        found = validate_string(body.decode(), ValidationOptions(strict=True, version="2.1", silent=True))

        assert found.is_valid, [str(error) for error in found.errors]
        assert not found.warnings

    def test_an_empty_list_is_a_bundle_too(self) -> None:
        body = render(find_format("stix"), snapshot(IP, ())).body.decode()

        assert validate_string(body, ValidationOptions(strict=True, version="2.1", silent=True)).is_valid

    def test_each_value_is_an_indicator_with_a_pattern_that_finds_it(self) -> None:
        for kind in LISTED_KINDS:
            objects = json.loads(rendered(find_format("stix"), kind))["objects"]
            indicators = [item for item in objects if item["type"] == "indicator"]

            assert [item["name"] for item in indicators] == list(GOOD[kind])
            for item in indicators:
                (comparison,) = next(iter(Pattern(item["pattern"]).inspect().comparisons.values()))
                assert comparison[2].strip("'").replace("\\'", "'").replace("\\\\", "\\") == item["name"].removesuffix(
                    "/32"
                )

    def test_what_is_known_of_an_entry_is_said(self) -> None:
        objects = json.loads(rendered(find_format("stix"), IP))["objects"]
        marks = {item["id"]: item["name"] for item in objects if item["type"] == "marking-definition"}
        first, second, third, fourth, fifth = [item for item in objects if item["type"] == "indicator"][:5]

        assert second["confidence"] == 89
        assert second["labels"] == ["c2"]
        assert second["kill_chain_phases"] == [{"kill_chain_name": "mitre-attack", "phase_name": "command-and-control"}]
        assert (second["valid_from"], second["valid_until"]) == ("2026-03-05T08:15:00.000Z", iso(AT + 86_400_000))
        assert first["external_references"] == [{"source_name": "mitre-attack", "external_id": "T1110.001"}]
        said = [[marks[ref] for ref in item.get("object_marking_refs", [])] for item in (first, second, third, fourth)]
        assert said == [[], ["TLP:GREEN"], ["TLP:WHITE"], ["TLP:RED"]]
        assert "valid_until" not in fifth

    def test_the_id_of_a_value_is_always_the_same(self) -> None:
        assert stix.indicator_id(DOMAIN, "bad.example") == stix.indicator_id(DOMAIN, "bad.example")
        assert stix.indicator_id(DOMAIN, "bad.example") != stix.indicator_id(URL, "bad.example")


class TestMisp:
    @pytest.mark.parametrize("body", [*(rendered(find_format("misp"), kind) for kind in LISTED_KINDS), whole("misp")])
    def test_an_event_is_loaded_by_pymisp(self, body: bytes) -> None:
        event = MISPEvent()
        event.load(body.decode())

        assert event.uuid
        assert event.Orgc.name == "Threat Cloud"
        assert event.to_json()

    def test_each_value_is_an_attribute_of_its_type(self) -> None:
        event = MISPEvent()
        event.load(whole("misp").decode())

        values = {kind: GOOD[kind] for kind in LISTED_KINDS}
        wanted = {value.removesuffix("/32") for value in values.pop(IP)} | {
            v for found in values.values() for v in found
        }
        assert {item.value for item in event.attributes} == wanted
        assert {item.type for item in event.attributes} == {
            "ip-dst",
            "domain",
            "url",
            "md5",
            "sha1",
            "sha256",
            "sha512",
        }
        assert all(item.to_ids for item in event.attributes)

    def test_hashes_of_a_feed_are_those_of_the_values(self) -> None:
        lines = misp.hash_lines("ip-blocklist", IP, GOOD[IP]).decode().splitlines()
        event = MISPEvent()
        event.load(rendered(find_format("misp"), IP).decode())

        wanted = {hashlib.md5(item.value.encode(), usedforsecurity=False).hexdigest() for item in event.attributes}
        assert {line.partition(",")[0] for line in lines} == wanted
        assert {line.partition(",")[2] for line in lines} == {event.uuid}

    def test_a_manifest_says_of_an_event_what_pymisp_would(self) -> None:
        event = MISPEvent()
        event.load(rendered(find_format("misp"), IP).decode())

        found: dict[str, Any] = json.loads(misp.manifest([("ip-blocklist", IP, AT)]))

        theirs = event.manifest[event.uuid]
        ours = found[event.uuid]
        assert ours.keys() == theirs.keys()
        assert (ours["info"], ours["date"], str(ours["timestamp"])) == (
            theirs["info"],
            theirs["date"],
            str(theirs["timestamp"]),
        )


class TestSigma:
    @pytest.mark.parametrize("kind", LISTED_KINDS)
    def test_a_rule_is_read_by_pysigma_without_an_error(self, kind: IndicatorType) -> None:
        for body in (rendered(find_format("sigma"), kind), render(find_format("sigma"), snapshot(kind, ())).body):
            rules = SigmaCollection.from_yaml(body.decode())

            assert not rules.errors
            assert len(rules) == 1

    def test_a_url_is_matched_as_it_is_without_wildcards(self) -> None:
        (rule,) = SigmaCollection.from_yaml(rendered(find_format("sigma"), URL).decode())
        assert isinstance(rule, SigmaRule)

        (item,) = rule.detection.detections["listed_1"].detection_items
        values = [value for value in item.value if not value.contains_special()]  # type: ignore[union-attr]
        assert [value.to_plain().replace("\\?", "?").replace("\\*", "*") for value in values] == [
            value for value in GOOD[URL] if "\\" not in value
        ]


class TestYara:
    def test_a_file_is_found_by_its_hash(self) -> None:
        content = b"malware, for the sake of the test"
        digests = [hashlib.new(name, content).hexdigest() for name in ("md5", "sha1", "sha256")]
        for digest in digests:
            others = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in range(2_500))
            rules = yara.compile(source=render(find_format("yara"), snapshot(HASH, (*others, digest))).body.decode())

            assert [match.rule for match in rules.match(data=content)] == ["threat_cloud_3"]
            assert rules.match(data=b"harmless") == []

    def test_hashes_that_yara_does_not_know_are_left_out(self) -> None:
        found = render(find_format("yara"), snapshot(HASH, ("ef" * 64,)))

        assert found.left_out == {"SHA-512": 1}
        assert list(yara.compile(source=found.body.decode())) == []


_NETWORKS = st.one_of(
    st.integers(16, 32).flatmap(
        lambda p: st.integers(0, 3 << 16).map(lambda n: ip_network((n << 14 & -(1 << 32 - p), p)))
    ),
    st.integers(32, 128).flatmap(
        lambda p: st.integers(0, 1 << 20).map(
            lambda n: ip_network(((0x2A0E << 112 | n << 90) >> 128 - p << 128 - p, p))
        )
    ),
)


class TestMmdb:
    def lookup(self, body: bytes) -> maxminddb.Reader:
        return maxminddb.open_database(io.BytesIO(body), maxminddb.MODE_FD)

    def test_the_verdict_on_each_address_is_found(self) -> None:
        with self.lookup(rendered(find_format("mmdb"), IP)) as reader:
            assert reader.get("198.51.100.7") == {"verdict": "block", "reputation": 0, "category": "uncategorized"}
            assert reader.get("203.0.113.77") == {"verdict": "block", "reputation": 1, "category": "c2"}
            assert reader.get("2001:db8:1:ffff::1") is not None
            assert reader.get("203.0.113.9") == {"verdict": "block", "reputation": 3, "category": "phishing"}
            assert reader.get("192.0.2.1") is None
            assert reader.get("2001:db8::8") is None
            assert reader.metadata().build_epoch == AT // 1_000

    def test_an_empty_list_is_a_database_in_which_nothing_is_found(self) -> None:
        with self.lookup(render(find_format("mmdb"), snapshot(IP, ())).body) as reader:
            assert reader.get("198.51.100.7") is None
            assert reader.get("::") is None

    @given(st.lists(_NETWORKS, unique=True, max_size=20))
    def test_an_address_has_the_data_of_the_narrowest_network_around_it(self, networks: list[Any]) -> None:
        texts = [str(n.network_address) if n.prefixlen == n.max_prefixlen else str(n) for n in networks]
        entries = [FeedEntry(text, index, None, iso(AT), iso(AT)) for index, text in enumerate(texts)]
        body = find_format("mmdb").write(Snapshot(IP, AT, texts, entries))

        with self.lookup(body) as reader:
            for network in networks:
                for address in (network[0], network[-1], network[0] + network.num_addresses // 2):
                    around = [other for other in networks if other.version == address.version and address in other]
                    narrowest = max(around, key=lambda other: other.prefixlen)
                    found = reader.get(str(address))
                    assert isinstance(found, dict)
                    assert found["reputation"] == networks.index(narrowest)
                outside = network[0] - 1 if int(network[0]) else network[-1] + 1
                if not any(other.version == outside.version and outside in other for other in networks):
                    assert reader.get(str(outside)) is None
