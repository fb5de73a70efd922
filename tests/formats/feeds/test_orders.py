"""What one process tells another of a list to be rendered, and what comes back."""

import io

import pytest

from tests.formats.feeds.lists import AT, GOOD, HOSTILE, lists, snapshot
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import Format, Rendering, apart, find_format, render
from threatcloud.formats.feeds.order import Order, carry_out

CASES = [pytest.param(format_, kind, id=f"{format_.name} {kind}") for format_, kind, _ in lists()]


def lines_of(format_: Format, kind: IndicatorType, values: tuple[str, ...]) -> bytes:
    """Values as the database gives them to a format."""
    entries = snapshot(kind, values).entries
    detailed = ["\t".join("" if field is None else str(field) for field in entry) for entry in entries]
    return "".join(f"{line}\n" for line in (detailed if format_.is_detailed else values)).encode()


def through_a_process(order: Order, lines: bytes) -> Rendering:
    """What a process answers, here in this one."""
    answers = io.BytesIO()
    apart.answer_to(io.BytesIO(apart.question(order, lines)), answers)
    return apart.understood(answers.getvalue())


@pytest.mark.parametrize(("format_", "kind"), CASES)
def test_an_order_is_carried_out_as_the_list_would_be_rendered(format_: Format, kind: IndicatorType) -> None:
    wanted = render(format_, snapshot(kind, GOOD[kind]))
    order = Order(format_.name, kind, AT)
    lines = lines_of(format_, kind, GOOD[kind])

    assert carry_out(order, lines) == wanted
    assert through_a_process(order, lines) == wanted


@pytest.mark.parametrize(("format_", "kind"), CASES)
def test_lines_that_are_broken_are_left_out(format_: Format, kind: IndicatorType) -> None:
    unbroken = tuple(value for value in HOSTILE if "\n" not in value)
    order = Order(format_.name, kind, AT)

    mixed = through_a_process(order, lines_of(format_, kind, unbroken + GOOD[kind]))

    assert mixed.entries == carry_out(order, lines_of(format_, kind, GOOD[kind])).entries
    assert sum(mixed.left_out.values()) >= len(unbroken)


@pytest.mark.parametrize(("top", "most"), [(None, 6), (1, 1), (6, 6), (99, 6)])
def test_an_order_may_ask_for_the_worst_only(top: int | None, most: int) -> None:
    values = GOOD[IndicatorType.DOMAIN]
    plain = find_format("plain")
    order = Order("plain", IndicatorType.DOMAIN, AT, top=top)

    found = carry_out(order, lines_of(plain, IndicatorType.DOMAIN, values))

    assert found == render(plain, snapshot(IndicatorType.DOMAIN, values[:most]))
    assert carry_out(order, b"").entries == 0


def test_an_answer_that_broke_off_is_none() -> None:
    with pytest.raises(ValueError, match="not whole"):
        apart.understood(b'{"entries": 1')
