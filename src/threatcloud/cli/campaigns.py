"""``threat-cloud campaign``: list, view, create, edit and delete campaigns."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.output import Json, note, print_fields, print_table, show

app: Final = typer.Typer(help="Campaigns: list, view, create, edit, delete.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="cmp_… (threat-cloud campaign list)")]
Description = Annotated[str | None, typer.Option(help="What it is about.")]
Severity = Annotated[str | None, typer.Option(help="low, medium, high or critical; else the worst of its members.")]
Tag = Annotated[list[str] | None, typer.Option(help="A tag. Repeatable.")]
_COLUMNS: Final = ("id", "name", "status", "severity", "indicators", "orgs", "last activity")
_FIELDS: Final = ("id", "name", "status", "severity", "iocCount", "affectedOrgs", "lastActivity")


@api_command(
    app,
    "list",
    "threat-cloud campaign list --status active",
    "threat-cloud campaign list --mitre-id T1110 --json",
)
async def list_(
    api: Api,
    status: Annotated[str | None, typer.Option(help="active, dormant or resolved.")] = None,
    mitre_id: Annotated[str | None, typer.Option(help="With this ATT&CK technique.")] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List campaigns, the last active first."""
    found = await api.get("/api/campaigns", status=status, mitreId=mitre_id, tag=tag, limit=limit)
    show(found, as_json, lambda data: print_table(_COLUMNS, ([item[name] for name in _FIELDS] for item in data)))


@api_command(app, "view", "threat-cloud campaign view cmp_0123456789abcdef")
async def view(api: Api, campaign: Id, as_json: Json = False) -> None:
    """Show a campaign in full: members, timeline, why they belong together, what helps."""
    show(await api.get(f"/api/campaigns/{segment(campaign)}"), as_json, _show_one)


def _show_one(found: dict[str, Any]) -> None:
    iocs, places = found["iocs"], found["geography"]
    print_fields(
        {
            **{column: found[name] for column, name in zip(_COLUMNS, _FIELDS, strict=True)},
            "description": found["description"] or None,
            "first seen": found["firstSeen"],
            "techniques": found["mitreIds"],
            "tags": found["tags"],
            "by type": [f"{count} {kind}" for kind, count in iocs["byType"].items() if count],
            "top": [item["value"] for item in iocs["topIps"] + iocs["topDomains"]],
            "from": places["sourceCountries"],
            "against": places["targetCountries"],
            "why": [item["reason"] for item in found["evidence"]],
            "what helps": found["recommendations"],
        }
    )
    print_table(("date", "event", "details"), ([item[name] for name in item] for item in found["timeline"]))


@api_command(
    app,
    "create",
    "threat-cloud campaign create 'Operation Example' --severity high --ioc 203.0.113.7 --ioc bad.example",
    creates=True,
)
async def create(
    api: Api,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    description: Description = None,
    severity: Severity = None,
    tag: Tag = None,
    ioc: Annotated[list[str] | None, typer.Option(help="A known indicator that belongs to it. Repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Make a campaign by hand."""
    body = _told(name=name, description=description, severity=severity, tags=tag, iocs=ioc)
    show(await api.call("POST", "/api/campaigns", body), as_json, lambda data: print_fields({"created": data["id"]}))


@api_command(
    app,
    "edit",
    "threat-cloud campaign edit cmp_0123456789abcdef --name 'Operation Example' --add 203.0.113.9",
    "threat-cloud campaign edit cmp_0123456789abcdef --remove 198.51.100.7 --merge cmp_fedcba9876543210",
)
async def edit(
    api: Api,
    campaign: Id,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    description: Description = None,
    severity: Severity = None,
    tag: Tag = None,
    add: Annotated[list[str] | None, typer.Option(help="An indicator to put in. Repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="One to take out for good. Repeatable.")] = None,
    merge: Annotated[list[str] | None, typer.Option(help="A campaign to take in. Repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Rename or describe a campaign, put indicators in, take them out, merge others into it."""
    lists = {"tags": tag, "addIocs": add, "removeIocs": remove, "merge": merge}
    body = _told(name=name, description=description, severity=severity, **lists)
    if not body:
        raise typer.BadParameter("nothing to change: give --name, --add, --remove, --merge or another option")
    show(await api.call("PATCH", f"/api/campaigns/{segment(campaign)}", body), as_json, _show_one)


@api_command(app, "delete", "threat-cloud campaign delete cmp_0123456789abcdef")
async def delete(api: Api, campaign: Id, as_json: Json = False) -> None:
    """Delete a campaign for good: correlation does not make it again. Its indicators stay."""
    gone = await api.call("DELETE", f"/api/campaigns/{segment(campaign)}")
    show(gone, as_json, lambda data: note(f"deleted {data['id']}"))


def _told(**said: Any) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value not in (None, [])}
