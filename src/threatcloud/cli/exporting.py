"""``threat-cloud export``: the published indicators and blocklists to a file or to standard output."""

import csv
import inspect
import io
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import msgspec
import typer

from threatcloud.cli.command import api_command, with_parameters
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
Hosts = Annotated[bool, typer.Option("--hosts", help="Leave networks out.")]
#: What every list is selected by.
_SELECTION: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "max_reputation": Annotated[int | None, typer.Option(help="The highest reputation included; 30 if not said.")],
        "category": Annotated[str | None, typer.Option(help="Only this category.")],
        "min_confidence": Annotated[float | None, typer.Option(help="The least confidence, 0 to 1.")],
        "max_age_days": Annotated[int | None, typer.Option(help="Seen in the last so many days.")],
        "country": Annotated[str | None, typer.Option(help="Only this country (ISO 3166-1), such as NL.")],
        "top": Annotated[int | None, typer.Option(help="Only so many, the worst.")],
    }
)


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


def _list_command(name: str, what: str, *lines: str, only: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Declares the export of a list, with the options of every list and ``only`` of this one, which are switches."""

    async def run(api: Api, /, *, out: Path | None, **options: object) -> None:
        query = {_parameter(option): None if value is False else value for option, value in options.items()}
        await _export_list(api, f"/api/feeds/{name}", query, out)

    run.__doc__ = f"Export {what}."
    options = [
        inspect.Parameter("api", inspect.Parameter.POSITIONAL_ONLY, annotation=Api),
        *(_option(option, annotation, None) for option, annotation in _SELECTION.items()),
        *(_option(option, annotation, False) for option, annotation in only.items()),
        _option("format", Format, "plain"),
        _option("out", Out, None),
    ]
    with_parameters(run, options)
    api_command(app, name, *lines, publishes=True)(run)


def _option(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(option: str) -> str:
    """What the API calls an option."""
    first, *rest = option.split("_")
    return first + "".join(word.capitalize() for word in rest)


_list_command(
    "ip-blocklist",
    "the addresses and networks to block",
    "threat-cloud export ip-blocklist --out /etc/firewall/blocklist.txt",
    "threat-cloud export ip-blocklist --max-reputation 20 --hosts --format csv",
    "threat-cloud export ip-blocklist --format nftables | nft -f -",
    only={"hosts": Hosts, "aggregate": Aggregate},
)
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


async def _export_list(api: Api, path: str, query: Mapping[str, object], out: Path | None) -> None:
    async def send() -> "httpx.Response":
        return await api.send("GET", path, query=query)

    reply = await patiently(send)
    with opened(out) as file:
        file.write(reply.content)
    for name, words in _NOTES.items():
        if name in reply.headers:
            note(words.format(reply.headers[name]))
