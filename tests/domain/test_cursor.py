"""Cursors come back as the place they were made of; nothing else is taken for one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import InvalidInput

numbers = st.integers(1 - (1 << 62), (1 << 62) - 1)
places = st.lists(numbers, min_size=1, max_size=4)


@given(places)
def test_round_trip(place: list[int]) -> None:
    assert read_cursor(make_cursor(*place), len(place)) == tuple(place)


@given(places)
def test_cursors_go_into_urls_as_they_are(place: list[int]) -> None:
    text = make_cursor(*place)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@given(places, st.integers(1, 5))
def test_a_cursor_of_another_collection_is_refused(place: list[int], length: int) -> None:
    if length != len(place):
        with pytest.raises(InvalidInput):
            read_cursor(make_cursor(*place), length)


@given(st.one_of(st.text(max_size=40), st.text("MTIzLjQ1Ng-_=", max_size=12)), st.integers(1, 3))
@example("MQ!", 1)
@example("MV8w", 1)
@example("KzE", 1)
@example("MDE", 1)
@example("IDE", 1)
@example("MQ==", 1)
@example("-" * 9_000, 1)
@example("", 1)
@example("é", 1)
@example("\ud800", 1)
def test_only_what_was_given_out_is_taken(text: str, length: int) -> None:
    try:
        place = read_cursor(text, length)
    except InvalidInput:
        return
    assert make_cursor(*place) == text


def test_the_refusal_names_the_parameter() -> None:
    with pytest.raises(InvalidInput, match="cursor: is none that this server gave") as caught:
        read_cursor("nonsense", 1)
    assert [problem.field for problem in caught.value.problems] == ["cursor"]


@pytest.mark.parametrize("number", [1 << 62, -(1 << 62), 1 << 70, 10**4000])
def test_numbers_no_engine_can_compare_are_refused(number: int) -> None:
    with pytest.raises(InvalidInput):
        read_cursor(make_cursor(number), 1)
