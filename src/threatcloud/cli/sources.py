"""``threat-cloud source``: lists of others that are fetched regularly, and what they are worth."""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Json, note, print_table, show

app: Final = typer.Typer(help="Sources: lists of others, fetched regularly.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name (threat-cloud source list).")]
_every: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])").fullmatch
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLUMNS: Final = ("name", "state", "entries", "new", "dropped", "changed", "unique", "false pos.", "lead h", "problem")


@api_command(
    app,
    "add",
    "threat-cloud source add https://feeds.example.org/ips.txt --every 1h",
    "threat-cloud source add https://feeds.example.org/x.csv.gz --name feed:vendor --format delimited",
    creates=True,
)
async def add(
    api: Api,
    address: Annotated[str, typer.Argument(metavar="URL", help="Where the list is.")],
    name: Annotated[str | None, typer.Option(help="What its values are listed under; feed:HOST if not said.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="As of import; found out if not said.")] = None,
    every: Annotated[str, typer.Option(help="How often: 15m, 1h, 1d.")] = "1h",
    type_: Annotated[str | None, typer.Option("--type", help="Of lines that do not tell.")] = None,
    category: Annotated[str | None, typer.Option(help="Of lines that do not tell.")] = None,
    severity: Annotated[str, typer.Option(help="Of lines that do not tell; below high is not blocked.")] = "high",
    confidence: Annotated[float, typer.Option(help="Of lines that do not tell.")] = 0.7,
    as_json: Json = False,
) -> None:
    """Fetch a list regularly. What it drops ends with it; one that doubles or halves overnight is held back."""
    found = _every(every)
    if found is None:
        raise CommandFailed(f"--every: got {every!r}, wants a number with s, m, h or d, such as 1h", ExitCode.USAGE)
    body = {
        "name": name or f"feed:{urlsplit(address).hostname or ''}"[:64],
        "url": address,
        "everySeconds": int(found[1]) * _UNITS_S[found[2]],
        "format": format_,
        "type": type_,
        "category": category,
        "severity": severity,
        "confidence": confidence,
    }
    new = await api.call("POST", "/api/sources", body)
    show(new, as_json, lambda data: note(f"{data['name']}: polled every {every}, by the server that runs"))


@api_command(app, "list", "threat-cloud source list", "threat-cloud source list --json")
async def list_(api: Api, as_json: Json = False) -> None:
    """List all sources: how they stand, what changed, and what they are worth beside each other."""
    show(await api.get("/api/sources"), as_json, _show_all)


def _show_all(found: list[dict[str, Any]]) -> None:
    print_table(_COLUMNS, (_row(item) for item in found))


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    figures = item["figures"]
    shares = (_percent(figures["unique"]), _percent(figures["falsePositives"]), figures["leadHours"])
    counts = (item["entries"], item["new"], item["dropped"])
    return (item["name"], item["state"], *counts, item["changedAt"], *shares, item["heldWhy"] or item["problem"])


def _percent(part: float | None) -> str | None:
    return None if part is None else f"{100 * part:.1f} %"


@api_command(app, "remove", "threat-cloud source remove feed:example")
async def remove(api: Api, name: Name, as_json: Json = False) -> None:
    """Remove a source. What it lists ends soon after, where nobody else says so."""
    gone = await api.call("DELETE", f"/api/sources/{segment(name)}")
    show(gone, as_json, lambda data: note(f"removed {data['name']}; what it lists ends when the server comes to it"))


@api_command(app, "poll", "threat-cloud source poll feed:example", publishes=True)
async def poll(api: Api, name: Name, as_json: Json = False) -> None:
    """Poll a source now, and see what comes of it."""
    done = await api.call("POST", f"/api/sources/{segment(name)}/poll")
    show(done, as_json, lambda data: _show_all([data]))
    if done["problem"]:
        raise CommandFailed(f"{done['name']}: {done['problem']}")


@api_command(app, "confirm", "threat-cloud source confirm feed:example", publishes=True)
async def confirm(api: Api, name: Name, as_json: Json = False) -> None:
    """Have a list that is held back taken up as it is now."""
    show(await api.call("POST", f"/api/sources/{segment(name)}/confirm"), as_json, lambda data: _show_all([data]))
