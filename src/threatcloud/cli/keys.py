"""``threat-cloud key``: make, list, revoke and rotate API keys, and withdraw what was reported with one."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.durations import Expires, end_time
from threatcloud.cli.output import Json, line, note, print_fields, print_json, print_table, safe, show
from threatcloud.domain.access import DEFAULT_SCOPES, Scope
from threatcloud.domain.report import KEY_ROLES, Role

app: Final = typer.Typer(help="API keys: make, list, revoke, rotate.", no_args_is_help=True)
_IDS: Final = "its id, such as key_0123456789abcdef (threat-cloud key list)"


@api_command(
    app,
    "create",
    "threat-cloud key create edge-firewall --scope feeds --role agent",
    "threat-cloud key create partner --scope read --scope write --role community --expires 90d",
    "export TC_API_KEY=$(threat-cloud key create me)",
    creates=True,
)
async def create(
    api: Api,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="What it may do. Repeatable.", show_default=", ".join(item for item in Scope if item in DEFAULT_SCOPES)
        ),
    ] = None,
    role: Annotated[str, typer.Option(help=f"How its reports count: {', '.join(KEY_ROLES)}.")] = Role.OPERATOR.value,
    expires: Expires = None,
    org: Annotated[str | None, typer.Option(help="The organisation it is given to; campaigns count those.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is printed this once: only its digest is stored."""
    body: dict[str, Any] = {"name": name, "role": role, "scopes": [item.value for item in scope or []] or None}
    new = await api.call("POST", "/api/keys", {**body, "expiresAt": end_time(expires), "org": org})
    _show_new(new, as_json)


@api_command(app, "list", "threat-cloud key list")
async def list_(api: Api, as_json: Json = False) -> None:
    """List all keys, without the keys."""
    show(await api.get("/api/keys"), as_json, _show_all)


def _show_all(found: list[dict[str, Any]]) -> None:
    names = ("id", "name", "mask", "scopes", "role", "org", "status", "createdAt", "expiresAt")
    columns = ("id", "name", "key", "scopes", "role", "org", "status", "created", "expires")
    print_table(columns, ([item[name] for name in names] for item in found))


@api_command(app, "revoke", "threat-cloud key revoke key_0123456789abcdef")
async def revoke(
    api: Api, key_id: Annotated[str, typer.Argument(metavar="ID", help=_IDS)], as_json: Json = False
) -> None:
    """End a key at once."""
    ended = await api.call("DELETE", f"/api/keys/{segment(key_id)}")
    show(ended, as_json, lambda data: note(f"revoked {data['id']} ({data['name']})"))


@api_command(app, "withdraw", "threat-cloud key withdraw key_0123456789abcdef --yes", publishes=True)
async def withdraw(
    api: Api,
    key_id: Annotated[str, typer.Argument(metavar="ID", help=_IDS)],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Take back all that was reported with a key, and with those it replaced or that replaced it.

    What nobody else reported is removed, and every feed follows. The key itself goes on: revoke it first if it is not
    to report again.
    """
    if not yes:
        typer.confirm("Take back everything that was reported with it?", abort=True, err=True)
    path = f"/api/keys/{segment(key_id)}/contributions"
    done = await api.call("DELETE", path)
    while done["pending"]:
        note(f"{done['sightings']} sightings taken back so far")
        done = await api.call("DELETE", path)
    show(done, as_json, print_fields)


@api_command(app, "rotate", "threat-cloud key rotate key_0123456789abcdef --overlap-hours 48")
async def rotate(
    api: Api,
    key_id: Annotated[str, typer.Argument(metavar="ID", help=_IDS)],
    overlap_hours: Annotated[float, typer.Option(help="How long the old key works on.")] = 24.0,
    as_json: Json = False,
) -> None:
    """Make a new key with the rights and the history of an old one."""
    body = {"overlapHours": overlap_hours}
    _show_new(await api.call("POST", f"/api/keys/{segment(key_id)}/rotate", body), as_json)


def _show_new(new: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(new)
        return
    info = new["info"]
    note(f"{info['id']}: {safe(info['name'])}, {'+'.join(info['scopes'])}, {info['role']}. The key, shown this once:")
    line(new["key"])
