"""How far an import or a copy is: a bar on a terminal, a line every few seconds elsewhere, always on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from threatcloud.cli.output import console, note, safe
from threatcloud.cli.summary import Tally

_LINE_EVERY_S: Final = 5.0


class Report(Protocol):
    """Shows the figures as they stand; bytes are those of the file as it lies on disk, the total None for a pipe."""

    def __call__(self, tally: Tally, bytes_read: int, bytes_total: int | None) -> None: ...


@contextmanager
def progress(name: str) -> Iterator[Report]:
    """Shows the progress of reading ``name`` as long as the context is open."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]:,} lines, {task.fields[rate]:,}/s, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(safe(name), total=None, lines=0, rate=0)

        def show(tally: Tally, bytes_read: int, bytes_total: int | None) -> None:
            bar.update(task, total=bytes_total, completed=bytes_read, lines=tally.lines, rate=tally.values_per_second)

        yield show


@contextmanager
def rows_progress() -> Iterator[Callable[[str, str, int, int], None]]:
    """Shows what is done to which table, and how many rows of how many, as long as the context is open."""
    if not sys.stderr.isatty():
        yield _row_lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task("")

        def show(what: str, table: str, done: int, total: int) -> None:
            bar.update(task, description=f"{what} {table}", completed=done, total=total)

        yield show


def _row_lines() -> Callable[[str, str, int, int], None]:
    shown_s = time.monotonic()

    def show(what: str, table: str, done: int, total: int) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s >= _LINE_EVERY_S:
            shown_s = time.monotonic()
            note(f"{what} {table}: {done:,} of {total:,} rows")

    return show


def _lines() -> Report:
    shown_s = time.monotonic()

    def show(tally: Tally, bytes_read: int, bytes_total: int | None) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s < _LINE_EVERY_S:
            return
        shown_s = time.monotonic()
        left = ""
        if bytes_total and bytes_read:
            left_s = tally.reading_seconds * (bytes_total - bytes_read) / bytes_read
            left = f", {100 * bytes_read // bytes_total} %, about {left_s:.0f} s left"
        note(f"{tally.lines:,} lines, {tally.values_per_second:,}/s{left}")

    return show
