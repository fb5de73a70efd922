"""How long a unit of work that can wait may be."""

from threatcloud.services.pacing import Stride


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
