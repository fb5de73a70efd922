"""The mask: in the place of a value in any spelling, and of nothing else."""

import pytest

from threatcloud.domain.erasure import ERASED, Eraser
from threatcloud.domain.indicator import detect


@pytest.mark.parametrize(
    ("value", "said", "masked"),
    [
        ("203.0.113.7", "203.0.113.7", ERASED),
        ("203.0.113.7", "203[.]0[.]113[.]7", ERASED),
        ("203.0.113.7", "203.0.113.7:22", ERASED),
        ("203.0.113.7", "from 203.0.113.7, port 22.", f"from {ERASED}, port 22."),
        ("203.0.113.7", "it was 203.0.113.7.", f"it was {ERASED}."),
        ("203.0.113.7", ["203.0.113.70", "1.203.0.113.7", "203.0.113.7.1"], None),
        ("bad.example", "BAD.example", ERASED),
        ("bad.example", ["not-bad.example", "www.bad.example", "bad.example.org", "bad.examples"], None),
        ("bad.example", "see bad.Example/x", f"see {ERASED}/x"),
        ("http://bad.example/x", "hxxp://bad[.]example/x", ERASED),
        (
            "bad.example",
            {"a": [{"bad.example": 1}], "b": 2, "c": None, "d": True},
            {"a": [{ERASED: 1}], "b": 2, "c": None, "d": True},
        ),
    ],
)
def test_what_names_it_is_masked(value: str, said: object, masked: object) -> None:
    assert Eraser(detect(value)).masked(said) == (said if masked is None else masked)
