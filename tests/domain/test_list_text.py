"""A list that is edited is the list that would be rendered, whatever came and left."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOW
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.list_text import Entry, Head, ListText, Members, joined

VALUES = [f"203.0.113.{number}" for number in range(1, 25)]  # 203.0.113.1 begins others
HEAD, LATER = Head(IndicatorType.IP, NOW), Head(IndicatorType.IP, NOW + 10**12)
MEMBERS = st.dictionaries(st.sampled_from(range(len(VALUES))), st.integers(0, 30), max_size=24)


def entries(members: dict[int, int]) -> list[Entry]:
    """Worst first, and of one reputation in the order of their row numbers."""
    found = [Entry(number + 1, VALUES[number], reputation) for number, reputation in members.items()]
    return sorted(found, key=lambda entry: (entry.reputation, entry.pk))


def rendered(listed: Sequence[Entry]) -> ListText:
    parts = []
    for reputation in sorted({entry.reputation for entry in listed}):
        same = [entry for entry in listed if entry.reputation == reputation]
        lines = "".join(f"{entry.value}\n" for entry in same).encode()
        parts.append((reputation, lines, Members().changed([entry.pk for entry in same], [])))
    return joined(HEAD, parts)


def reputations_of(text: ListText, of: dict[str, int]) -> list[int]:
    return [of[value] for value in text.lines.decode().split()]


@given(MEMBERS, MEMBERS, MEMBERS)
def test_edits_lead_to_the_list_that_is_wanted(
    first: dict[int, int], second: dict[int, int], third: dict[int, int]
) -> None:
    text = rendered(entries(first))
    for before, after in ((first, second), (second, third)):
        edited = text.edited(
            [entry for entry in entries(after) if before.get(entry.pk - 1) != entry.reputation],
            [entry for entry in entries(before) if after.get(entry.pk - 1) != entry.reputation],
            LATER,
        )
        assert edited is not None
        wanted = rendered(entries(after))
        assert sorted(edited.lines.splitlines()) == sorted(wanted.lines.splitlines())
        assert edited.members == wanted.members
        found = reputations_of(edited, {VALUES[number]: reputation for number, reputation in after.items()})
        assert found == sorted(found)
        assert edited.text == LATER.over(wanted.members) + edited.lines
        assert [end for end in edited.ends if end in wanted.ends] == list(wanted.ends)
        text = edited


def test_who_comes_is_behind_the_others_of_its_reputation() -> None:
    text = rendered([Entry(1, "203.0.113.1", 5), Entry(3, "203.0.113.3", 7)])

    edited = text.edited(
        [Entry(2, "203.0.113.2", 5), Entry(9, "203.0.113.9", 0), Entry(8, "203.0.113.8", 6)], [], LATER
    )

    assert edited is not None
    assert edited.lines.decode().split() == [f"203.0.113.{number}" for number in (9, 1, 2, 8, 3)]


def test_what_is_not_in_the_list_cannot_be_taken_out() -> None:
    text = rendered([Entry(1, "203.0.113.12", 5), Entry(2, "203.0.113.1", 6)])

    assert text.edited([], [Entry(3, "203.0.113.2", 5)], LATER) is None
    left = text.edited([], [Entry(2, "203.0.113.1", 6)], LATER)
    assert left is not None
    assert left.lines == b"203.0.113.12\n"


def test_the_empty_list() -> None:
    text = rendered([])

    assert text.lines == b""
    assert text.members.fingerprint == "0-0-0"
    assert text.edited([], [], HEAD) == text
