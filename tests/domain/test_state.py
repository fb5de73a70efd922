"""What lets an indicator out, and onto the default lists."""

from itertools import product

import pytest

from threatcloud.domain.state import BENIGN_CODES, Status, is_listed, is_shared


@pytest.mark.parametrize(
    ("status", "corroborated", "seconded", "cloud"),
    list(product(Status, (True, False), (True, False), (None, "Amazon AWS"))),
)
def test_only_what_is_active_and_not_one_strangers_word_is_shared(
    status: Status, corroborated: bool, seconded: bool, cloud: str | None
) -> None:
    expected = status is Status.ACTIVE and corroborated and (seconded or cloud is None)
    assert is_shared(status, corroborated, seconded, cloud) is expected


@pytest.mark.parametrize(("reputation", "bad_enough"), [(0, True), (30, True), (31, False), (80, False), (100, False)])
def test_the_default_lists_hold_what_is_shared_and_30_or_worse(reputation: int, bad_enough: bool) -> None:
    assert is_listed(True, reputation) is bad_enough
    assert is_listed(False, reputation) is False


def test_only_lists_of_the_harmless_speak_for_an_indicator() -> None:
    """That it may not be published for another reason (too wide, an operator's own) says nothing of what it does."""
    assert {"benign-list", "top-domain", "public-suffix"} == BENIGN_CODES
