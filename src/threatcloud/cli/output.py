"""What commands print: tables for people, JSON for scripts; attacker-written text never reaches a terminal raw."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Wide enough for any line: what is piped on must not be folded.
_UNFOLDED_COLUMNS: Final = 100_000

Json = Annotated[bool, typer.Option("--json", help="Print the data as JSON, for scripts.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of standard output.")]


def safe(value: object) -> str:
    """The text of a value with all that a terminal could obey, or nobody could see, as an escape such as ``\\x1b``."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def console(*, stderr: bool = False) -> Console:
    """Where to print; what is no terminal gets lines of any length."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _UNFOLDED_COLUMNS)


def note(text: str) -> None:
    """A line beside the result, on standard error."""
    sys.stderr.write(safe(text) + "\n")


def line(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(safe(text) + "\n")


def print_json(data: object) -> None:
    """The data as JSON in ASCII, which a terminal shows as it is."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; None and empty cells show as a dash."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(Text(safe(name)), _cell(value))
    _print(table)


def _print(table: Table) -> None:
    """Prints it without the spaces that fill its last column."""
    out = console()
    with out.capture() as captured:
        out.print(table)
    sys.stdout.write("".join(text.rstrip() + "\n" for text in captured.get().splitlines()))


def _cell(value: object) -> Text:
    if value is None or value in ("", [], {}):
        return Text("-", style="dim")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    if isinstance(value, list):
        return Text(safe(", ".join(map(str, value))))
    return Text(safe(json.dumps(value) if isinstance(value, Mapping) else value))


def show(data: Any, as_json: bool, table: Callable[[Any], None]) -> None:
    """The data for scripts or for people."""
    if as_json:
        print_json(data)
    else:
        table(data)


@contextmanager
def opened(out: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes its name only once it is complete."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
