"""``threat-cloud dnsbl``: a DNS blocklist over the published lists of a running server, which it follows."""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, Refused
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import note
from threatcloud.dns.listings import Listings
from threatcloud.dns.serving import serve
from threatcloud.dns.zone import Zone
from threatcloud.domain.canonical.name import canonical_domain
from threatcloud.domain.indicator import InvalidIndicator

_KINDS: Final = ("ip", "domain")
_LOOKUPS: Final = 10_000
_GONE: Final = 410
Entry = tuple[str, str | None]


class _Item(msgspec.Struct):
    value: str
    category: str | None


_decode_item: Final = msgspec.json.Decoder(_Item).decode


class Follower:
    """Keeps the listings of a zone as the server publishes them."""

    def __init__(self, api: Api, zone: Zone) -> None:
        self._api = api
        self._zone = zone
        self._versions: dict[str, str] = {}

    async def load(self) -> None:
        """Takes both lists whole, in place of what there is."""
        listings = Listings()
        for kind in _KINDS:
            answer = await self._api.send("GET", f"/api/feeds/{kind}-blocklist", query={"format": "ndjson"})
            items = (_decode_item(line) for line in answer.content.split(b"\n") if line)
            _add(listings, kind, ((item.value, item.category) for item in items))
            self._versions[kind] = answer.headers["x-feed-version"]
        self._zone.listings = listings
        self._zone.serial = int(time.time())

    async def follow(self) -> int:
        """Takes what has changed since; gives how many entries that was."""
        changed = 0
        for kind in _KINDS:
            path, since = f"/api/feeds/{kind}-blocklist", self._versions[kind]
            try:
                answer = await self._api.send("GET", path, query={"since": since})
            except Refused as refused:
                if refused.status != _GONE:
                    raise
                await self.load()
                return len(self._zone.listings)
            lines = answer.text.splitlines()
            added = [line[1:] for line in lines if line.startswith("+")]
            removed = [line[1:] for line in lines if line.startswith("-")]
            entries = await self._categories(added)
            _remove(self._zone.listings, kind, removed)
            _add(self._zone.listings, kind, entries)
            self._versions[kind] = answer.headers["x-feed-version"]
            changed += len(added) + len(removed)
        if changed:
            self._zone.serial = max(int(time.time()), self._zone.serial + 1)
        return changed

    async def _categories(self, values: Sequence[str]) -> list[Entry]:
        """The values with their categories, as far as the key may look them up."""
        found: list[Entry] = []
        for first in range(0, len(values), _LOOKUPS):
            some = values[first : first + _LOOKUPS]
            try:
                verdicts: list[dict[str, Any]] = await self._api.call("POST", "/api/iocs/lookup", {"values": some})
                found += [(value, verdict.get("category")) for value, verdict in zip(some, verdicts, strict=True)]
            except Refused:
                found += [(value, None) for value in some]
        return found

    async def run(self, every_s: float) -> None:
        """Follows until cancelled; while the server does not answer, what was known last stands."""
        was_reached = True
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.follow()
            except CommandFailed as error:
                if was_reached:
                    note(f"threat-cloud: {error.message}; the lists stay as they are until it answers")
                was_reached = False
            else:
                was_reached = True


def _add(listings: Listings, kind: str, entries: Iterator[Entry] | list[Entry]) -> None:
    (listings.add_addresses if kind == "ip" else listings.add_names)(entries)


def _remove(listings: Listings, kind: str, values: list[str]) -> None:
    (listings.remove_addresses if kind == "ip" else listings.remove_names)(values)


def _origin(text: str) -> str:
    try:
        return canonical_domain(text)
    except InvalidIndicator as error:
        raise CommandFailed(f"ZONE: got {text!r}, which {error.reason}", ExitCode.USAGE) from None


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    api_command(
        app,
        "dnsbl",
        "threat-cloud dnsbl bl.example.org --host 0.0.0.0 --port 5300",
        "dig +short -p 5300 @127.0.0.1 2.0.0.127.bl.example.org",
        needs_server=True,
    )(dnsbl)


async def dnsbl(
    api: Api,
    zone: Annotated[str, typer.Argument(metavar="ZONE", help="The zone it answers for, such as bl.example.org.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for UDP and TCP; 0: any.")] = 5300,
    link: Annotated[str, typer.Option(help="What TXT records point to, with {value} in it.")] = "",
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between looks for changes.")] = 5.0,
    rate_limit: Annotated[int, typer.Option(min=1, help="Questions a minute from one /24 or /56.")] = 12_000,
) -> None:
    """Answer as a DNS blocklist (RFC 5782) for the published addresses, networks and domains.

    Reversed addresses and domain names below ZONE have an A record 127.0.0.x by category and a TXT record. Follows the
    server; until it answers again, what was published last stands.
    """
    own = Zone(_origin(zone), link=link)
    follower = Follower(api, own)
    await follower.load()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serve(own.answer, host, port, rate_limit) as (address, taken), asyncio.TaskGroup() as group:
            note(f"answers for {own.origin} on {address} port {taken}: {len(own.listings):,} entries")
            following = group.create_task(follower.run(every))
            await stop.wait()
            following.cancel()
    except OSError as error:
        raise CommandFailed(f"{host} port {port} cannot be listened on: {error.strerror}", ExitCode.USAGE) from error
