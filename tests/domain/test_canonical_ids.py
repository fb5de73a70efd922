import pytest

from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.ids import HASH_NAMES, canonical_cve, canonical_hash


@pytest.mark.parametrize("length", HASH_NAMES)
def test_hashes_are_lower_case_hex(length: int) -> None:
    value = ("0123456789abcdef" * 8)[:length]
    for spelling in (value, value.upper(), f" {value}\n", f"'{value.upper()}'"):
        assert canonical_hash(spelling) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 31,
        "a" * 33,
        "a" * 56,
        "a" * 96,
        "g" * 32,
        "a" * 31 + " b",
        "０" * 32,
        "0x" + "a" * 30,
        "a" * 31 + "\n" + "b",
    ],
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(InvalidIndicator):
        canonical_hash(text)


def test_the_refusal_of_a_hash_says_what_was_expected() -> None:
    with pytest.raises(InvalidIndicator, match="MD5, SHA-1, SHA-256 or SHA-512 hash: 32, 40, 64 or 128 hex"):
        canonical_hash("abc")


@pytest.mark.parametrize(
    "text",
    [
        "CVE-2021-44228",
        "cve-2021-44228",
        " Cve-2021-44228\n",
        "CVE\u20112021\u201144228",
        "CVE–2021–44228",
        "<CVE-2021-44228>",
    ],
)
def test_cve_ids_are_in_capitals(text: str) -> None:
    assert canonical_cve(text) == "CVE-2021-44228"


@pytest.mark.parametrize("number", ["0001", "9" * 19])
def test_cve_numbers_have_4_to_19_digits(number: str) -> None:
    assert canonical_cve(f"CVE-1999-{number}") == f"CVE-1999-{number}"


@pytest.mark.parametrize(
    "text",
    [
        "CVE-2021",
        "CVE-21-44228",
        "CVE-2021-123",
        "CVE-2021-" + "1" * 20,
        "2021-44228",
        "CVE-2021-4422x",
        "CVE-２０２１-44228",
    ],
)
def test_what_is_no_cve_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidIndicator, match="must be a CVE id such as CVE-2021-44228"):
        canonical_cve(text)
