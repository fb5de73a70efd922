"""Renews the tables in docs/ that are made from the code; with ``--check`` only says whether they are up to date.

    .venv/bin/python scripts/generate-docs.py [--check]

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; NAME is a key of ``TABLES``. Exit code 1: a
table was out of date (``--check``), or a marker is wrong.
"""

import argparse
import asyncio
import dataclasses
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from threatcloud import cli
from threatcloud.bootstrap import open_node
from threatcloud.config import SETTINGS, load_settings
from threatcloud.formats.feeds import FORMATS
from threatcloud.formats.readers import READERS
from threatcloud.http.endpoint import Access, RateClass
from threatcloud.http.errors import MEANING
from threatcloud.http.logs import configure_logs
from threatcloud.http.metrics import render
from threatcloud.http.protocol import ServerLimits
from threatcloud.http.routes import ENDPOINTS
from threatcloud.jobs import Job

ROOT: Final = Path(__file__).resolve().parents[1]
_BLOCK: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OPENING: Final = "<!-- generated:"
_NEEDS: Final = {
    Access.OPEN: "nothing",
    Access.READ: "`read`; nothing with `TC_PUBLIC_READ`",
    Access.READ_PRIVATE: "`read`",
    Access.BARE: "`feeds` or `read`",
    Access.FEEDS: "`feeds` or `read`; nothing with `TC_PUBLIC_READ`",
    Access.REPORT: "`write`; nothing with `ALLOW_ANONYMOUS_UPLOAD`",
    Access.WRITE: "`write`",
    Access.EXCHANGE: "`write`",
    Access.AUDIT: "`audit`",
    Access.ADMIN: "`admin`",
}


def settings() -> str:
    """Every setting."""
    rows = [
        (
            f"`{item.variable}`",
            f"`{item.field}`",
            f"`{item.default}`" if item.default else "(none)",
            item.wants,
            item.help,
        )
        for item in SETTINGS
    ]
    return _table(("variable", "in the file", "default", "wants", "what it does"), rows)


def errors() -> str:
    """Every error code a client can read."""
    rows = [(f"`{code}`", str(status), meaning) for code, (status, meaning) in MEANING.items()]
    return _table(("code", "status", "meaning"), rows)


def routes() -> str:
    """Every route of the API."""
    rows = [
        (
            f"`{item.method}`",
            f"`{item.path}`",
            _NEEDS[item.access],
            "none" if item.rate is RateClass.NONE else item.rate.value,
            item.summary,
        )
        for item in ENDPOINTS
    ]
    return _table(("method", "path", "needs", "rate class", "what it does"), rows)


def readers() -> str:
    """Every import format, in the order they are tried in."""
    return _table(("name", "what it is"), [(f"`{item.name}`", item.description) for item in READERS])


def formats() -> str:
    """Every format that lists are published in."""
    rows = [
        (
            f"`{item.name}`",
            f"`.{item.extension}`",
            ", ".join(item.kinds),
            f"`{item.media}`",
            item.description,
            "; ".join(reason for reason, *_ in item.refusals),
            ", ".join(dict.fromkeys(f"{count:,}" for count in item.limits.values())),
        )
        for item in FORMATS
    ]
    return _table(("name", "extension", "lists of", "content type", "what it is", "left out", "entries at most"), rows)


def limits() -> str:
    """What a client may take of the server."""
    rows = [(f"`{item.name}`", f"{item.default:,}") for item in dataclasses.fields(ServerLimits)]
    return _table(("limit", "value"), rows)


def metrics() -> str:
    """Every figure of ``/metrics``, from a real scrape."""
    families = text_string_to_metric_families(asyncio.run(_scrape()))
    rows = [
        (
            f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
            family.type,
            ", ".join(sorted({label for sample in family.samples for label in sample.labels} - {"le"})) or "(none)",
            family.documentation,
        )
        for family in families
    ]
    return _table(("name", "type", "labels", "meaning"), rows)


async def _scrape() -> str:
    """The metrics of a new, empty server that has answered one request and run one job."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {"db_path": Path(folder) / "empty.db", "redis_url": "unix:///nowhere"}
        node = await open_node(load_settings(flags, {}, Path(folder)))
        try:
            services = node.services
            await services.publisher.start()
            services.requests.note("/health", "GET", 200, 0.001)
            await node.jobs.run_once(Job("example", 1.0, 1.0, _nothing))
            return render(services.requests, services).decode()
        finally:
            node.close()


async def _nothing() -> str:
    return ""


def commands() -> str:
    """Every command of the command line."""
    rows = [(f"`{name}`", text) for name, text in _commands("threat-cloud", get_command(cli.app))]
    return _table(("command", "what it does"), rows)


def _commands(name: str, command: Any) -> Iterator[tuple[str, str]]:
    """(name with arguments, help) of a command and all below it; typer brings a click of its own, without types."""
    below = getattr(command, "commands", {})
    if not below:
        arguments = [_argument(item) for item in command.params if item.param_type_name == "argument"]
        yield " ".join([name, *arguments]), _first_paragraph(command.help or "")
    for word, inner in below.items():
        if not inner.hidden:
            yield from _commands(f"{name} {word}", inner)


def _argument(parameter: Any) -> str:
    text = (parameter.metavar or parameter.name.upper()) + ("…" if parameter.nargs == -1 else "")
    return text if parameter.required else f"[{text}]"


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].replace("\b", "").split())


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "errors": errors,
    "routes": routes,
    "readers": readers,
    "formats": formats,
    "limits": limits,
    "metrics": metrics,
    "commands": commands,
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def renewed(text: str, tables: dict[str, str]) -> str:
    """The text with every generated table as it should be; ValueError for a marker that is none of ours."""
    unknown = {match["name"] for match in _BLOCK.finditer(text)} - tables.keys()
    if unknown or text.count(_OPENING) != len(_BLOCK.findall(text)):
        raise ValueError(f"has a marker that is not closed, or names no table: {', '.join(sorted(unknown)) or '?'}")
    return _BLOCK.sub(lambda match: match[1] + tables[match["name"]] + match[3], text)


def main() -> int:
    """Renews or checks; the exit code."""
    parser = argparse.ArgumentParser(description="Renews the generated tables in docs/.")
    parser.add_argument("--check", action="store_true", help="change nothing, only say what is out of date")
    check = parser.parse_args().check
    configure_logs("error", "console")
    tables = {name: make() for name, make in TABLES.items()}
    missing = set(tables)
    stale = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text("utf-8")
        missing -= {match["name"] for match in _BLOCK.finditer(text)}
        try:
            wanted = renewed(text, tables)
        except ValueError as error:
            sys.exit(f"{path.relative_to(ROOT)} {error}")
        if wanted != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(wanted, "utf-8")
    if missing:
        sys.exit(f"no document has a place for {', '.join(sorted(missing))}")
    if stale:
        sys.stdout.write(f"{'out of date' if check else 'renewed'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
