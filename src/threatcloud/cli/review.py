"""``--review``: what was found in a file, shown before any of it is stored."""

import sys
from typing import Final

import msgspec
import typer

from threatcloud.cli.output import console, note, print_table, safe
from threatcloud.services.bulk.apart import BrokeOff, frames, reading
from threatcloud.services.bulk.frames import ReadJob
from threatcloud.services.imports import TYPES, ImportChunk, ImportRow

#: More than anybody looks through; the others are counted.
MAX_SHOWN: Final = 1_000
_decode: Final = msgspec.json.Decoder(ImportChunk).decode


async def confirmed(screening: dict[str, str], job: ReadJob, *, dry_run: bool) -> bool:
    """Shows what a job reads; whether it is to be done. Where nobody can be asked it is not, unless as a dry run."""
    rows: list[tuple[str, str, str]] = []
    left_out: list[tuple[str, str]] = []
    values, rejected, error = 0, 0, None
    try:
        async with reading(msgspec.structs.replace(job, reports=False, screening=screening)) as process:
            async for frame, body in frames(process):
                values, rejected, error = values + frame.values, rejected + len(frame.rejects), frame.error or error
                left_out += frame.left_out[: MAX_SHOWN - len(left_out)]
                if body and len(rows) < MAX_SHOWN:
                    rows += [_shown(row) for row in _decode(body).rows[: MAX_SHOWN - len(rows)]]
    except BrokeOff as broken:
        error = broken.message
    out = console()
    out.print(f"[bold]{safe(job.file)}[/bold]: {values:,} values found, {rejected:,} lines rejected")
    print_table(("type", "value", "what is said of it"), rows)
    if values > len(rows):
        note(f"and {values - len(rows):,} more")
    if left_out:
        print_table(("left out", "because"), [(safe(text), why) for text, why in left_out])
    if error is not None:
        note(f"threat-cloud: {error}")
    if dry_run:
        return True
    if not values or not sys.stdin.isatty():
        note("nothing is stored: there is nothing to store, or nobody to ask; leave --review out to store it")
        return False
    return typer.confirm(f"Import these {values:,} values as {job.source}?")


def _shown(row: ImportRow) -> tuple[str, str, str]:
    said = [row.category or "", f"not published: {row.withheld_list}" if row.withheld_list else ""]
    description = str((row.metadata or {}).get("description", ""))
    return TYPES[row.type_code].value, safe(row.value), safe("; ".join(text for text in (*said, description) if text))
