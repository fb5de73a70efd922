"""``threat-cloud webhook``: where changes are sent, and what became of it."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.failures import CommandFailed
from threatcloud.cli.output import Json, line, note, print_json, print_table, show
from threatcloud.domain.change import ChangeKind
from threatcloud.domain.indicator import IndicatorType

app: Final = typer.Typer(help="Webhooks: have changes sent to a URL.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id (threat-cloud webhook list).")]
_NAMES: Final = ("id", "url", "events", "type", "category", "state", "waiting", "dead", "disabledWhy")
_COLUMNS: Final = ("id", "url", "events", "type", "category", "state", "waiting", "dead", "why")
_DELIVERY_NAMES: Final = ("id", "state", "events", "createdAt", "attempts", "nextAttemptAt", "status", "problem")
_DELIVERY_COLUMNS: Final = ("id", "state", "events", "created", "attempts", "next attempt", "status", "problem")


@api_command(
    app,
    "add",
    "threat-cloud webhook add https://siem.example.org/hook",
    "threat-cloud webhook add https://siem.example.org/hook --event listed --event unlisted --type ip",
    creates=True,
)
async def add(
    api: Api,
    endpoint: Annotated[str, typer.Argument(metavar="URL", help="Where changes are sent.")],
    event: Annotated[list[ChangeKind] | None, typer.Option(help="Which. Repeatable; default all.")] = None,
    type_: Annotated[IndicatorType | None, typer.Option("--type", help="Only indicators of this type.")] = None,
    category: Annotated[str | None, typer.Option(help="Only indicators of this category.")] = None,
    min_confidence: Annotated[float, typer.Option(help="Only indicators of at least this confidence.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Have changes sent to a URL. The secret that signs them is printed this once."""
    events = [item.value for item in event] if event else None
    kind = type_.value if type_ else None
    body = {"url": endpoint, "events": events, "type": kind, "category": category, "minConfidence": min_confidence}
    new = await api.call("POST", "/api/webhooks", body)
    if as_json:
        print_json(new)
        return
    note(f"{new['webhook']['id']}: {new['webhook']['url']}. The secret, shown this once:")
    line(new["secret"])


@api_command(app, "list", "threat-cloud webhook list")
async def list_(api: Api, as_json: Json = False) -> None:
    """List all webhooks, without their secrets."""
    show(await api.get("/api/webhooks"), as_json, lambda found: _table(_COLUMNS, _NAMES, found))


def _table(columns: tuple[str, ...], names: tuple[str, ...], found: list[dict[str, Any]]) -> None:
    print_table(columns, ([item[name] for name in names] for item in found))


@api_command(app, "remove", "threat-cloud webhook remove wh_0123456789abcdef")
async def remove(api: Api, webhook_id: Id, as_json: Json = False) -> None:
    """Remove a webhook with all that waits for it."""
    gone = await api.call("DELETE", f"/api/webhooks/{segment(webhook_id)}")
    show(gone, as_json, lambda data: note(f"removed {data['id']} ({data['url']})"))


@api_command(app, "test", "threat-cloud webhook test wh_0123456789abcdef")
async def try_(api: Api, webhook_id: Id, as_json: Json = False) -> None:
    """Send an event now, and see what comes of it."""
    done = await api.call("POST", f"/api/webhooks/{segment(webhook_id)}/test")
    show(done, as_json, lambda data: note(f"{data['state']}: {data['problem'] or data['status']}"))
    if done["state"] != "delivered":
        raise CommandFailed(f"it was not taken: {done['problem']}")


@api_command(app, "deliveries", "threat-cloud webhook deliveries wh_0123456789abcdef --limit 20")
async def deliveries(
    api: Api,
    webhook_id: Id,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what was sent to a webhook, what waits, and what was given up."""
    page = await api.get(f"/api/webhooks/{segment(webhook_id)}/deliveries", limit=limit)
    show(page["deliveries"], as_json, lambda found: _table(_DELIVERY_COLUMNS, _DELIVERY_NAMES, found))


@api_command(app, "retry", "threat-cloud webhook retry wh_0123456789abcdef")
async def retry(api: Api, webhook_id: Id, as_json: Json = False) -> None:
    """Enable a webhook again, and have all that was given up sent again."""
    done = await api.call("POST", f"/api/webhooks/{segment(webhook_id)}/retry")
    show(done, as_json, lambda data: note(f"{data['webhook']['id']}: {data['retried']:,} deliveries are tried again"))
