"""The benign lists kept in a file: the same as made anew, and never those of other data or of a damaged file."""

import json
from pathlib import Path

import pytest

from threatcloud.domain.indicator import detect
from threatcloud.domain.publication import Screening
from threatcloud.enrich.benign import load_benign_lists
from threatcloud.enrich.benign_kept import keep, origin, read_kept
from threatcloud.enrich.guard import LoadedGuard, load_guard
from threatcloud.enrich.suffixes import load_suffixes

SHA256 = "ab" * 32
VALUES = ("91.92.240.3", "91.92.241.3", "2a02:c207::1", "login.bank-of-tests.org", "x.bank-of-tests.org", SHA256)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A folder of benign lists of every kind."""
    folder = tmp_path / "lists"
    write(folder, "cloudflare", "91.92.240.0/24", "2a02:c207::/64")
    write(folder, "bank-website", "login.bank-of-tests.org")
    write(folder, "nioc-filehash", SHA256)
    return folder


def write(folder: Path, name: str, *entries: str) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "list.json").write_text(json.dumps({"list": entries}))


def findings(loaded: LoadedGuard) -> list[Screening]:
    return [loaded.guard.screen(detect(value)) for value in VALUES]


def test_what_was_kept_judges_like_what_it_was_made_from(tmp_path: Path, lists: Path) -> None:
    made = load_guard(lists_directory=lists)
    first, second = (load_guard(lists_directory=lists, kept=tmp_path / "kept") for _ in range(2))
    assert findings(second) == findings(first) == findings(made)
    assert [finding.withheld is not None for finding in findings(second)] == [True, False, True, True, False, True]
    assert second.missing == made.missing != ()


def test_the_packaged_lists_come_back_whole(tmp_path: Path) -> None:
    made = load_benign_lists(load_suffixes())
    keep(tmp_path / "kept", b"o" * 32, made)
    kept = read_kept(tmp_path / "kept", b"o" * 32)
    assert kept is not None
    assert kept.missing == made.missing
    assert kept.lists.lists == made.lists.lists
    assert kept.lists.v4.stretches == made.lists.v4.stretches
    assert kept.lists.v6.stretches == made.lists.v6.stretches
    assert kept.lists.names == made.lists.names
    assert kept.lists.zones == made.lists.zones
    assert kept.lists.hashes.get(SHA256) is made.lists.hashes.get(SHA256) is None


def test_the_kept_lists_are_the_ones_used_while_what_they_were_made_from_is_the_same(
    tmp_path: Path, lists: Path
) -> None:
    kept = tmp_path / "kept"
    write(tmp_path / "others", "cloudflare", "91.92.241.0/24")
    keep(kept, origin(lists), load_benign_lists(load_suffixes(), tmp_path / "others"))
    found = findings(load_guard(lists_directory=lists, kept=kept))
    assert [finding.withheld is not None for finding in found] == [False, True, False, False, False, False]


@pytest.mark.parametrize("change", ["a list changes", "a list goes", "suffixes change", "a list is left out"])
def test_lists_are_made_again_when_their_origin_changes(tmp_path: Path, lists: Path, change: str) -> None:
    kept, suffixes = tmp_path / "kept", tmp_path / "suffixes"
    suffixes.write_text("org\n")
    load_guard(lists_directory=lists, suffix_file=suffixes, kept=kept)
    before = kept.read_bytes()
    skip: set[str] = set()
    if change == "a list changes":
        write(lists, "cloudflare", "91.92.241.0/24")
    elif change == "a list goes":
        (lists / "cloudflare" / "list.json").unlink()
    elif change == "suffixes change":
        suffixes.write_text("org\ncom\n")
    else:
        skip = {"cloudflare"}
    again = load_guard(lists_directory=lists, suffix_file=suffixes, skip=skip, kept=kept)
    assert findings(again) == findings(load_guard(lists_directory=lists, suffix_file=suffixes, skip=skip))
    assert kept.read_bytes()[:32] != before[:32]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:40],
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content + b"\0",
        lambda content: bytes(len(content)),
    ],
    ids=["empty", "its head only", "cut short", "one bit", "too long", "zeros"],
)
def test_a_damaged_file_is_made_again(tmp_path: Path, lists: Path, damage: object) -> None:
    kept = tmp_path / "kept"
    sound = findings(load_guard(lists_directory=lists, kept=kept))
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))  # type: ignore[operator]
    assert findings(load_guard(lists_directory=lists, kept=kept)) == sound
    assert kept.read_bytes() == whole


def test_nothing_depends_on_the_file(tmp_path: Path, lists: Path) -> None:
    sound = findings(load_guard(lists_directory=lists))
    assert findings(load_guard(lists_directory=lists, kept=tmp_path / "absent" / "kept")) == sound
    (tmp_path / "kept").mkdir()
    assert findings(load_guard(lists_directory=lists, kept=tmp_path / "kept")) == sound
    assert not list(tmp_path.glob(".kept*"))


def test_only_its_owner_can_read_or_write_the_file(tmp_path: Path, lists: Path) -> None:
    load_guard(lists_directory=lists, kept=tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
