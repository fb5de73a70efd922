"""``threat-cloud allowlist``: what no feed may ever list."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.durations import Expires, end_time
from threatcloud.cli.output import Json, note, print_json, print_table, show

app: Final = typer.Typer(help="Your allowlist: what no feed may ever list.", no_args_is_help=True)
_BATCH: Final = 100
_NAMES: Final = ("value", "kind", "note", "createdAt", "createdBy", "expiresAt")
_COLUMNS: Final = ("value", "kind", "note", "created", "by", "expires")
Limit = Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")]


@api_command(
    app,
    "add",
    "threat-cloud allowlist add 198.51.100.0/24 --note 'our office'",
    "threat-cloud allowlist add '*.example.org' example.com",
    "threat-cloud allowlist add 203.0.113.7 --expires 30d --note 'penetration test'",
    creates=True,
)
async def add(
    api: Api,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="VALUE...", help="Addresses, networks, domains, URLs, hashes; *.example.org is all below it, too."
        ),
    ],
    note_: Annotated[str | None, typer.Option("--note", help="Why, in at most 500 characters.")] = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Allow values: no feed lists them from now on, whoever reports them. What is listed already is taken off.

    A value that is allowed already takes on the note and the end given now.
    """
    said = {"note": note_, "expiresAt": end_time(expires)}
    stored: list[dict[str, Any]] = []
    for first in range(0, len(values), _BATCH):
        entries = [{"value": value, **said} for value in values[first : first + _BATCH]]
        stored += (await api.call("POST", "/api/allowlist", {"entries": entries}))["entries"]
    show(stored, as_json, _show_added)


def _show_added(stored: list[dict[str, Any]]) -> None:
    for item in stored:
        note(f"allowed {item['value']} ({item['kind']}): {item['withheld']:,} stored indicators are withheld")


@api_command(app, "list", "threat-cloud allowlist list", "threat-cloud allowlist list --json")
async def list_(api: Api, limit: Limit = 1000, as_json: Json = False) -> None:
    """List what is allowed, the newest first."""
    show(await api.collect("/api/allowlist", limit), as_json, _show_all)


def _show_all(found: list[dict[str, Any]]) -> None:
    print_table(_COLUMNS, ([item[name] for name in _NAMES] for item in found))


@api_command(
    app, "remove", "threat-cloud allowlist remove 198.51.100.0/24", "threat-cloud allowlist remove '*.example.org'"
)
async def remove(
    api: Api,
    values: Annotated[list[str], typer.Argument(metavar="VALUE...", help="As they were added, in any spelling.")],
    as_json: Json = False,
) -> None:
    """Take values off the allowlist. What they covered is listed again where its evidence says so."""
    gone: list[dict[str, Any]] = []
    for value in values:
        item = await api.call("DELETE", f"/api/allowlist/{segment(value)}")
        gone.append(item)
        if not as_json:
            note(f"removed {item['value']}: the allowlist no longer withholds {item['released']:,} stored indicators")
    if as_json:
        print_json(gone)
