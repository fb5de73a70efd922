"""``threat-cloud export``: the published indicators and blocklists to a file or to standard output."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import msgspec
import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, patiently
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Out, opened

if TYPE_CHECKING:
    import httpx

app: Final = typer.Typer(help="Write published indicators and blocklists to a file.", no_args_is_help=True)
_PAGE_ROWS: Final = 5_000
_COLUMNS: Final = (
    "value",
    "type",
    "reputation",
    "category",
    "severity",
    "confidence",
    "sightings",
    "firstSeen",
    "lastSeen",
    "updatedAt",
    "country",
    "asn",
    "tags",
    "id",
)
#: What a spreadsheet takes for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Items = AsyncIterator[list[dict[str, Any]]]
Format = Annotated[str, typer.Option("--format", help="One of those the server knows.")]
MaxReputation = Annotated[int | None, typer.Option(help="The highest reputation included; 30 if not said.")]
Category = Annotated[str | None, typer.Option(help="Only this category.")]
Hosts = Annotated[bool, typer.Option("--hosts", help="Leave networks out.")]


@api_command(
    app,
    "iocs",
    "threat-cloud export iocs --format csv --out iocs.csv",
    "threat-cloud export iocs --type domain --since 2026-03-01 | jq .value",
    publishes=True,
)
async def iocs(
    api: Api,
    format_: Annotated[str, typer.Option("--format", help="ndjson, json or csv.")] = "ndjson",
    type_: Annotated[str | None, typer.Option("--type", help="ip, domain, hash, url, email or cve.")] = None,
    since: Annotated[str | None, typer.Option(help="Updated at or after this time (ISO 8601).")] = None,
    out: Out = None,
) -> None:
    """Export every published indicator, of any reputation, oldest update first."""
    write = _WRITERS.get(format_)
    if write is None:
        raise CommandFailed(f"--format: got {format_!r}, wants one of {', '.join(_WRITERS)}", ExitCode.USAGE)
    with opened(out) as file:
        await write(_walk(api, type_, since), file)


async def _walk(api: Api, type_: str | None, since: str | None) -> Items:
    cursor: str | None = None
    while True:
        query = {"type": type_, "since": since, "limit": _PAGE_ROWS, "cursor": cursor}
        page = await patiently(lambda query=query: api.get("/api/feeds/iocs", **query))  # type: ignore[misc]
        yield page["iocs"]
        cursor = page["nextCursor"]
        if cursor is None:
            return


async def _write_ndjson(pages: Items, file: BinaryIO) -> None:
    async for page in pages:
        file.writelines(msgspec.json.encode(item) + b"\n" for item in page)


async def _write_json(pages: Items, file: BinaryIO) -> None:
    separator = b"[\n"
    async for page in pages:
        for item in page:
            file.write(separator + msgspec.json.encode(item))
            separator = b",\n"
    file.write(b"\n]\n" if separator == b",\n" else b"[]\n")


async def _write_csv(pages: Items, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    async for page in pages:
        writer.writerows([_csv_cell(item, name) for name in _COLUMNS] for item in page)
    text.detach()


def _csv_cell(item: dict[str, Any], name: str) -> object:
    value = item["metadata"].get(name) if name in ("country", "asn") else item[name]
    if isinstance(value, list):
        value = ";".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_WRITERS: Final[dict[str, Callable[[Items, BinaryIO], Any]]] = {
    "ndjson": _write_ndjson,
    "json": _write_json,
    "csv": _write_csv,
}


@api_command(
    app,
    "ip-blocklist",
    "threat-cloud export ip-blocklist --out /etc/firewall/blocklist.txt",
    "threat-cloud export ip-blocklist --max-reputation 20 --hosts",
    publishes=True,
)
async def ip_blocklist(
    api: Api,
    max_reputation: MaxReputation = None,
    category: Category = None,
    hosts: Hosts = False,
    format_: Format = "plain",
    out: Out = None,
) -> None:
    """Export the addresses and networks to block."""
    query = {"maxReputation": max_reputation, "category": category, "hosts": hosts or None, "format": format_}
    await _export_list(api, "/api/feeds/ip-blocklist", query, out)


@api_command(
    app,
    "domain-blocklist",
    "threat-cloud export domain-blocklist --category phishing",
    publishes=True,
)
async def domain_blocklist(
    api: Api,
    max_reputation: MaxReputation = None,
    category: Category = None,
    format_: Format = "plain",
    out: Out = None,
) -> None:
    """Export the domains to block."""
    query = {"maxReputation": max_reputation, "category": category, "format": format_}
    await _export_list(api, "/api/feeds/domain-blocklist", query, out)


async def _export_list(api: Api, path: str, query: Mapping[str, object], out: Path | None) -> None:
    async def send() -> "httpx.Response":
        return await api.send("GET", path, query=query)

    reply = await patiently(send)
    with opened(out) as file:
        file.write(reply.content)
