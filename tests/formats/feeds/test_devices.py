"""What single formats promise beyond their golden files: limits, reasons, and text that reads back."""

import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.feeds.lists import AT, GOOD, rendered, snapshot
from threatcloud.domain.feed import FeedEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import CATEGORIES
from threatcloud.domain.times import iso
from threatcloud.formats.feeds import Rendering, Snapshot, find_format, render

IP, DOMAIN, HASH, URL = IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH, IndicatorType.URL


def of(name: str, kind: IndicatorType, *values: str) -> Rendering:
    """Values in a format."""
    return render(find_format(name), snapshot(kind, values))


def lines_of(name: str, kind: IndicatorType, *values: str) -> list[str]:
    """The lines of values in a format, without comments."""
    return [line for line in of(name, kind, *values).body.decode().splitlines() if line[0] not in "#!;"]


class TestLimits:
    @pytest.mark.parametrize(("name", "most"), [("paloalto", 50_000), ("fortinet", 131_072)])
    def test_what_a_device_does_not_take_is_cut_off_and_counted(self, name: str, most: int) -> None:
        values = tuple(f"n{number}.example" for number in range(most + 3))

        found = of(name, DOMAIN, *values)

        assert (found.entries, found.truncated, found.left_out) == (most, 3, {})
        assert found.body.decode().splitlines() == list(values[:most])

    def test_a_file_of_fortinet_is_no_longer_than_it_may_be(self) -> None:
        values = tuple(f"http://bad.example/{number}{'a' * 8_000}" for number in range(1_400))

        found = of("fortinet", URL, *values)

        assert len(found.body) <= 10 * 1024 * 1024 < len(found.body) + 8_100
        assert found.truncated == len(values) - found.entries > 0


class TestReasons:
    @pytest.mark.parametrize(
        ("name", "kind", "value", "reason"),
        [
            ("paloalto", URL, "http://bad.example/*", "with a wildcard in it"),
            ("paloalto", URL, "http://bad.example/^", "with a wildcard in it"),
            ("paloalto", URL, f"http://bad.example/{'a' * 250}", "over 255 characters"),
            ("paloalto", URL, "ftp://bad.example/", "not of the web"),
            ("cisco", URL, "http://user:secret@bad.example/", "not of the web"),
            ("fortinet", URL, "http://bad.example/*", "with a wildcard in it"),
            ("fortinet", HASH, "ef" * 64, "SHA-512"),
            ("suricata-sha256", HASH, "ab" * 16, "not SHA-256"),
            ("suricata-md5", HASH, "cd" * 32, "not MD5"),
            ("zeek", URL, "http://bad.example/?\\x0a", "with a backslash in it"),
            ("wazuh", IP, "2001:db8::/48", "networks of IPv6"),
            ("rpz", DOMAIN, "24.0.113.0.203.rpz-ip", "of a name that is a policy trigger"),
            ("rpz", DOMAIN, f"{'a' * 63}.{'b' * 63}.{'c' * 63}.example", "over 190 characters"),
            ("iptables", IP, "2001:db8::7", "of IPv6"),
            ("ip6tables", IP, "198.51.100.7", "of IPv4"),
            ("elastic", IP, "203.0.113.0/24", "networks, which a field of the type ip cannot hold"),
        ],
    )
    def test_what_a_format_cannot_say_is_left_out_with_the_reason(
        self, name: str, kind: IndicatorType, value: str, reason: str
    ) -> None:
        found = of(name, kind, value)

        assert found.left_out == {reason: 1}
        assert found.entries == 0
        assert value.encode() not in found.body


class TestResolvers:
    def test_the_serial_of_a_zone_grows_with_the_time_of_the_list(self) -> None:
        def serial(at: int) -> int:
            text = render(find_format("rpz"), Snapshot(DOMAIN, at, ["bad.example"])).body.decode()
            return int(text.partition("SOA localhost. root.localhost. ")[2].split()[0])

        assert serial(AT + 1_000) == serial(AT) + 1

    def test_a_zone_has_each_name_and_what_is_below_it(self) -> None:
        assert lines_of("rpz", DOMAIN, "bad.example")[3:] == ["bad.example CNAME .", "*.bad.example CNAME ."]


class TestPacketFilters:
    def test_a_set_is_swapped_when_all_of_it_is_there(self) -> None:
        words = [line.split()[0] for line in lines_of("ipset", IP, *GOOD[IP])]

        begins, ends = ["create", "create", "flush"], ["swap", "destroy"]
        assert words == [*begins, *["add"] * 5, *ends, *begins, *["add"] * 2, *ends]

    def test_intervals_of_a_set_do_not_overlap(self) -> None:
        values = ("203.0.113.0/24", "203.0.113.9", "203.0.113.0/25", "203.0.112.0/24", "2001:db8::1", "2001:db8::/48")
        lines = [line.rstrip(",") for line in lines_of("nftables", IP, *values)]

        assert [line for line in lines if line[0].isdigit()] == ["203.0.112.0/23", "2001:db8::/48"]

    def test_an_empty_list_empties_the_sets(self) -> None:
        assert [line.split()[0] for line in lines_of("nftables", IP)] == ["add", "add", "flush", "add", "flush"]


class TestSensors:
    def test_names_of_suricata_are_the_names_in_base64(self) -> None:
        found = [b64decode(line).decode() for line in lines_of("suricata-names", DOMAIN, *GOOD[DOMAIN])]

        assert found == list(GOOD[DOMAIN])

    @given(st.integers(0, 100), st.sampled_from((None, *CATEGORIES)))
    def test_scores_and_categories_of_suricata_are_within_their_bounds(
        self, reputation: int, category: str | None
    ) -> None:
        entry = FeedEntry("198.51.100.7", reputation, category, iso(AT), iso(AT))
        text = render(find_format("suricata-iprep"), Snapshot(IP, AT, [entry.value], [entry])).body.decode()

        value, number, score = text.strip().split(",")
        assert value == entry.value
        assert 1 <= int(number) <= 60
        assert 1 <= int(score) <= 127
        assert (int(score) == 127) is (reputation == 0)

    def test_every_line_of_zeek_has_the_columns_of_its_head(self) -> None:
        for kind in (IP, DOMAIN, HASH, URL):
            lines = rendered(find_format("zeek"), kind).decode().splitlines()
            assert {line.count("\t") for line in lines} == {3} | {4}
            assert lines[0].split("\t")[1:] == ["indicator", "indicator_type", "meta.source", "meta.desc"]


class TestLogs:
    @pytest.mark.parametrize(
        ("value", "keys"),
        [
            ("198.51.0.0/16", ["198.51."]),
            ("198.51.128.0/17", [f"198.51.{octet}." for octet in range(128, 256)]),
            ("198.51.100.0/23", ["198.51.100.", "198.51.101."]),
            ("198.51.100.0/24", ["198.51.100."]),
            ("198.51.100.128/25", [f"198.51.100.{octet}" for octet in range(128, 256)]),
            ("198.51.100.6/31", ["198.51.100.6", "198.51.100.7"]),
            ("198.51.100.7", ["198.51.100.7"]),
            ("198.51.0.0/32", ["198.51.0.0"]),
        ],
    )
    def test_keys_of_wazuh_are_exactly_the_network(self, value: str, keys: list[str]) -> None:
        assert lines_of("wazuh", IP, value) == [f"{key}:uncategorized" for key in keys]

    def test_a_key_of_wazuh_is_in_the_list_once(self) -> None:
        assert lines_of("wazuh", IP, "203.0.112.0/23", "203.0.113.0/24") == [
            "203.0.112.:uncategorized",
            "203.0.113.:uncategorized",
        ]

    def test_documents_of_elastic_hold_the_value_in_the_field_of_its_type(self) -> None:
        def indicators(kind: IndicatorType) -> list[dict[str, object]]:
            lines = rendered(find_format("elastic"), kind).decode().splitlines()
            return [json.loads(line)["threat"]["indicator"] for line in lines]

        assert {(found["type"], found["ip"]) for found in indicators(IP)} >= {
            ("ipv4-addr", "198.51.100.7"),
            ("ipv6-addr", "2001:db8::7"),
            ("ipv4-addr", "198.18.0.0"),
        }
        assert [found["url"] for found in indicators(DOMAIN)] == [{"domain": value} for value in GOOD[DOMAIN]]
        assert [found["file"] for found in indicators(HASH)] == [
            {"hash": {name: value}} for name, value in zip(("md5", "sha1", "sha256", "sha512"), GOOD[HASH], strict=True)
        ]
