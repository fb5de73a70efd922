"""``threat-cloud ioc``: report, look up, list and search indicators."""

from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, Refused, segment
from threatcloud.cli.failures import ExitCode
from threatcloud.cli.output import Json, note, print_fields, print_json, print_table, show

app: Final = typer.Typer(help="Indicators: report, look up, list, search.", no_args_is_help=True)
_COLUMNS: Final = ("value", "type", "reputation", "status", "category", "severity", "sightings", "last seen", "source")

Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
Source = Annotated[str | None, typer.Option(help="Reported last by this source.")]
Type = Annotated[str | None, typer.Option("--type", help="ip, domain, hash, url, email or cve.")]
Status = Annotated[str | None, typer.Option(help="active, expired or whitelisted.")]
Category = Annotated[str | None, typer.Option(help="malware, botnet, phishing, bruteforce, scanner, exploit or c2.")]
Sort = Annotated[
    str | None, typer.Option(help="updated (newest first), reputation (worst first), sightings, firstSeen.")
]


@api_command(
    app,
    "add",
    "threat-cloud ioc add ip 203.0.113.7 --severity high --category bruteforce",
    "threat-cloud ioc add url 'hxxp://bad[.]example/x' --tag dropper --confidence 0.9",
    creates=True,
)
async def add(
    api: Api,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="ip, domain, hash, url, email or cve.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="In any spelling, defanged too.")],
    source: Annotated[str, typer.Option(help="Who says so.")] = "manual",
    category: Category = None,
    severity: Annotated[str | None, typer.Option(help="low, medium, high or critical.")] = None,
    confidence: Annotated[float | None, typer.Option(help="0.0 to 1.0; 0.5 if not said.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag. Repeatable.")] = None,
    mitre_id: Annotated[list[str] | None, typer.Option(help="An ATT&CK technique, such as T1110. Repeatable.")] = None,
    port: Annotated[list[int] | None, typer.Option(help="A port. Repeatable.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="When it was observed (ISO 8601); now if not said.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it ends (ISO 8601).")] = None,
    tlp: Annotated[str | None, typer.Option(help="clear, green, amber, amber+strict or red.")] = None,
    as_json: Json = False,
) -> None:
    """Report an indicator."""
    lists = {"tags": tag, "mitreIds": mitre_id, "ports": port}
    item = {
        "type": type_,
        "value": value,
        "source": source,
        "category": category,
        "severity": severity,
        "confidence": confidence,
        "metadata": {name: said for name, said in lists.items() if said} or None,
        "timestamp": timestamp,
        "expiresAt": expires_at,
        "tlp": tlp,
    }
    told = {name: said for name, said in item.items() if said is not None}
    done = await api.call("POST", "/api/threats", {"threats": [told]})
    show(done, as_json, lambda data: print_fields({"new" if data["new"] else "updated": data["iocIds"][0]}))


@api_command(
    app,
    "get",
    "threat-cloud ioc get 203.0.113.7",
    "threat-cloud ioc get 'hxxps://bad[.]example/login' --json",
)
async def get(
    api: Api,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="In any spelling, defanged too.")],
    as_json: Json = False,
) -> None:
    """Show everything about an indicator, and why its reputation is what it is. Exit code 3: nobody reported it."""
    found = await api.get(f"/api/iocs/{segment(value)}")
    known = found["status"] != "unknown"
    reasons = await _explanation(api, value) if known else None
    if as_json:
        print_json({**found, "explanation": reasons} if reasons else found)
    else:
        _show_one(found, reasons)
    if not known:
        raise typer.Exit(ExitCode.NOT_FOUND)


async def _explanation(api: Api, value: str) -> dict[str, Any] | None:
    try:
        reasons: dict[str, Any] = await api.get(f"/api/iocs/{segment(value)}/explain")
    except Refused as refused:
        if refused.code == ExitCode.NOT_FOUND:
            return None  # it went away in between
        raise
    return reasons


def _show_one(found: dict[str, Any], reasons: dict[str, Any] | None) -> None:
    fields = {_words(name): _cell(name, value) for name, value in found.items() if name not in ("metadata", "networks")}
    fields |= {_words(name): value for name, value in found.get("metadata", {}).items()}
    fields["in networks"] = [f"{item['value']} (reputation {item['reputation']})" for item in found["networks"]]
    print_fields({name: value for name, value in fields.items() if value not in (None, [], {}, "")})
    if reasons:
        print_table(
            ("why", "points", "log-odds", "who", "age factor"),
            (
                (
                    term["name"],
                    term["points"],
                    f"{term['logOdds']:+.2f}",
                    ", ".join(term["sources"]) or term["reporter"],
                    f"{term['ageFactor']:.2f}",
                )
                for term in reasons["terms"]
            ),
        )


def _cell(name: str, value: Any) -> Any:
    if name == "withheld" and value:
        return f"{value['code']}: {value['list']}"
    if name == "relatedIocs":
        return [f"{item['value']} ({item['relation']})" for item in value]
    if name == "techniques":
        return [f"{item['id']} {item['name'] or ''}".strip() for item in value]
    return value


def _words(name: str) -> str:
    """``lastSeen`` as ``last seen``; words that are written in capitals stay."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


@api_command(app, "erase", "threat-cloud ioc erase 203.0.113.7 --yes", publishes=True)
async def erase(
    api: Api,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="In any spelling, defanged too.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a value for good, with everything that was reported of it.

    Followers of feeds in which it was have to take the whole feed again. It can be reported anew. Backups, logs and
    lists that others have loaded are not reached.
    """
    if not yes:
        typer.confirm("Erase it and everything reported of it, for good?", abort=True, err=True)
    done = await api.call("DELETE", f"/api/iocs/{segment(value)}")
    show(done, as_json, lambda data: print_fields({f"erased {name}": count for name, count in data["erased"].items()}))


@api_command(
    app,
    "list",
    "threat-cloud ioc list --type ip --max-reputation 30 --sort reputation",
    "threat-cloud ioc list --status whitelisted --source feed:my-list --limit 1000 --json",
)
async def list_(
    api: Api,
    type_: Type = None,
    source: Source = None,
    min_reputation: Annotated[int | None, typer.Option(help="0 (worst) to 100.")] = None,
    max_reputation: Annotated[int | None, typer.Option(help="0 (worst) to 100.")] = None,
    status: Status = None,
    category: Category = None,
    since: Annotated[str | None, typer.Option(help="Updated at or after this time (ISO 8601).")] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag.")] = None,
    mitre_id: Annotated[str | None, typer.Option(help="With this ATT&CK technique.")] = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166 code of two letters.")] = None,
    sort: Sort = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List indicators, newest change first."""
    found = await api.collect(
        "/api/iocs",
        limit,
        type=type_,
        source=source,
        minReputation=min_reputation,
        maxReputation=max_reputation,
        status=status,
        category=category,
        since=since,
        tag=tag,
        mitreId=mitre_id,
        country=country,
        sort=sort,
    )
    show(found, as_json, _show_many)


@api_command(
    app,
    "search",
    "threat-cloud ioc search paypa1",
    "threat-cloud ioc search 203.0.113.0/24 --json",
)
async def search(
    api: Api,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a value, or a CIDR network.")],
    type_: Type = None,
    status: Status = None,
    sort: Sort = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Search indicators by a part of their value, or all in a network."""
    found = await api.collect("/api/iocs", limit, search=text, type=type_, status=status, sort=sort)
    show(found, as_json, _show_many)


def _show_many(found: list[dict[str, Any]]) -> None:
    if not found:
        note("no indicator fits")
        return
    names = ("value", "type", "reputation", "status", "category", "severity", "sightings", "lastSeen", "source")
    print_table(_COLUMNS, ([item[name] for name in names] for item in found))
