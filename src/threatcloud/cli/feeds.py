"""``threat-cloud feed``: the default lists, and what is held of them until an operator confirms."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.output import Json, note, print_table, show

app: Final = typer.Typer(help="Published lists: list, confirm one that is held.", no_args_is_help=True)
_COLUMNS: Final = ("name", "state", "entries", "held since", "would have")
_FIELDS: Final = ("name", "state", "entries", "heldSince", "wouldHave")


@api_command(app, "list", "threat-cloud feed list")
async def list_(api: Api, as_json: Json = False) -> None:
    """List the default lists: how many entries they have, and which are held because they would shrink too much."""
    show(await api.get("/api/feeds"), as_json, _show)


def _show(found: list[dict[str, Any]]) -> None:
    print_table(_COLUMNS, ([item[name] for name in _FIELDS] for item in found))


@api_command(app, "confirm", "threat-cloud feed confirm ip-blocklist")
async def confirm(
    api: Api,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name (threat-cloud feed list).")],
    as_json: Json = False,
) -> None:
    """Have a held list shrink to what it would have by now: what expired or decayed is indeed over."""
    done = await api.call("POST", f"/api/feeds/{segment(name)}/confirm")
    show(done, as_json, lambda data: note(f"confirmed {data['name']}: {data['entries']:,} entries are left"))
