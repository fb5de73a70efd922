"""What a list gained and lost between two versions, as formats say it: lines with a sign, commands, or records."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from threatcloud.domain.feed import WORDING, plain_delta_head
from threatcloud.formats.feeds.snapshot import Snapshot

#: What comments begin with.
_MARKS: Final = ("#", "!", ";", "//")


class Versions(NamedTuple):
    """The version that somebody has, and the one that a delta makes of it."""

    since: str
    to: str


class Change(NamedTuple):
    """What entered a list, and what left it, of which no more than the value is known. What is in both has stayed."""

    added: Snapshot
    removed: Snapshot


@dataclass(frozen=True, slots=True)
class Delta:
    """How a format writes changes. ``needs_lists``: what it says of a value depends on others, so it is given the whole
    lists of both versions."""

    write: Callable[[Sequence[Change], Versions], bytes]
    needs_lists: bool = False


def changed_lines(write: Callable[[Snapshot], bytes], change: Change) -> tuple[list[str], list[str]]:
    """The lines that are new in the text of a list, and those that are gone from it."""
    new, old = _lines(write, change.added), _lines(write, change.removed)
    new_ones, old_ones = set(new), set(old)
    return [line for line in new if line not in old_ones], [line for line in old if line not in new_ones]


def _lines(write: Callable[[Snapshot], bytes], snapshot: Snapshot) -> list[str]:
    heads = {line for mark in _MARKS for line in snapshot.header(mark).decode().splitlines()}
    return [line for line in write(snapshot).decode().split("\n") if line and line not in heads]


def by_line(write: Callable[[Snapshot], bytes], *, needs_lists: bool = False) -> Delta:
    """A delta of ``+`` and ``-`` lines after comment lines that name both versions."""

    def write_lines(changes: Sequence[Change], versions: Versions) -> bytes:
        return b"".join(head(change, versions) + signed(*changed_lines(write, change)) for change in changes)

    return Delta(write_lines, needs_lists)


def head(change: Change, versions: Versions) -> bytes:
    """Comment lines with the title of a list and both versions."""
    return plain_delta_head(WORDING[change.added.kind].title, versions)


def signed(new: Iterable[str], old: Iterable[str]) -> bytes:
    """New lines behind a plus, old ones behind a minus."""
    return "".join([*(f"+{line}\n" for line in new), *(f"-{line}\n" for line in old)]).encode()


def without_common(change: Change) -> tuple[list[str], list[str]]:
    """The values that entered, and those that left."""
    new, old = set(change.added.values), set(change.removed.values)
    added = [value for value in change.added.values if value not in old]
    return added, [value for value in change.removed.values if value not in new]
