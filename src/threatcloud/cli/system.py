"""``threat-cloud stats``, ``openapi`` and ``version``."""

import json
import sys
from typing import Any

import typer

from threatcloud import __version__
from threatcloud.cli.command import api_command, command
from threatcloud.cli.connect import Api
from threatcloud.cli.output import Json, Out, opened, print_fields, show


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""

    @api_command(app, "stats", "threat-cloud stats", "threat-cloud stats --url https://intel.example.org --json")
    async def stats(api: Api, as_json: Json = False) -> None:
        """Show the whole store in numbers."""
        show(await api.get("/api/stats"), as_json, _show_stats)

    @command(app, "openapi", "threat-cloud openapi --out openapi.json")
    def openapi(out: Out = None) -> None:
        """Write the OpenAPI document of the API."""
        from threatcloud.http.openapi import document_bytes
        from threatcloud.http.routes import ENDPOINTS

        document = json.loads(document_bytes(ENDPOINTS))
        with opened(out) as file:
            file.write(json.dumps(document, indent=2).encode() + b"\n")

    @command(app, "version", "threat-cloud version")
    def version() -> None:
        """Show the version."""
        sys.stdout.write(f"threat-cloud {__version__}\n")


def _show_stats(data: dict[str, Any]) -> None:
    last = data["last24h"]
    print_fields(
        {
            "indicators": data["totalIocs"],
            "active": data["activeIocs"],
            "sightings": data["totalSightings"],
            "sources": data["totalSources"],
            **{f"type {name}": count for name, count in data["byType"].items()},
            **{f"category {name}": count for name, count in data["byCategory"].items()},
            "new in 24 h": last["newIocs"],
            "sightings in 24 h": last["newSightings"],
            "top category in 24 h": last["topCategory"],
            "held feeds": data["heldFeeds"],
            "updated": data["updatedAt"],
        }
    )
