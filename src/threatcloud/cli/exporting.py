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
from threatcloud.cli.output import Out, note, opened
from threatcloud.formats.cells import neutral
from threatcloud.formats.feeds import NAMES

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

_NOTES: Final = {
    "X-Feed-Truncated": "{} entries are missing: whoever reads this format takes no more",
    "X-Feed-Left-Out": "left out, because the format cannot say it: {}",
}

Items = AsyncIterator[list[dict[str, Any]]]
Format = Annotated[str, typer.Option("--format", help=f"{', '.join(NAMES)}.")]
Aggregate = Annotated[
    bool, typer.Option("--aggregate", help="The fewest networks that hold exactly the same addresses.")
]
Top = Annotated[int | None, typer.Option(help="Only so many, the worst.")]
MaxReputation = Annotated[int | None, typer.Option(help="The highest reputation included; 30 if not said.")]
Category = Annotated[str | None, typer.Option(help="Only this category.")]
MinConfidence = Annotated[float | None, typer.Option(help="The least confidence, 0 to 1.")]
MaxAgeDays = Annotated[int | None, typer.Option(help="Seen in the last so many days.")]
Country = Annotated[str | None, typer.Option(help="Only this country (ISO 3166-1), such as NL.")]
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
    return neutral(value) if isinstance(value, str) else value


_WRITERS: Final[dict[str, Callable[[Items, BinaryIO], Any]]] = {
    "ndjson": _write_ndjson,
    "json": _write_json,
    "csv": _write_csv,
}


@api_command(
    app,
    "ip-blocklist",
    "threat-cloud export ip-blocklist --out /etc/firewall/blocklist.txt",
    "threat-cloud export ip-blocklist --max-reputation 20 --hosts --format csv",
    "threat-cloud export ip-blocklist --format nftables | nft -f -",
    publishes=True,
)
async def ip_blocklist(
    api: Api,
    max_reputation: MaxReputation = None,
    category: Category = None,
    min_confidence: MinConfidence = None,
    max_age_days: MaxAgeDays = None,
    country: Country = None,
    hosts: Hosts = False,
    top: Top = None,
    aggregate: Aggregate = False,
    format_: Format = "plain",
    out: Out = None,
) -> None:
    """Export the addresses and networks to block."""
    query = _selection(max_reputation, category, min_confidence, max_age_days, country, top, format_)
    only = {"hosts": hosts or None, "aggregate": aggregate or None}
    await _export_list(api, "/api/feeds/ip-blocklist", {**query, **only}, out)


def _list_command(name: str, what: str, *lines: str) -> None:
    """Declares the export of a list whose selection is that of every list."""

    async def run(
        api: Api,
        max_reputation: MaxReputation = None,
        category: Category = None,
        min_confidence: MinConfidence = None,
        max_age_days: MaxAgeDays = None,
        country: Country = None,
        top: Top = None,
        format_: Format = "plain",
        out: Out = None,
    ) -> None:
        query = _selection(max_reputation, category, min_confidence, max_age_days, country, top, format_)
        await _export_list(api, f"/api/feeds/{name}", query, out)

    run.__doc__ = f"Export {what}."
    api_command(app, name, *lines, publishes=True)(run)


_list_command(
    "domain-blocklist",
    "the domains to block",
    "threat-cloud export domain-blocklist --category phishing",
    "threat-cloud export domain-blocklist --format hosts --out hosts.txt",
)
_list_command("url-blocklist", "the URLs to block", "threat-cloud export url-blocklist --format ndjson")
_list_command("hash-blocklist", "the file hashes to block", "threat-cloud export hash-blocklist --category malware")
_list_command("all", "all types in one file", "threat-cloud export all --format stix --out bundle.json")


@api_command(app, "attack-layer", "threat-cloud export attack-layer --period 90d --out layer.json", publishes=True)
async def attack_layer(
    api: Api, period: Annotated[str, typer.Option(help="7d, 30d or 90d.")] = "30d", out: Out = None
) -> None:
    """Export the ATT&CK heatmap as a layer of the Navigator."""
    await _export_list(api, "/api/feeds/attack-layer", {"period": period}, out)


@api_command(app, "misp-feed", "threat-cloud export misp-feed --to /var/www/misp-feed", publishes=True)
async def misp_feed(
    api: Api, to: Annotated[Path, typer.Option(help="The folder; files of the same names are replaced.")]
) -> None:
    """Export a feed of MISP to a folder: the manifest, the hashes, and an event for each list."""

    async def load(name: str) -> bytes:
        reply = await patiently(lambda: api.send("GET", f"/api/feeds/misp/{name}"))
        return reply.content

    to.mkdir(parents=True, exist_ok=True)
    manifest = await load("manifest.json")
    for uuid in msgspec.json.decode(manifest, type=dict[str, Any]):
        (to / f"{uuid}.json").write_bytes(await load(f"{uuid}.json"))
    (to / "hashes.csv").write_bytes(await load("hashes.csv"))
    (to / "manifest.json").write_bytes(manifest)  # the last: what it names is there


def _selection(
    max_reputation: int | None,
    category: str | None,
    min_confidence: float | None,
    max_age_days: int | None,
    country: str | None,
    top: int | None,
    format_: str,
) -> dict[str, object]:
    return {
        "maxReputation": max_reputation,
        "category": category,
        "minConfidence": min_confidence,
        "maxAgeDays": max_age_days,
        "country": country,
        "top": top,
        "format": format_,
    }


async def _export_list(api: Api, path: str, query: Mapping[str, object], out: Path | None) -> None:
    async def send() -> "httpx.Response":
        return await api.send("GET", path, query=query)

    reply = await patiently(send)
    with opened(out) as file:
        file.write(reply.content)
    for name, words in _NOTES.items():
        if name in reply.headers:
            note(words.format(reply.headers[name]))
