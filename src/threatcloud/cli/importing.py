"""``threat-cloud import``: a file of a bulk source into the system, in chunks that can be stopped and sent again."""

import asyncio
import secrets
import signal
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from threatcloud.cli.command import api_command
from threatcloud.cli.connect import Api
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Json, note, print_json
from threatcloud.cli.progress import Report, progress
from threatcloud.cli.review import confirmed
from threatcloud.cli.sinks import DrySink, Sink, make_sink, screening_of
from threatcloud.cli.summary import RejectsFile, Tally
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import CATEGORIES, Severity, check_source
from threatcloud.formats.readers import READERS, open_source
from threatcloud.http.bulk.log_reading import COWRIE, REPLAY
from threatcloud.services.bulk.apart import BrokeOff, frames, reading
from threatcloud.services.bulk.frames import Frame, ReadJob, Rejected


@contextmanager
def interruptible(stop: asyncio.Event, process: Process) -> Iterator[None]:
    """SIGINT and SIGTERM end the reading, so that the import stops after the chunk in flight; a second one at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()
        if process.returncode is None:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Pipeline:
    """Bodies on their way to the sink, settled in the order they were read."""

    def __init__(self, sink: Sink, tally: Tally, rejects: RejectsFile, show: Report) -> None:
        self._sink = sink
        self._tally = tally
        self._rejects = rejects
        self._show = show
        self._waiting: deque[tuple[Frame, asyncio.Task[tuple[dict[str, int], list[Rejected]]] | None]] = deque()

    async def send(self, frame: Frame, body: bytes) -> None:
        """Sends a body on, once there is room for it."""
        while len(self._waiting) >= self._sink.in_flight:
            await self._settle()
        self._waiting.append((frame, asyncio.create_task(self._sink.store(body)) if body else None))

    async def settle_all(self) -> None:
        """Waits for every body that is on its way. Raises the first failure, with all that was stored counted."""
        failure: CommandFailed | None = None
        while self._waiting:
            try:
                await self._settle()
            except CommandFailed as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def abandon(self) -> None:
        """Waits for nothing any more."""
        for _, task in self._waiting:
            if task is not None:
                task.cancel()
        self._waiting.clear()

    async def _settle(self) -> None:
        frame, task = self._waiting.popleft()
        stored, refused = await task if task is not None else ({}, [])
        self._tally.add(frame, stored)
        for found in (frame.rejects, refused):
            self._tally.reject(found)
            self._rejects.write(found)
        self._show(self._tally, frame.bytes_read, frame.bytes_total)


async def transfer(sink: Sink, job: ReadJob, tally: Tally, rejects: RejectsFile, stop: asyncio.Event) -> str | None:
    """Moves everything from the file to the sink, or until ``stop``; gives why the reading ended early, or None."""
    screening = await sink.begin()
    async with reading(msgspec.structs.replace(job, screening=screening)) as process:
        with progress(Path(job.file).name) as show, interruptible(stop, process):
            pipeline = Pipeline(sink, tally, rejects, show)
            try:
                async for frame, body in frames(process, stop):
                    tally.start_clock()
                    if frame.error is not None:
                        return frame.error
                    await pipeline.send(frame, body)
            except BrokeOff as error:
                raise CommandFailed(error.message) from error
            except asyncio.CancelledError:
                pipeline.abandon()
                raise
            finally:
                await pipeline.settle_all()
    return None


async def run_import(api: Api, job: ReadJob, rejects_path: Path, as_json: bool, *, dry_run: bool = False) -> None:
    """The whole import, its summary printed whatever ends it."""
    stop = asyncio.Event()
    tally = Tally(job.run, job.source, job.file, dry_run=dry_run)
    rejects = RejectsFile(rejects_path)
    sink = DrySink(api) if dry_run else make_sink(api, job, stop)
    try:
        error = await transfer(sink, job, tally, rejects, stop)
    except CommandFailed:
        if not stop.is_set():
            note(f"stopped after {tally.lines:,} lines; what was stored stays, and running the import again is safe")
            raise
        error = None
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        tally.rejects_file = rejects.close()
    tally.interrupted = stop.is_set()
    await sink.finish(tally.as_json())
    _conclude(tally, error, api.is_local, as_json)


class _NothingTaken(CommandFailed):
    """Nothing of a file could be imported, which says nothing of the next file."""


def _conclude(tally: Tally, error: str | None, is_local: bool, as_json: bool) -> None:
    if as_json:
        print_json(tally.as_json())
    else:
        tally.show(is_local)
    if tally.interrupted:
        note("threat-cloud: interrupted; what is counted above is stored, and running the import again is safe")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if error is not None:
        raise CommandFailed(f"{error}; what is counted above is stored")
    if tally.rejected and not tally.values:
        raise _NothingTaken(f"no line could be imported; see {tally.rejects_file}, or choose a --format or --column")


_AUTO: Final = "auto"
_FORMATS: Final = (*(item.name for item in READERS), COWRIE)


def _columns(chosen: list[str]) -> dict[str, str]:
    """``FIELD=COLUMN`` each; a column alone is the value's."""
    pairs = [item.partition("=") for item in chosen]
    return {field if equals else "value": column if equals else field for field, equals, column in pairs}


def _one_of(option: str, word: str | None, known: tuple[str, ...]) -> str | None:
    if word is not None and word not in known:
        raise CommandFailed(f"--{option}: got {word!r}, wants one of {', '.join(known)}", ExitCode.USAGE)
    return word


def _of_history(format_: str | None, source: str | None) -> tuple[str, str]:
    if format_ is not None or source is not None:
        raise CommandFailed(
            "--replay: a history has its own format and sources; give no --format, no --source", ExitCode.USAGE
        )
    return REPLAY, REPLAY


def _checked_source(text: str | None) -> str:
    if text is None:
        raise CommandFailed("--source: say who lists these values, such as feed:my-list", ExitCode.USAGE)
    try:
        return check_source(text)
    except ValueError as error:
        raise CommandFailed(f"--source: {error}, such as feed:my-list", ExitCode.USAGE) from None


def _files(name: str) -> list[str]:
    """The files that are meant: of a directory those of the events of a MISP feed, which its manifest names."""
    folder = Path(name)
    if name == "-" or not folder.is_dir():
        return [name]
    if not (folder / "manifest.json").is_file():
        raise CommandFailed(f"{name} is a directory without the manifest.json of a MISP feed: name the files in it")
    events = sorted(str(path) for path in folder.glob("*.json") if path.name != "manifest.json")
    if not events:
        raise CommandFailed(f"{name} holds no event of a MISP feed")
    return events


async def _each(files: Sequence[str], take: Callable[[str], Awaitable[None]]) -> None:
    """Takes one file after the other. Of which nothing could be taken is told at the end, and holds up no other."""
    without: list[str] = []
    for name in files:
        try:
            await take(name)
        except _NothingTaken as failed:
            if len(files) == 1:
                raise
            note(f"threat-cloud: {name}: {failed.message}")
            without.append(name)
    if without:
        raise CommandFailed(f"nothing could be imported of {', '.join(without)}; the other files are stored")


def _default_rejects(file: str) -> Path:
    return Path(("stdin" if file == "-" else Path(file).name) + ".rejected.txt")


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @api_command(
        app,
        "import",
        "threat-cloud import list.txt.gz --source feed:my-list",
        "threat-cloud import table.csv --source feed:vendor --column value=indicator --severity medium",
        "threat-cloud import bundle.json misp-feed/ --source feed:vendor --dry-run",
        "threat-cloud import report.pdf --source feed:vendor --review",
        "threat-cloud import --format cowrie --source honeypot:trap-1 cowrie.json cowrie.json.2026-03-06",
        "threat-cloud import --replay timeline.jsonl.gz",
        "curl -s https://feeds.example.org/ips.txt | threat-cloud import - --source feed:example",
        creates=True,
    )
    async def import_file(
        api: Api,
        file: Annotated[
            list[str],
            typer.Argument(
                metavar="FILE",
                help="Files (plain, gzip, zstd or zip), the directory of a MISP feed, or - for standard input.",
            ),
        ],
        source: Annotated[
            str | None, typer.Option(help="Who lists these values, such as feed:NAME; a history says it itself.")
        ] = None,
        format_: Annotated[
            str | None,
            typer.Option("--format", help=f"{', '.join(_FORMATS)}; auto, if not said: found out, but for {COWRIE}."),
        ] = None,
        replay: Annotated[
            bool, typer.Option("--replay", help="The files are histories: JSON lines {ts, value, type, source, …}.")
        ] = False,
        column: Annotated[
            list[str] | None,
            typer.Option(help="FIELD=COLUMN, by name or number from 1; COLUMN alone is the value's. Repeatable."),
        ] = None,
        type_: Annotated[
            str | None, typer.Option("--type", help=f"Of lines that do not tell: {', '.join(IndicatorType)}.")
        ] = None,
        category: Annotated[
            str | None, typer.Option(help=f"Of lines that do not tell: {', '.join(CATEGORIES)}.")
        ] = None,
        severity: Annotated[
            str,
            typer.Option(
                help="Of lines that do not tell: low, medium, high, critical. Below high is watched, not blocked."
            ),
        ] = Severity.HIGH.word,
        confidence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of lines that do not tell.")] = 0.7,
        rejects: Annotated[
            Path | None, typer.Option(help="Where rejected lines go.", show_default="FILE.rejected.txt here")
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check all, store nothing.")] = False,
        review: Annotated[
            bool,
            typer.Option("--review", help="Show what was found and left out, and ask before storing."),
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Import indicators from a list, a table, a document of another system or a report; or the log of a honeypot.

        Values are brought into their canonical form, checked by the publication guard and stored in chunks. The import
        can be stopped at any time and run again: nothing doubles, nothing is lost.

        Of a Cowrie log each session becomes a visit to the honeypot that --source names, at its own time. With --replay
        each line is a sighting of its own source, reporter and time, and every one is stored once.
        """
        format_ = None if format_ == _AUTO else _one_of("format", format_, _FORMATS)
        format_, source = _of_history(format_, source) if replay else (format_, _checked_source(source))
        if review and (replay or format_ == COWRIE):
            raise CommandFailed("--review: is for indicators, not for what happened", ExitCode.USAGE)
        if review and "-" in file:
            raise CommandFailed("--review: reads a file twice, so give a file, not -", ExitCode.USAGE)
        file = [found for name in file for found in _files(name)]
        for name in file:
            if name != "-":
                open_source(name).__exit__(None, None, None)
        if rejects is not None and len(file) > 1:
            raise CommandFailed("--rejects: is one file, for one FILE; leave it out", ExitCode.USAGE)
        terms = ReadJob(
            file="",
            source=source,
            run="",
            reports=not api.is_local,
            format=format_,
            columns=_columns(column or []),
            type=_one_of("type", type_, tuple(IndicatorType)),
            category=_one_of("category", category, CATEGORIES),
            severity=_one_of("severity", severity, tuple(item.word for item in Severity)),
            confidence=confidence,
            keeps_values=review,
        )

        async def take(name: str) -> None:
            job = msgspec.structs.replace(terms, file=name, run=f"run_{secrets.token_hex(8)}")
            if not review or await confirmed(await screening_of(api), job, dry_run=dry_run):
                await run_import(api, job, rejects or _default_rejects(name), as_json, dry_run=dry_run)

        await _each(file, take)
