"""What one process tells another of a list to be rendered, and what comes back."""

import io

import pytest

from tests.formats.feeds.lists import AT, GOOD, HOSTILE, lines_of, lists, snapshot
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import Format, Rendering, apart, find_format, render
from threatcloud.formats.feeds.order import Order, Part, carry_out

CASES = [pytest.param(format_, kind, id=f"{format_.name} {kind}") for format_, kind, _ in lists()]


def order_of(format_: Format, kind: IndicatorType, lines: bytes, top: int | None = None) -> Order:
    """An order of one list."""
    return Order(format_.name, (Part(kind, AT, len(lines)),), top)


def through_a_process(order: Order, lines: bytes) -> Rendering:
    """What a process answers, here in this one."""
    answers = io.BytesIO()
    apart.answer_to(io.BytesIO(apart.question(order, lines)), answers)
    answers.seek(0)
    return apart.understood(answers.readline(), answers.read())


@pytest.mark.parametrize(("format_", "kind"), CASES)
def test_an_order_is_carried_out_as_the_list_would_be_rendered(format_: Format, kind: IndicatorType) -> None:
    wanted = render(format_, snapshot(kind, GOOD[kind]))
    lines = lines_of(format_, kind, GOOD[kind])
    order = order_of(format_, kind, lines)

    assert carry_out(order, lines) == wanted
    assert through_a_process(order, lines) == wanted


@pytest.mark.parametrize(("format_", "kind"), CASES)
def test_lines_that_are_broken_are_left_out(format_: Format, kind: IndicatorType) -> None:
    unbroken = tuple(value for value in HOSTILE if "\n" not in value)
    lines, clean = lines_of(format_, kind, unbroken + GOOD[kind]), lines_of(format_, kind, GOOD[kind])

    mixed = through_a_process(order_of(format_, kind, lines), lines)

    assert mixed.entries == carry_out(order_of(format_, kind, clean), clean).entries
    assert sum(mixed.left_out.values()) >= len(unbroken)


def test_a_line_with_a_field_too_many_does_not_make_up_for_one_with_too_few() -> None:
    """Together they have as many fields as two lines should, so only those of each line tell."""
    ndjson = find_format("ndjson")
    good = lines_of(ndjson, IndicatorType.IP, ("198.51.100.7",))
    long, short = b"198.51.100.8\t1\tc2\tx\ty\t198.51.100.9\n", b"1\tc2\tx\ty\n"
    lines = good + long + short

    found = carry_out(order_of(ndjson, IndicatorType.IP, lines), lines)

    assert found.body == carry_out(order_of(ndjson, IndicatorType.IP, good), good).body
    assert found.left_out == {"malformed": 2}


@pytest.mark.parametrize(("top", "most"), [(None, 6), (1, 1), (6, 6), (99, 6)])
def test_an_order_may_ask_for_the_worst_only(top: int | None, most: int) -> None:
    values = GOOD[IndicatorType.DOMAIN]
    plain = find_format("plain")
    lines = lines_of(plain, IndicatorType.DOMAIN, values)

    found = carry_out(order_of(plain, IndicatorType.DOMAIN, lines, top), lines)

    assert found == render(plain, snapshot(IndicatorType.DOMAIN, values[:most]))
    assert carry_out(order_of(plain, IndicatorType.DOMAIN, b""), b"").entries == 0


def test_an_answer_that_broke_off_is_none() -> None:
    with pytest.raises(ValueError, match="not whole"):
        apart.understood(b'{"entries": 1', b"")
