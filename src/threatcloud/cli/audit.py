"""``threat-cloud audit``: read the ledger, and check that nobody has touched it."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from threatcloud.cli.command import DbPath, api_command, command
from threatcloud.cli.connect import Api
from threatcloud.cli.failures import CommandFailed
from threatcloud.cli.output import Json, print_fields, print_table, show
from threatcloud.config import Settings, local_settings
from threatcloud.domain.audit import AuditEntry, Verdict, verify_chain
from threatcloud.services.backups import existing
from threatcloud.services.secrets import load_secret
from threatcloud.services.sharing import shared_secret
from threatcloud.storage import ledger
from threatcloud.storage.driver import Connection
from threatcloud.storage.opening import reading

app: Final = typer.Typer(help="The audit ledger: list, verify.", no_args_is_help=True)


@api_command(
    app,
    "list",
    "threat-cloud audit list --action create --since 2026-03-07",
    "threat-cloud audit list --limit 1000 --json",
)
async def list_(
    api: Api,
    action: Annotated[str | None, typer.Option(help="create, update, delete or query.")] = None,
    since: Annotated[str | None, typer.Option(help="At or after this time (ISO 8601).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Show who did what, newest first."""
    show(await api.collect("/api/audit-log", limit, action=action, since=since), as_json, _show)


def _show(found: list[dict[str, Any]]) -> None:
    columns = ("time", "action", "resource", "key", "address", "details")
    names = ("timestamp", "action", "resource", "apiKey", "ip", "details")
    print_table(columns, ([item[name] for name in names] for item in found))


@command(
    app,
    "verify",
    "threat-cloud audit verify",
    "threat-cloud audit verify --link 0f3a… (the link an earlier check printed: it must still be there)",
)
def verify(
    link: Annotated[
        str | None, typer.Option(help="A link that an earlier check printed: shows that nothing was cut off since.")
    ] = None,
    db_path: DbPath = None,
    as_json: Json = False,
) -> None:
    """Check the whole ledger: that no entry was changed, dropped or slipped in. Exit code 1: one was.

    Works while a server runs. Keep the printed link elsewhere: it is what a cut at the ledger's end shows by.
    """
    verdict, has_link = _verified(local_settings(db_path), link)
    problem = verdict.problem
    if problem is None and not has_link:
        problem = "the given link is not in it: entries were cut off, or the link is of another ledger"
    data = {"entries": verdict.entries, "link": verdict.link.hex(), "problem": problem}
    show(data, as_json, lambda found: print_fields({**found, "problem": found["problem"] or "none"}))
    if problem is not None:
        raise CommandFailed(f"the audit ledger does not hold: {problem}; restore a backup to compare")


def _verified(settings: Settings, link: str | None) -> tuple[Verdict, bool]:
    """The verdict, and whether the link (if any) is in the chain."""
    has_link = link is None

    def entries(connection: Connection) -> Iterator[AuditEntry]:
        nonlocal has_link
        for entry in ledger.walk(connection):
            has_link = has_link or entry.link.hex() == link
            yield entry

    with reading(settings.database_url or existing(settings.db_path)) as connection:
        if settings.database_url is None:
            secret = load_secret(existing(settings.secret_path))
        else:
            secret = shared_secret(connection, settings.secret_file)
        return verify_chain(secret.audit, entries(connection)), has_link
