"""The command line: ``threat-cloud``. A client of the API for people and scripts, and the operator's tool."""

import io
import sys
from typing import Final

import typer

from threatcloud.cli import (
    allowlist,
    audit,
    backup,
    campaigns,
    dnsbl,
    exporting,
    feeds,
    importing,
    iocs,
    keys,
    rules,
    serve,
    sources,
    store,
    system,
    webhooks,
)
from threatcloud.cli.failures import EXPECTED, ExitCode, failure_of
from threatcloud.cli.output import note

app: Final = typer.Typer(
    name="threat-cloud",
    help="Self-hosted threat intelligence: reports in, honest blocklists out.\n\n"
    "Commands work on the local database, through the server if one has it open, or with --url and TC_API_KEY on a "
    "server elsewhere. Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 not found, 4 key missing or not "
    "allowed, 5 busy or not reachable, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
serve.add_to(app)
importing.add_to(app)
app.add_typer(exporting.app, name="export")
app.add_typer(iocs.app, name="ioc")
app.add_typer(campaigns.app, name="campaign")
app.add_typer(feeds.app, name="feed")
app.add_typer(rules.app, name="rule")
app.add_typer(keys.app, name="key")
app.add_typer(allowlist.app, name="allowlist")
app.add_typer(sources.app, name="source")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(audit.app, name="audit")
system.add_to(app)
backup.add_to(app)
app.add_typer(store.app, name="store")
dnsbl.add_to(app)


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than indicators have
    try:
        code = app(prog_name="threat-cloud", standalone_mode=False)
    except typer.TyperException as error:
        code = _usage(error)
    except EXPECTED as error:
        failure = failure_of(error)
        note(f"threat-cloud: {failure.message}")
        code = failure.code
    sys.exit(code or 0)


def _usage(error: typer.TyperException) -> int:
    """Says what is wrong with the command as it was typed; nothing more where the help was just shown instead."""
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    name = context.command_path if context else "threat-cloud"
    if message:
        joint = " See" if message.endswith("?") else "; see"
        note(f"threat-cloud: {message[:1].lower()}{message[1:]}{joint}: {name} --help")
    return ExitCode.USAGE
