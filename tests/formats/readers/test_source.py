import gzip
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.formats.readers import MAX_LINE_BYTES, Line, Reject, Source, SourceError, open_source


def stored(data: bytes) -> bytes:
    return data


def with_checksum(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKINGS: tuple[Callable[[bytes], bytes], ...] = (stored, gzip.compress, zstandard.compress)
packed = pytest.mark.parametrize("pack", PACKINGS, ids=["plain", "gzip", "zstd"])


def lines_of(path: Path, data: bytes) -> list[Line]:
    path.write_bytes(data)
    with open_source(path) as source:
        return list(source)


def rejected(line: Line) -> Reject:
    assert isinstance(line, Reject)
    return line


@packed
def test_lines_without_their_ends(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack("a.example\nb.example\r\n\nпример.example".encode())
    assert lines_of(tmp_path / "list", data) == ["a.example", "b.example", "", "пример.example"]


@packed
def test_an_empty_file_has_no_lines(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert lines_of(tmp_path / "list", pack(b"")) == []


@packed
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert lines_of(tmp_path / "list", pack(b"\xef\xbb\xbfa.example\nb.example\n")) == [
        "a.example",
        "b.example",
    ]


@packed
def test_a_line_without_end_is_a_reject_and_does_not_fill_the_memory(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "list"
    path.write_bytes(pack(b"first.example\n" + b"x" * 150_000_000 + b"\nlast.example\n"))
    tracemalloc.start()
    with open_source(path) as source:
        lines = list(source)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [lines[0], lines[2]] == ["first.example", "last.example"]
    assert rejected(lines[1]).line == 2
    assert rejected(lines[1]).reason == f"over {MAX_LINE_BYTES} bytes long"
    assert len(lines) == 3
    assert peak_bytes < 50_000_000


def test_the_longest_line_there_may_be(tmp_path: Path) -> None:
    longest, too_long = b"x" * MAX_LINE_BYTES, b"y" * (MAX_LINE_BYTES + 1)
    lines = lines_of(tmp_path / "list", b"\n".join([b"a", longest, too_long, longest, too_long]))
    assert [lines[0], lines[1], lines[3]] == ["a", longest.decode(), longest.decode()]
    assert [rejected(lines[at]).line for at in (2, 4)] == [3, 5]


def test_a_line_that_is_not_utf_8_is_a_reject(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "list", b"a.example\ncaf\xe9.example\nb.example\n")
    assert lines == ["a.example", Reject(2, "caf\\xe9.example", "line", "is not UTF-8 text"), "b.example"]


@pytest.mark.parametrize("control", [b"\0", b"\x1b", b"\x7f", b"\r", b"\x0b"])
def test_a_line_with_a_control_character_is_a_reject(tmp_path: Path, control: bytes) -> None:
    lines = lines_of(tmp_path / "list", b"a.example\nb" + control + b".example\n\tc.example\n")
    assert [lines[0], lines[2]] == ["a.example", "\tc.example"]
    assert rejected(lines[1]).reason.startswith("holds a control character")


@given(st.binary(max_size=3000))
def test_every_line_of_garbage_is_text_or_a_reject(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("garbage") / "list"
    prefix = b"an ordinary beginning\n"  # so that the first bytes are no packing's
    lines = lines_of(path, prefix + data)
    assert len(lines) == 1 + data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    assert [line.line for line in lines if isinstance(line, Reject)] == [
        number for number, line in enumerate(lines, 1) if isinstance(line, Reject)
    ]


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "Zs"))), min_size=1), st.integers(1, 400))
def test_what_is_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], repeats: int
) -> None:
    expected = ["list", *texts * repeats]
    path = tmp_path_factory.mktemp("texts") / "list"
    assert lines_of(path, "".join(f"{text}\n" for text in expected).encode()) == expected


def test_members_that_follow_each_other_are_one_text(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstandard.compress):
        data = pack(b"a.example\nb.ex") + pack(b"ample\n") + b"\0" * 512
        assert lines_of(tmp_path / "list", data) == ["a.example", "b.example"]


@pytest.mark.parametrize("pack", PACKINGS[1:], ids=["gzip", "zstd"])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_truncated_file_gives_its_good_lines_and_then_an_error(
    tmp_path: Path, pack: Callable[[bytes], bytes], kept: float
) -> None:
    expected = [f"{number * 7919 % 100_003}.example" for number in range(100_000)]
    whole = pack("\n".join(expected).encode())
    path = tmp_path / "list"
    path.write_bytes(whole[: int(len(whole) * kept)])
    lines: list[Line] = []
    with open_source(path) as source:
        with pytest.raises(SourceError) as caught:
            lines.extend(source)
        assert source.bytes_read == source.bytes_total
    assert str(caught.value) == f"{path} ends too early, at byte {path.stat().st_size}: fetch it again"
    assert 0 < len(lines) < len(expected)
    assert lines == expected[: len(lines)]


@pytest.mark.parametrize("pack", [gzip.compress, with_checksum], ids=["gzip", "zstd"])
def test_a_damaged_file_gives_an_error_that_names_it(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    whole = bytearray(pack(os.urandom(200_000).hex().encode().replace(b"0", b"\n")))
    whole[150_000:150_100] = bytes(100)
    path = tmp_path / "list"
    path.write_bytes(whole)
    with open_source(path) as source, pytest.raises(SourceError, match="list is damaged before byte"):
        list(source)


def test_what_follows_a_packed_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(b"a.example\n") + b"junk")
    seen: list[Line] = []
    with open_source(path) as source, pytest.raises(SourceError, match="is damaged"):
        seen.extend(source)
    assert seen == ["a.example"]


@pytest.mark.parametrize(
    ("beginning", "word"),
    [
        (b"\xfd7zXZ\0\0", "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"PK\x03\x04..", "zip"),
        ("é".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, beginning: bytes, word: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(beginning)
    with pytest.raises(SourceError, match=word):
        open_source(path)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot open .*missing: No such file"):
        open_source(tmp_path / "missing")
    with pytest.raises(SourceError, match="Is a directory"):
        open_source(tmp_path)


@packed
def test_progress_is_that_of_the_file_as_it_lies_on_disk(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "list"
    path.write_bytes(pack(os.urandom(300_000).hex().encode().replace(b"0", b"\n")))
    with open_source(path) as source:
        assert source.bytes_read == 0
        seen = [source.bytes_read for _ in source]
        assert source.bytes_total == path.stat().st_size
        assert source.bytes_read == source.bytes_total
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def test_the_head_is_given_again(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a\n\xff\nb\nc\n")
    with open_source(path) as source:
        assert source.head().lines == ["a", "b", "c"]
        assert source.head().is_whole
        assert len(list(source)) == 4


def test_the_head_of_a_truncated_file_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(b"a.example\nb.example\n")[:-1])
    seen: list[Line] = []
    with open_source(path) as source:
        assert source.head().lines == ["a.example", "b.example"]
        with pytest.raises(SourceError, match="ends too early"):
            seen.extend(source)
    assert seen == ["a.example", "b.example"]


@packed
def test_standard_input(pack: Callable[[bytes], bytes]) -> None:
    program = (
        "from threatcloud.formats.readers import open_source\n"
        "with open_source('-') as source: print(list(source), source.bytes_total, source.name)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], input=pack(b"a.example\nb.example"), capture_output=True, check=True
    )
    assert ran.stdout.decode().strip() == "['a.example', 'b.example'] None standard input"


@packed
def test_the_bytes_can_be_asked_for_again(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = os.urandom(200_000).hex().encode()
    path = tmp_path / "list"
    path.write_bytes(pack(data))
    with open_source(path) as source:
        head = source.head()
        assert data.startswith(head.data)
        assert not head.is_whole
        source.keep()
        assert [b"".join(source.blocks()) for _ in range(3)] == [data] * 3


@packed
def test_a_pipe_is_kept_where_it_is_read_twice(pack: Callable[[bytes], bytes]) -> None:
    program = (
        "from threatcloud.formats.readers import open_source\n"
        "with open_source('-') as source:\n"
        "    source.head(); source.keep()\n"
        "    print([b''.join(source.blocks()) for _ in range(2)])"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=pack(b"a\nb"), capture_output=True, check=True)
    assert ran.stdout.decode().strip() == "[b'a\\nb', b'a\\nb']"


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def test_an_archive_of_one_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "full.zip"
    path.write_bytes(zipped(("full.csv", b"a.example\nb.example\n")))
    with open_source(path) as source:
        assert source.head().lines == ["a.example", "b.example"]
        assert list(source) == ["a.example", "b.example"]
        assert source.bytes_read == source.bytes_total


def test_an_archive_of_several_files_is_not(tmp_path: Path) -> None:
    path = tmp_path / "full.zip"
    path.write_bytes(zipped(("a.csv", b"a"), ("b.csv", b"b")))
    with pytest.raises(SourceError, match="archive of 2 files: unpack it first"):
        open_source(path)


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, lambda data: zipped(("bomb", data))], ids=["gzip", "zstd", "zip"]
)
def test_a_bomb_ends_at_the_limit(pack: Callable[[bytes], bytes]) -> None:
    data = pack(b"a.example\n" * 10_000_000)
    assert len(data) < 1_000_000
    lines: list[Line] = []
    tracemalloc.start()
    with Source("bomb", io.BytesIO(data), max_bytes=1_000_000) as source, pytest.raises(SourceError, match="1,000,000"):
        lines.extend(source)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < len(lines) <= 100_000
    assert peak_bytes < 20_000_000
