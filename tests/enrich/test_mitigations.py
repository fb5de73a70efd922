"""What helps against techniques, from the packaged data."""

import re

import pytest

from threatcloud.enrich.attack import AttackCatalog, load_attack
from threatcloud.enrich.mitigations import Mitigations, load_mitigations


@pytest.fixture(scope="module")
def attack() -> AttackCatalog:
    return load_attack()


@pytest.fixture(scope="module")
def mitigations(attack: AttackCatalog) -> Mitigations:
    return load_mitigations(attack)


def test_the_packaged_data_are_of_the_known_form(mitigations: Mitigations) -> None:
    assert mitigations.problem is None
    assert len(mitigations.by_technique) > 400
    for those in mitigations.by_technique.values():
        for found in those:
            assert re.fullmatch(r"M1[0-9]{3}", found.id)
            assert found.name
            assert "(Citation" not in found.sentence
            assert 0 < len(found.sentence) <= 240


def test_every_technique_with_mitigations_is_a_present_one(mitigations: Mitigations, attack: AttackCatalog) -> None:
    """The data are older than the catalogue: what was revoked since is under its successor."""
    for technique in mitigations.by_technique:
        found = attack.get(technique)
        assert found is None or found.revoked_by is None, technique
    revoked = [old.id for old in attack.techniques.values() if old.revoked_by]
    assert revoked
    assert not set(revoked) & set(mitigations.by_technique)


def test_what_covers_the_most_comes_first(mitigations: Mitigations) -> None:
    found = mitigations.recommend(["T1110", "T1078", "T1110"])
    assert found[0].endswith("(T1110, T1078)")
    assert any(text.startswith("M1032 Multi-factor Authentication: ") for text in found)
    assert len(mitigations.recommend(mitigations.by_technique)) == 10
    assert mitigations.recommend(["T0000"]) == mitigations.recommend([]) == []


def test_a_sub_technique_without_its_own_has_those_of_its_parent(mitigations: Mitigations) -> None:
    assert "T1110.999" not in mitigations.by_technique
    assert mitigations.recommend(["T1110.999"])


def test_missing_data_give_none_and_say_so(monkeypatch: pytest.MonkeyPatch, attack: AttackCatalog) -> None:
    monkeypatch.setattr("threatcloud.enrich.mitigations._PACKAGE", "no_such_package_here")
    found = load_mitigations(attack)
    assert found.recommend(["T1110"]) == []
    assert "no_such_package_here" in (found.problem or "")
