"""``threat-cloud store``: the database as a whole, from one engine to the other."""

import importlib.util
from pathlib import Path
from typing import Annotated, Final

import typer

from threatcloud.cli.command import command
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Json, note, print_fields, show
from threatcloud.cli.progress import rows_progress
from threatcloud.services.copying import copy_store

app: Final = typer.Typer(help="The database as a whole: copy it to another engine.", no_args_is_help=True)
_SQLITE: Final = "sqlite:"
_POSTGRES: Final = ("postgresql://", "postgres://")
_WHERE: Final = "sqlite:PATH or postgresql://…"


@command(
    app,
    "copy",
    "threat-cloud store copy --from sqlite:/var/lib/threat-cloud/threat-cloud.db --to postgresql://tc@db.example/tc",
    "threat-cloud store copy --from postgresql://tc@db.example/tc --to sqlite:back.db --json",
)
def copy(
    source: Annotated[str, typer.Option("--from", metavar="PLACE", help=f"What to copy: {_WHERE}")],
    target: Annotated[str, typer.Option("--to", metavar="PLACE", help=f"Where to: {_WHERE}; new or empty.")],
    as_json: Json = False,
) -> None:
    """Copy a whole database to another place, SQLite or PostgreSQL, and compare both.

    No server may use either. A copy that was interrupted goes on when the command is given again. The secret is no part
    of the database: take its file along.
    """
    old, new = _place("--from", source), _place("--to", target)
    with rows_progress() as progress:
        copied = copy_store(old, new, progress)
    note("threat-cloud: take the secret along, too: TC_SECRET_FILE, or NAME.secret beside a file")
    data = {"rows": copied.rows, "resumed after": copied.resumed_rows}
    digests = {f"{kind} digest": digest for kind, digest in copied.digests.items()}
    show({**data, **digests}, as_json, print_fields)


def _place(option: str, text: str) -> Path | str:
    if text.startswith(_SQLITE) and text != _SQLITE:
        return Path(text.removeprefix(_SQLITE)).expanduser()
    if not text.startswith(_POSTGRES):
        raise CommandFailed(f"{option}: wants {_WHERE}", ExitCode.USAGE)
    if importlib.util.find_spec("psycopg") is None:
        raise CommandFailed(f"{option}: PostgreSQL needs the extra postgres, which is not installed", ExitCode.USAGE)
    return text
