"""How long a unit of work that can wait may be, and what it waits for."""

import asyncio

from threatcloud.services.pacing import MANY_ROWS, Pace, Stride


def test_units_grow_while_they_are_quick_and_shrink_when_they_are_not() -> None:
    stride = Stride(100, 1_000, wanted_s=0.2)
    assert stride.length == 100
    stride.took(100, 0.001)
    assert stride.length == 200
    for _ in range(5):
        stride.took(stride.length, 0.001)
    assert stride.length == 1_000
    stride.took(1_000, 0.4)
    assert stride.length == 500
    stride.took(500, 60.0)
    assert stride.length == 100


def test_a_unit_with_little_to_do_tells_nothing() -> None:
    stride = Stride(100, 1_000, wanted_s=0.2)
    stride.took(100, 0.01)
    stride.took(3, 0.3)
    stride.took(0, 0.0)
    assert stride.length == 200


def stands_back(*rows: int) -> bool:
    """Whether what can wait does so just after so many rows came in."""

    async def run() -> bool:
        pace = Pace()
        for count in rows:
            pace.note(count)
        waiting = asyncio.ensure_future(pace.stand_back())
        await asyncio.sleep(0.01)
        waits = not waiting.done()
        await waiting
        return waits

    return asyncio.run(run())


def test_what_can_wait_stands_back_from_bulk_data_in_whatever_pieces_it_comes() -> None:
    assert stands_back(MANY_ROWS)
    assert stands_back(*[1] * MANY_ROWS)


def test_and_not_from_a_report_now_and_then() -> None:
    assert not stands_back()
    assert not stands_back(1, 1, 1)
