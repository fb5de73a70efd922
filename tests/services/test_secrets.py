"""The secret: made once, for its owner only, whole or not at all."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from threatcloud.services.secrets import Secret, SecretUnusable, load_secret

HEX = "0123456789abcdef" * 4


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "secret"
    before = os.umask(0)
    try:
        first = load_secret(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert load_secret(path).audit == first.audit
    assert [item.name for item in path.parent.iterdir()] == ["secret"]


def test_two_secrets_differ(tmp_path: Path) -> None:
    one, other = load_secret(tmp_path / "one"), load_secret(tmp_path / "other")
    assert one.audit != other.audit
    assert one.digest_key("key") != other.digest_key("key")


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    secret = load_secret(write(tmp_path / "secret", HEX + "\n"))
    assert secret.audit == Secret(bytes.fromhex(HEX)).audit
    assert len({secret.audit, secret.digest_key(""), secret.digest_key("a"), bytes.fromhex(HEX)}) == 4


@pytest.mark.parametrize("key", ["", "a", "é", "\ud800", "x" * 10_000])
def test_any_text_has_a_digest(key: str) -> None:
    digest = Secret(bytes(32)).digest_key(key)
    assert len(digest) == 32
    assert digest == Secret(bytes(32)).digest_key(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777, 0o601])
def test_a_secret_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "secret", HEX, mode)
    with pytest.raises(SecretUnusable, match=f"can be read by others: chmod 600 {path}"):
        load_secret(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_its_owner_alone_can_read_is_taken(tmp_path: Path, mode: int) -> None:
    assert load_secret(write(tmp_path / "secret", HEX, mode)).audit


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "must hold 64 hexadecimal digits"),
        (HEX[:62], "must hold 64 hexadecimal digits"),
        ("not hexadecimal at all", "does not hold hexadecimal digits"),
        ("é" * 64, "does not hold hexadecimal digits"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_left_alone(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path / "secret", content)
    with pytest.raises(SecretUnusable, match=reason) as caught:
        load_secret(path)
    assert path.read_text() == content
    assert content == "" or content not in caught.value.message


def a_folder(path: Path) -> None:
    path.mkdir(mode=0o700)


def in_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("spoil", [a_folder, in_a_file])
def test_what_cannot_be_read_or_made_is_said(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "folder" / "secret"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(SecretUnusable, match="the secret file"):
        load_secret(path)


def start(path: Path, barrier: threading.Barrier, found: list[bytes | BaseException]) -> None:
    barrier.wait()
    try:
        found.append(load_secret(path).audit)
    except SecretUnusable as error:
        found.append(error)


def test_who_starts_at_the_same_moment_gets_the_same_secret(tmp_path: Path) -> None:
    """A file is there complete or not at all, however close together two processes come."""
    for round_number in range(60):
        path = tmp_path / f"secret-{round_number}"
        barrier = threading.Barrier(4)
        found: list[bytes | BaseException] = []

        threads = [threading.Thread(target=start, args=(path, barrier, found)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1, found
        assert isinstance(found[0], bytes)
