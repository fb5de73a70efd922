"""The publication guard as it is loaded: the benign lists, the public suffixes, and the operator's own files."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.canonical import InvalidIndicator
from threatcloud.domain.canonical.name import canonical_domain
from threatcloud.domain.indicator import Indicator, detect
from threatcloud.domain.publication import Guard
from threatcloud.enrich.benign import LoadedLists, load_benign_lists
from threatcloud.enrich.benign_kept import keep, origin, read_kept
from threatcloud.enrich.suffixes import Suffixes, load_suffixes

_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


class LoadedGuard(NamedTuple):
    """A guard, the lists it has to do without, and what is wrong with the operator's files, as sentences."""

    guard: Guard
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def load_guard(
    operator_files: Sequence[Path] = (),
    lists_directory: Path | None = None,
    suffix_file: Path | None = None,
    skip: Collection[str] = (),
    kept: Path | None = None,
) -> LoadedGuard:
    """A guard over the benign lists and the operators' own files, each an allowlist under the file's name.

    ``lists_directory`` replaces the packaged lists (it holds ``NAME/list.json`` for each), ``suffix_file``
    the Public Suffix List; lists named in ``skip`` are not used. ``kept`` is a file that keeps the lists as they were
    made last, and is written when it does not. Raises OSError only for the suffix list.
    """
    suffixes = load_suffixes(suffix_file)
    if kept is None:
        lists, missing = load_benign_lists(suffixes, lists_directory, skip)
    else:
        made_from = origin(lists_directory, suffix_file, skip)
        lists, missing = read_kept(kept, made_from) or _made(suffixes, lists_directory, skip, kept, made_from)
    guard, problems = Guard(lists, suffixes), list[str]()
    for path in operator_files:
        allowlist, found = read_allowlist(path)
        guard = guard.with_allowlist(allowlist)
        problems += found
    return LoadedGuard(guard, missing, tuple(problems))


def _made(
    suffixes: Suffixes, directory: Path | None, skip: Collection[str], kept: Path, made_from: bytes
) -> LoadedLists:
    loaded = load_benign_lists(suffixes, directory, skip)
    keep(kept, made_from, loaded)
    return loaded


def read_allowlist(path: Path) -> tuple[Allowlist, tuple[str, ...]]:
    """An operator's file as an allowlist under its name, and a sentence for each line that is no value.

    One value a line, in any spelling an indicator may have: an address, network, domain, URL, hash or e-mail
    address; ``.example.org`` is the domain with everything below it. ``#`` begins a comment. UTF-8.
    """
    entries: list[Indicator] = []
    zones: list[str] = []
    problems: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return Allowlist(path.stem), (f"{path.name} cannot be read: {error}",)
    for number, line in enumerate(lines, 1):
        value = _COMMENT.sub("", line).strip()
        try:
            if value.startswith((".", "*.")):
                zones.append(canonical_domain(value.removeprefix("*")[1:]))
            elif value:
                entries.append(detect(value))
        except InvalidIndicator as error:
            problems.append(f"{path.name}, line {number}: {error.reason}")
    return Allowlist.of(path.stem, entries, zones), tuple(problems)
