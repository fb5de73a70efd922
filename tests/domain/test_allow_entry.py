"""How an entry of the allowlist is spelled, what kind it is, and its identity."""

import pytest

from threatcloud.domain.allow_entry import EntryKind, allowlist_of, entry_id, parse_entry_id, read_entry
from threatcloud.domain.indicator import InvalidIndicator, detect


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("198[.]51[.]100[.]7", "198.51.100.7", "value"),
        ("198.51.100.7:443", "198.51.100.7", "value"),
        ("203.0.0.0/32", "203.0.0.0/32", "value"),
        ("203.0.0.0", "203.0.0.0/16", "network"),
        ("198.51.100.9/24", "198.51.100.0/24", "network"),
        ("10.0.0.0/8", "10.0.0.0/8", "network"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", "network"),
        ("FC00::/7", "fc00::/7", "network"),
        ("2001:DB8::7", "2001:db8::7", "value"),
        ("Example.ORG.", "example.org", "value"),
        ("*.Example.ORG.", "*.example.org", "zone"),
        (".example.org", "*.example.org", "zone"),
        ("*[.]example[.]org", "*.example.org", "zone"),
        (".münchen.de", "*.xn--mnchen-3ya.de", "zone"),
        ("hxxps://Example[.]org/a", "https://example.org/a", "value"),
        ("Bob@EXAMPLE.org", "Bob@example.org", "value"),
        ("A" * 64, "a" * 64, "value"),
        ("cve-2021-44228", "CVE-2021-44228", "value"),
    ],
)
def test_every_spelling_has_one_canonical_form(text: str, value: str, kind: str) -> None:
    entry = read_entry(text)
    assert (entry.value, entry.kind) == (value, EntryKind(kind))
    assert read_entry(entry.value) == entry
    assert entry.zone == (value[2:] if kind == "zone" else None)
    assert parse_entry_id(entry_id(entry)) == entry.key


@pytest.mark.parametrize(
    "text", ["", "com", "*.", "*.com", "*.1.2.3.4", "*.*.example.org", "*.example.org/x", "9.0.0.0/7", "2000::/6"]
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(InvalidIndicator):
        read_entry(text)


def test_a_zone_and_its_name_are_two_entries() -> None:
    assert read_entry("*.example.org").key != read_entry("example.org").key


def test_what_is_no_id() -> None:
    for text in ("alw_", "ioc_" + "0" * 32, "alw_" + "0" * 31, "alw_" + "G" * 32, "example.org"):
        assert parse_entry_id(text) is None


def test_entries_make_a_list() -> None:
    listed = allowlist_of(map(read_entry, ["198.51.100.0/24", "*.example.org", "example.net"]))
    assert listed.name == "allowlist"
    for text, is_covered in {
        "198.51.100.7": True,
        "198.51.0.0/16": True,
        "198.51.101.7": False,
        "http://198.51.100.7/x": True,
        "example.org": True,
        "a.b.example.org": True,
        "example.net": True,
        "a.example.net": False,
        "bob@a.example.org": True,
    }.items():
        assert listed.covers(detect(text)) is is_covered
    assert not allowlist_of([])
