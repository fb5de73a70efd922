"""The words and scores of AbuseIPDB in ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.report import CATEGORIES as OURS
from threatcloud.domain.report import Severity
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.formats.compat.abuseipdb import (
    CATEGORIES,
    numbers_of,
    parse_categories,
    reputation_for,
    rows_of,
    said_in,
    score_of,
)


def test_the_table_knows_their_23_categories_in_words_that_exist_here() -> None:
    assert sorted(CATEGORIES) == list(range(1, 24))
    for item in CATEGORIES.values():
        assert item.category is None or item.category in OURS
        assert Severity.of(item.severity)
        assert all(normalise_technique_id(technique) == technique for technique in item.techniques)


def test_each_of_our_categories_has_a_number() -> None:
    for category in OURS:
        assert len(numbers_of({}, category)) == 1


@pytest.mark.parametrize(
    ("numbers", "category", "severity"),
    [
        ([18, 22], "bruteforce", "high"),
        ([22, 14], "scanner", "medium"),
        ([10], None, "low"),
        ([14, 18], "bruteforce", "high"),
    ],
)
def test_the_gravest_category_speaks(numbers: list[int], category: str | None, severity: str) -> None:
    said = said_in(numbers, "")

    assert (said.category, said.severity) == (category, severity)
    assert "comment" not in said.metadata


@given(st.integers(25, 100))
def test_a_reputation_has_the_score_it_is_selected_by(score: int) -> None:
    reputation = reputation_for(score)

    assert score_of(reputation, listed=True) >= score
    assert score_of(reputation + 1, listed=True) < score or score == 100


@given(st.integers(0, 100), st.booleans())
def test_only_what_is_listed_has_100(reputation: int, listed: bool) -> None:
    score = score_of(reputation, listed=listed)

    assert 0 <= score <= 100
    assert (score == 100) is (listed and reputation <= 30)
    assert reputation < 80 or score == 0


@given(st.lists(st.sampled_from(sorted(CATEGORIES)), min_size=1, unique=True))
def test_lists_of_numbers_are_read_back(numbers: list[int]) -> None:
    assert parse_categories(" , ".join(map(str, numbers))) == numbers


@given(st.text())
def test_other_texts_are_no_categories(text: str) -> None:
    try:
        found = parse_categories(text)
    except ValueError:
        return
    assert set(found) <= CATEGORIES.keys()


@given(st.text())
def test_any_text_is_rows_or_refused(text: str) -> None:
    try:
        rows = list(rows_of(f"IP,Categories,ReportDate,Comment\n{text}"))
    except ValueError:
        return
    assert all(row.number >= 1 for row in rows)
