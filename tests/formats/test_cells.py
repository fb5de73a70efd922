import pytest

from threatcloud.formats.cells import neutral


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_compute_begins_with_an_apostrophe(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "bad.example", "198.51.100.7", "http://bad.example/?a=1"])
def test_other_text_is_kept(text: str) -> None:
    assert neutral(text) == text
