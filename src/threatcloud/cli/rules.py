"""``threat-cloud rule``: list, view, add and delete detection rules."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api, segment
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Json, line, note, print_fields, print_table, show
from threatcloud.domain.report import check_source
from threatcloud.domain.rule import ATR_PREFIX, ATR_SOURCE, check_rule_id
from threatcloud.formats.rule_yaml import MAX_RULE_BYTES, check_rule_yaml
from threatcloud.services.rules import MAX_RULES

app: Final = typer.Typer(help="Detection rules: list, view, add, delete.", no_args_is_help=True)

#: Under the megabyte that a body may have.
_MAX_BODY_BYTES: Final = 900 * 1024
_COLUMNS: Final = ("id", "source", "stored", "authored")
_FIELDS: Final = ("ruleId", "source", "publishedAt", "authoredAt")

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, such as ATR-2026-00001 (threat-cloud rule list)")]


@api_command(
    app,
    "list",
    "threat-cloud rule list",
    "threat-cloud rule list --since 2026-03-07T00:00:00Z --limit 1000 --json",
)
async def list_(
    api: Api,
    since: Annotated[str | None, typer.Option(help="Stored at or after this time (ISO 8601).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List detection rules, the last stored at the end."""
    found = await api.collect("/api/rules", limit, since=since)
    show(found, as_json, lambda data: print_table(_COLUMNS, ([item[name] for name in _FIELDS] for item in data)))


@api_command(app, "view", "threat-cloud rule view ATR-2026-00001")
async def view(api: Api, rule: Id, as_json: Json = False) -> None:
    """Show a detection rule with its content."""
    show(await api.get(f"/api/rules/{segment(rule)}"), as_json, _show_one)


def _show_one(found: dict[str, Any]) -> None:
    print_fields({column: found[name] for column, name in zip(_COLUMNS, _FIELDS, strict=True)})
    line("")
    for text in found["ruleContent"].splitlines():
        line(text)


@api_command(
    app,
    "add",
    "threat-cloud rule add rules/*.yaml",
    "threat-cloud rule add login-storm.yaml --id LOCAL-0001 --source soc",
    "generate-rule | threat-cloud rule add - --id ATR-2026-00001",
    creates=True,
)
async def add(
    api: Api,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="A rule in YAML; - is standard input.")],
    rule_id: Annotated[
        str | None, typer.Option("--id", help="The id of a single rule; else the name of its file without the ending.")
    ] = None,
    source: Annotated[
        str, typer.Option(help=f"Where they are from. Agents get those of {ATR_SOURCE}, and ids with {ATR_PREFIX}.")
    ] = ATR_SOURCE,
    as_json: Json = False,
) -> None:
    """Store detection rules, one a file; a rule whose id is known is replaced.

    Each is named after its file, as in the update packages of agents: ATR-2026-00001.yaml is ATR-2026-00001. Either
    all of them are stored or, when any file holds no good rule, none: every bad file is named with what is wrong.
    """
    rules = _read_all(files, rule_id, source)
    total: Counter[str] = Counter()
    ids: list[str] = []
    for batch in _batches(rules):
        done = await api.call("POST", "/api/rules", {"rules": batch})
        ids += done.pop("ruleIds")
        total.update(done)
    show({**total, "ruleIds": ids}, as_json, _show_done)


def _show_done(done: dict[str, Any]) -> None:
    same = done["received"] - done["new"] - done["updated"]
    print_fields({"new": done["new"], "updated": done["updated"], "the same already": same})


@api_command(app, "delete", "threat-cloud rule delete ATR-2026-00001")
async def delete(api: Api, rule: Id, as_json: Json = False) -> None:
    """Delete a detection rule: agents drop it with their next update."""
    gone = await api.call("DELETE", f"/api/rules/{segment(rule)}")
    show(gone, as_json, lambda data: note(f"deleted {data['ruleId']}"))


def _read_all(files: Sequence[str], rule_id: str | None, source: str) -> list[dict[str, str]]:
    """The items to be sent; CommandFailed, and a line on standard error for each bad file, if any is bad."""
    if rule_id is not None and len(files) > 1:
        raise CommandFailed("--id: is for one FILE; leave it out, and each is named after its file", ExitCode.USAGE)
    _check_source(source)
    rules: dict[str, dict[str, str]] = {}
    bad = 0
    for file in files:
        try:
            item = _read(file, rule_id)
            if item["ruleId"] in rules:
                raise CommandFailed(f"another FILE has the id {item['ruleId']}, too")
            rules[item["ruleId"]] = {**item, "source": source}
        except (CommandFailed, ValueError, OSError) as error:
            note(f"threat-cloud: {_name(file)}: {_reason(error)}")
            bad += 1
    if bad:
        raise CommandFailed(f"{bad} of {len(files)} files hold no rule that can be stored; nothing was stored")
    return list(rules.values())


def _check_source(source: str) -> None:
    try:
        check_source(source)
    except ValueError as error:
        raise CommandFailed(f"--source: {error}, such as {ATR_SOURCE}", ExitCode.USAGE) from None


def _read(file: str, rule_id: str | None) -> dict[str, str]:
    """Id and content of the rule in a file. Raises OSError, ValueError, CommandFailed."""
    name = _id_of(file) if rule_id is None else rule_id
    try:
        check_rule_id(name)
    except ValueError as error:
        raise CommandFailed(f"the id {name!r} {error}; give another with --id") from None
    raw = sys.stdin.buffer.read(MAX_RULE_BYTES + 1) if file == "-" else _head(Path(file))
    if len(raw) > MAX_RULE_BYTES:
        raise CommandFailed(f"must not be larger than {MAX_RULE_BYTES} bytes")
    return {"ruleId": name, "ruleContent": check_rule_yaml(raw.decode())}


def _id_of(file: str) -> str:
    if file == "-":
        raise CommandFailed("has no name that could be the id of a rule; give it with --id")
    return Path(file).stem


def _head(path: Path) -> bytes:
    """All of a rule, and of anything larger enough to tell."""
    with path.open("rb") as file:
        return file.read(MAX_RULE_BYTES + 1)


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8, at byte {error.start}"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def _batches(rules: Sequence[dict[str, str]]) -> Iterator[list[msgspec.Raw]]:
    """The items as JSON, as many at a time as one call takes."""
    batch: list[msgspec.Raw] = []
    size = 0
    for rule in rules:
        item = msgspec.json.encode(rule)
        if batch and (len(batch) == MAX_RULES or size + len(item) > _MAX_BODY_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(msgspec.Raw(item))
        size += len(item)
    if batch:
        yield batch
