import gzip
import json
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.enrich.geo import GeoDatabaseError, Location, Locator, load_locator

DATA = Path(__file__).parents[2].parent / "shared" / "data"

Value = str | int | Mapping[str, "Value"] | list["Value"]


def encoded(value: Value) -> bytes:
    """A value of the data section (MaxMind DB format 2.0); numbers as uint32."""
    if isinstance(value, str):
        data = value.encode()
        return control(2, len(data)) + data
    if isinstance(value, int):
        return number(6, 4, value)
    if isinstance(value, Mapping):
        return control(7, len(value)) + b"".join(encoded(name) + encoded(item) for name, item in value.items())
    return control(11, len(value)) + b"".join(map(encoded, value))


def number(kind: int, size: int, value: int) -> bytes:
    return control(kind, size) + value.to_bytes(size, "big")


def control(kind: int, size: int) -> bytes:
    first = min(size, 29) | (kind << 5 if kind < 8 else 0)
    extended = b"" if kind < 8 else bytes([kind - 7])
    return bytes([first]) + extended + (b"" if size < 29 else bytes([size - 29]))


def mmdb(records: Mapping[str, Value]) -> bytes:
    """A database of networks that do not overlap: a binary tree of nodes of two 24-bit pointers, and the data."""
    nodes: list[list[int | bytes | None]] = [[None, None]]
    for text, record in records.items():
        network = ip_network(text)
        bits = f"{int(network.network_address):0128b}"
        length = network.prefixlen + 128 - network.max_prefixlen
        at = 0
        for bit in map(int, bits[: length - 1]):
            following = nodes[at][bit]
            if not isinstance(following, int):
                following = len(nodes)
                nodes[at][bit] = following
                nodes.append([None, None])
            at = following
        nodes[at][int(bits[length - 1])] = encoded(record)
    data = b""
    tree = b""
    for pointer in (pointer for node in nodes for pointer in node):
        if isinstance(pointer, bytes):
            tree += (len(nodes) + 16 + len(data)).to_bytes(3, "big")
            data += pointer
        else:
            tree += (len(nodes) if pointer is None else pointer).to_bytes(3, "big")
    metadata = b"".join(
        encoded(name) + value
        for name, value in {
            "binary_format_major_version": number(5, 2, 2),
            "binary_format_minor_version": number(5, 2, 0),
            "build_epoch": number(9, 8, 1_700_000_000),
            "database_type": encoded("Test"),
            "description": encoded({"en": "made by a test"}),
            "ip_version": number(5, 2, 6),
            "languages": encoded(["en"]),
            "node_count": number(6, 4, len(nodes)),
            "record_size": number(5, 2, 24),
        }.items()
    )
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + control(7, 9) + metadata


@pytest.fixture(scope="module")
def built_in() -> Locator:
    return load_locator()


def with_countries(tmp_path: Path, records: Mapping[str, Value]) -> Locator:
    path = tmp_path / "country.mmdb"
    path.write_bytes(mmdb(records))
    return load_locator(path)


def with_systems(tmp_path: Path, records: Mapping[str, Value]) -> Locator:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(mmdb(records))
    return load_locator(asn_db=path)


@pytest.mark.parametrize(
    ("ip_text", "country"),
    [
        ("8.8.8.8", "US"),
        ("8.8.8.0/24", "US"),
        ("193.0.6.139", "NL"),
        ("2001:4860:4860::8888", "US"),
        ("2001:4860::/32", "US"),
        ("10.0.0.1", None),
        ("224.0.0.1", None),
        ("::1", None),
        ("a.example", None),
        ("", None),
    ],
)
def test_the_built_in_table(built_in: Locator, ip_text: str, country: str | None) -> None:
    assert built_in.problem is None
    assert built_in.country(ip_text) == country
    assert built_in.locate(ip_text) == Location(country, None, None)


def test_many_at_once_in_order(built_in: Locator) -> None:
    assert built_in.countries(["8.8.8.8", "a.example", "193.0.6.0/24", "8.8.8.8"]) == ["US", None, "NL", "US"]
    assert built_in.countries([]) == []


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=20)))
def test_every_country_is_two_capital_letters_or_unknown(texts: list[str]) -> None:
    locator = load_locator()
    countries = locator.countries(texts)
    assert countries == [locator.country(text) for text in texts]
    for country in countries:
        assert country is None or (len(country) == 2 and country.isascii() and country.isupper())
        assert country not in {"EU", "AP", "XX", "ZZ"}


def test_regions_of_the_registries_are_no_countries(built_in: Locator) -> None:
    from iptocc import country_code

    texts = [f"{first}.{second}.0.0" for first in range(256) for second in range(256)]
    regional = [text for text, country in zip(texts, country_code(texts), strict=True) if country in {"EU", "AP"}]
    assert regional
    assert set(built_in.countries(regional)) == {None}


@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "FR"}},
        {"registered_country": {"iso_code": "DE"}},
        {"country": {"iso_code": "EU"}, "registered_country": {"iso_code": "DE"}},
        {"country_code": "DE"},
        {"country": "DE", "asn": "AS64496"},
        {"country": "Germany", "country_code": "DE"},
    ],
)
def test_the_forms_of_a_record_of_countries(tmp_path: Path, record: Value) -> None:
    locator = with_countries(tmp_path, {"192.0.2.0/24": record, "2001:db8::/32": record})
    assert locator.countries(["192.0.2.7", "192.0.2.0/25", "2001:db8::7"]) == ["DE", "DE", "DE"]


def test_the_operators_database_outranks_the_table_where_it_knows_the_country(tmp_path: Path) -> None:
    records: dict[str, Value] = {
        "8.8.8.0/24": {"country": {"iso_code": "CH"}},
        "193.0.6.0/24": {"country": {"iso_code": "XX"}},
        "193.0.7.0/24": {"country": {"iso_code": "nl"}},
        "193.0.8.0/24": {"country": {"names": {"en": "nowhere"}}},
        "193.0.9.0/24": ["no", "map"],
    }
    locator = with_countries(tmp_path, records)
    assert locator.country("8.8.8.8") == "CH"
    assert locator.country("8.8.4.4") == "US"
    built_in = load_locator()
    others = ["193.0.6.1", "193.0.7.1", "193.0.8.1", "193.0.9.1", "a.example", "10.0.0.1"]
    assert locator.countries(others) == built_in.countries(others)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"autonomous_system_number": 64496, "autonomous_system_organization": "Example"},
            Location(None, 64496, "Example"),
        ),
        ({"asn": "AS64496", "as_name": "Example", "as_domain": "a.example"}, Location(None, 64496, "Example")),
        ({"asn": "64496"}, Location(None, 64496, None)),
        ({"autonomous_system_number": 2**32 - 1}, Location(None, 2**32 - 1, None)),
        ({"asn": "AS0"}, Location(None, None, None)),
        ({"asn": "AS4294967296"}, Location(None, None, None)),
        ({"asn": "Example"}, Location(None, None, None)),
        (["no", "map"], Location(None, None, None)),
    ],
)
def test_the_forms_of_a_record_of_systems(tmp_path: Path, record: Value, expected: Location) -> None:
    locator = with_systems(tmp_path, {"192.0.2.0/24": record, "198.51.100.0/24": {"asn": "AS64511"}})
    assert locator.locate("192.0.2.7") == expected
    assert locator.asn("192.0.2.0/24") == expected.asn
    assert locator.asn("198.51.100.1") == 64511
    assert locator.asn("203.0.113.1") is None
    assert locator.asn("a.example") is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GeoDatabaseError, match=r"cannot open .*missing\.mmdb: No such file"):
        load_locator(tmp_path / "missing.mmdb")


def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    whole = mmdb({"192.0.2.0/24": {"country_code": "DE"}})
    for number, content in enumerate((b"", b"text", whole[:-60], bytes(2000))):
        path = tmp_path / f"{number}.mmdb"
        path.write_bytes(content)
        with pytest.raises(GeoDatabaseError, match=rf"{number}\.mmdb is damaged or no MMDB file: fetch it again"):
            load_locator(path)


def test_a_damaged_record_has_no_location(tmp_path: Path) -> None:
    first, last = "1.0.0.0/24", "223.0.0.0/24"
    content = mmdb({first: {"country_code": "DE"}, last: {"country_code": "FR"}})
    at = content.rindex(encoded({"country_code": "FR"}))
    path = tmp_path / "country.mmdb"
    path.write_bytes(content[:at] + b"\x5d\xff" + content[at + 2 :])
    locator = load_locator(path)
    assert locator.country("1.0.0.1") == "DE"
    assert locator.country("223.0.0.1") == load_locator().country("223.0.0.1")


def test_a_file_of_the_wrong_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(mmdb({"192.0.2.0/24": {"autonomous_system_number": 64496}}))
    with pytest.raises(GeoDatabaseError, match=r"x\.mmdb holds no countries"):
        load_locator(path)
    path.write_bytes(mmdb({"192.0.2.0/24": {"country_code": "DE"}}))
    with pytest.raises(GeoDatabaseError, match=r"x\.mmdb holds no autonomous systems"):
        load_locator(asn_db=path)


def test_a_database_without_the_package_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(GeoDatabaseError, match=r"x\.mmdb .* install threat-cloud\[geo\]"):
        load_locator(Path("x.mmdb"))
    assert load_locator().country("8.8.8.8") == "US"


def test_without_the_built_in_table_there_are_no_countries_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "iptocc", None)
    locator = load_locator()
    assert locator.problem is not None
    assert locator.problem.startswith("the built-in table of countries cannot be loaded")
    assert locator.countries(["8.8.8.8", "8.8.4.4"]) == [None, None]
    assert with_countries(tmp_path, {"8.8.8.0/24": {"country_code": "US"}}).country("8.8.8.8") == "US"


@pytest.mark.real_data
def test_real_look_ups_mostly_agree(built_in: Locator) -> None:
    # Attackers rent abroad: the registries agree with a geolocation of these on half of them only, where a table
    # that is broken or shifted would on a tenth.
    path = DATA / "enrichment.jsonl.gz"
    if not path.exists():
        pytest.skip("the public threat data is not there: enrichment.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [record for record in map(json.loads, file) if record["type"] == "ip" and record.get("country")]
    countries = built_in.countries(record["value"] for record in records)
    assert sum(country is not None for country in countries) > 0.99 * len(records)
    agreeing = sum(country == record["country"] for country, record in zip(countries, records, strict=True))
    assert agreeing > 0.4 * len(records)
